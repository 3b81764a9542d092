"""What is drawn: in the word's colour, where it belongs, and nothing else."""

import numpy as np
import pytest

pytest.importorskip('supervision')
from vlm_dense.visualization import Panel, color_of, contact_sheet, draw_detections, draw_label_map, draw_unlabelled


def test_a_word_keeps_its_colour_and_words_differ():
    words = ['cat', 'dog', 'кошка', 'traffic light']
    assert color_of('cat') == color_of('cat')
    assert len({color_of(word) for word in words}) == len(words)


def test_box_border_has_the_words_colour_and_the_far_corner_is_untouched():
    image = np.full((100, 120, 3), 10, dtype=np.uint8)
    drawn = draw_detections(image, np.array([[40, 50, 90, 90]]), ['zebra'], np.array([0.5]))
    assert tuple(drawn[90, 65]) == color_of('zebra')
    assert tuple(drawn[5, 5]) == (10, 10, 10)
    assert (image == 10).all(), 'the input picture was changed'


def test_mask_tints_inside_only():
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    mask = np.zeros((1, 60, 60), dtype=bool)
    mask[0, 30:50, 30:50] = True
    drawn = draw_detections(image, np.array([[30, 30, 50, 50]]), ['pear'], masks_NHW=mask)
    assert np.allclose(drawn[40, 40], np.array(color_of('pear')) * 0.4, atol=2)
    assert (drawn[56, 56] == 0).all()


def test_no_detection_gives_a_copy():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    drawn = draw_detections(image, np.zeros((0, 4)), [])
    assert drawn is not image
    assert (drawn == image).all()


def test_label_map_paints_words_and_leaves_background_and_small_words():
    image = np.zeros((80, 80, 3), dtype=np.uint8)
    labels = np.full((80, 80), 2)
    labels[20:70, 20:70] = 0
    labels[0, 0] = 1
    drawn = draw_label_map(image, labels, ['cow', 'ant'], min_pixels=10)
    assert np.allclose(drawn[65, 65], np.array(color_of('cow')) * 0.55, atol=2)
    assert (drawn[0, 0] == 0).all()
    assert (drawn[75, 75] == 0).all()


def test_contact_sheet_places_pictures_in_reading_order():
    panels = [Panel(f'picture {i}' * 9, np.full((40, 50, 3), 60 * (i + 1), dtype=np.uint8)) for i in range(3)]
    sheet = np.asarray(contact_sheet(panels, columns=2, width=100))
    assert sheet.shape[1] == 2 * 108 + 8
    assert (sheet[60, 60] == 60).all()
    assert (sheet[60, 160] == 120).all()
    assert (sheet[-30, 60] == 180).all()


def test_pixels_without_a_word_lose_their_colour_or_are_striped():
    image = np.full((16, 16, 3), (200, 100, 0), dtype=np.uint8)
    background, ignored = np.zeros((2, 16, 16), dtype=bool)
    background[:4], ignored[8:] = True, True
    drawn = draw_unlabelled(image, background, ignored)
    assert (drawn[:4] == 100).all()
    assert (drawn[4:8] == image[4:8]).all()
    assert set(np.unique(drawn[8:])) == {0, 255}
    assert (drawn[8:] == 0).mean() == 0.5
    assert (image == (200, 100, 0)).all(), 'the input picture was changed'
