"""The page holds what it was given, escaped, and refers to nothing outside its folder."""

from html.parser import HTMLParser

from vlm_dense.visualization import Section, Table, html_page


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag == 'img':
            self.pictures.append(dict(attributes)['src'])
        elif tag != 'meta':
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_page_is_well_formed_and_escapes_the_callers_words():
    section = Section(
        'Found', ['a < b'], [Table(['word', 'AP'], [['<script>', '39.3'], ['кошка', '-']])], [('sheet.png', 'a "cat"')]
    )
    page = html_page('Demo & more', [section])
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.pictures == ['sheet.png']
    for text in ('Demo & more', 'Found', 'a < b', '<script>', '39.3', 'кошка', 'a "cat"'):
        assert text in reader.texts
    assert '<script>' not in page
    assert 'http' not in page
