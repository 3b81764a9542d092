"""Many pictures with titles on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_dense.visualization.drawing import font_path

MARGIN = 8
TITLE_HEIGHT = 22


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet: RGB uint8 and the line above it."""

    title: str
    image_HW3: np.ndarray


def contact_sheet(panels: Sequence[Panel], columns: int, width: int) -> Image.Image:
    """Lay panels out row by row.

    Args:
        panels: The pictures; they may differ in size.
        columns: Panels per row.
        width: Width of one panel in pixels; heights follow each picture's own proportions.

    Returns:
        The sheet, RGB.
    """
    tiles = [_tile(panel, width) for panel in panels]
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new('RGB', (columns * (width + MARGIN) + MARGIN, sum(heights) + MARGIN * (len(rows) + 1)), 'white')
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (MARGIN + column * (width + MARGIN), top))
        top += height + MARGIN
    return sheet


def _tile(panel: Panel, width: int) -> Image.Image:
    picture = Image.fromarray(panel.image_HW3)
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    tile = Image.new('RGB', (width, picture.height + TITLE_HEIGHT), 'white')
    font = ImageFont.truetype(font_path(), 13)
    ImageDraw.Draw(tile).text((2, 3), _fit(panel.title, font, width), fill='black', font=font)
    tile.paste(picture, (0, TITLE_HEIGHT))
    return tile


def _fit(title: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(title) <= width - 4:
        return title
    while title and font.getlength(title + '…') > width - 4:
        title = title[:-1]
    return title + '…'
