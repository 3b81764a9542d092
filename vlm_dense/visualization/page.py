"""A self-contained HTML page of tables and pictures; it opens without a server and without a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; border: 1px solid #ddd; }
figcaption { color: #555; }
"""


@dataclass(frozen=True)
class Table:
    """A header row and rows of cells, all plain text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, tables and figures (address of the picture, caption), in this order."""

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[tuple[str, str]] = field(default_factory=tuple)


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The page as one string; every text is escaped.

    Args:
        title: Title and first heading.
        sections: What the page shows; picture addresses are relative to the page.
    """
    body = ''.join(_section(section) for section in sections)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}</h1>\n{body}</body></html>\n'
    )


def _section(section: Section) -> str:
    parts = [f'<h2>{escape(section.heading)}</h2>']
    parts += [f'<p>{escape(text)}</p>' for text in section.paragraphs]
    parts += [_table(table) for table in section.tables]
    parts += [_figure(escape(address), escape(caption)) for address, caption in section.figures]
    return '<section>' + '\n'.join(parts) + '</section>\n'


def _figure(address: str, caption: str) -> str:
    return f'<figure><img src="{address}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _table(table: Table) -> str:
    head = ''.join(f'<th>{escape(cell)}</th>' for cell in table.header)
    rows = ''.join('<tr>' + ''.join(f'<td>{escape(cell)}</td>' for cell in row) + '</tr>\n' for row in table.rows)
    return f'<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>'
