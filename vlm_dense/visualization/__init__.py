"""Drawing what was found: boxes, masks and the caller's words on pictures, and sheets of pictures."""

from vlm_dense.visualization.drawing import color_of, draw_detections, draw_label_map, draw_unlabelled
from vlm_dense.visualization.page import Section, Table, html_page
from vlm_dense.visualization.sheet import Panel, contact_sheet

__all__ = [
    'Panel',
    'Section',
    'Table',
    'color_of',
    'contact_sheet',
    'draw_detections',
    'draw_label_map',
    'draw_unlabelled',
    'html_page',
]
