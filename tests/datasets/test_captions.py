from vlm_dense.datasets.pictures.captions import caption_file, read_captions
from vlm_dense.datasets.pictures.debian import wanted_files


def test_languages_are_read_as_written() -> None:
    lines = ['A zebra.', "af.utf8='n Zebra.", 'ar.utf8=.حمار وحشي', 'hi.utf8=एक ज़ेबरा|']
    lines += ['ca@valencia.utf8= Una zebra. ', 'xx.utf8=', 'not a line', 'de.utf8=Ein \x93Zebra\x94.']
    text = '\n'.join(lines)
    assert read_captions(text) == {
        'en': 'A zebra',
        'af': "'n Zebra",
        'ar': 'حمار وحشي',
        'hi': 'एक ज़ेबरा',
        'ca@valencia': 'Una zebra',
        'de': 'Ein Zebra',
    }
    assert read_captions('') == {}


def test_every_stamp_has_its_captions_fetched() -> None:
    wanted = wanted_files()
    stamps = [name for name in wanted if name.startswith('stamps/') and name.endswith('.png')]
    assert len(stamps) == 198
    assert {caption_file(stamp) for stamp in stamps} <= set(wanted)
