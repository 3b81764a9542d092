import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from vlm_dense.errors import VocabularyError
from vlm_dense.text import Vocabulary
from vlm_dense.text import dataset_vocabularies as datasets

# Published counts: COCO 80 things, 133 panoptic and 171 stuff-and-thing classes (arXiv:1405.0312, 1612.03716); LVIS
# 1,230 and 1,203 (1908.03195); Objects365 365; Open Images 601 boxable, 500 in its challenge; ADE20K 150, of which
# 100 things; Cityscapes 19, of which 8 with instances; Pascal VOC 20, 21 with background; Pascal Context 59 and 60;
# Mapillary Vistas 66 and 124; ImageNet DET 200 and VID 30; YouTube-VIS 40.
COUNTS = dict(
    coco=80,
    coco_panoptic=133,
    coco_stuff=171,
    lvis_v05=1230,
    lvis_v1=1203,
    objects365_v1=365,
    objects365_v2=365,
    openimages_v6=601,
    ade20k=150,
    ade20k_panoptic=150,
    ade20k_instance=100,
    cityscapes=19,
    cityscapes_det=8,
    voc=20,
    voc_seg=21,
    pascal_context_59=59,
    pascal_context_60=60,
    mapillary_v1=66,
    mapillary_v2=124,
    bdd100k=19,
    imagenet_det=200,
    imagenet_vid=30,
    youtube_vis_2019=40,
    youtube_vis_2021=40,
    lip=20,
    loveda=7,
    potsdam=6,
    vaihingen=6,
)
REPEATING = ('openimages_challenge',)

# Copies of another list; NYU's are kinds of rooms, not of what is seen in them.
COPIES = dict(
    LVISDataset='lvis_v05',
    ADE20KSegDataset='ade20k',
    CocoSegDataset='coco_stuff',
    DarkZurichDataset='cityscapes',
    NightDrivingDataset='cityscapes',
    iSAIDDataset='isaid',
)
LEFT_OUT = {*COPIES, 'NYUDataset'}


@pytest.mark.parametrize(('name', 'count'), COUNTS.items())
def test_published_counts(name: str, count: int) -> None:
    assert len(Vocabulary.from_dataset(name)) == count


@pytest.mark.parametrize('name', [name for name in datasets.DATASETS if name not in REPEATING])
def test_words_are_those_of_the_data_set(name: str) -> None:
    origin = datasets.DATASETS[name]
    words = Vocabulary.build(name)
    assert not any(words.is_base)
    found = getattr(sys.modules[origin.module], origin.attribute)
    if inspect.isclass(found) and origin.version is None:
        assert list(words.words) == list(found.METAINFO['classes'])
    elif inspect.isfunction(found):
        assert list(words.words) == found()


def test_every_list_of_mmdet_and_mmseg_has_a_name() -> None:
    import mmdet.datasets
    import mmseg.datasets

    known = {(origin.module, origin.attribute) for origin in datasets.DATASETS.values()}
    for found in [*vars(mmdet.datasets).values(), *vars(mmseg.datasets).values()]:
        if inspect.isclass(found) and getattr(found, 'METAINFO', {}).get('classes') and found.__name__ not in LEFT_OUT:
            assert (found.__module__, found.__name__) in known


@pytest.mark.parametrize(('copy', 'name'), COPIES.items())
def test_lists_without_a_name_are_copies(copy: str, name: str) -> None:
    import mmdet.datasets
    import mmseg.datasets

    copies = [getattr(package, copy) for package in (mmdet.datasets, mmseg.datasets) if hasattr(package, copy)]
    assert copies
    for found in copies:
        assert list(found.METAINFO['classes']) == list(Vocabulary.from_dataset(name).words)


def test_things_and_stuff() -> None:
    coco = Vocabulary.from_dataset('coco_panoptic')
    assert sum(coco.is_thing) == 80
    assert coco.take(range(80)).words == Vocabulary.from_dataset('coco').words
    assert coco.is_thing[coco.index('banner')] is False
    ade = Vocabulary.from_dataset('ade20k_panoptic')
    assert sum(ade.is_thing) == 100
    assert [ade.is_thing[ade.index(word)] for word in ('bed', 'sky')] == [True, False]
    assert Vocabulary.from_dataset('ade20k').is_thing == ()


def test_synonyms_in_names() -> None:
    ade = Vocabulary.build(dict(dataset='ade20k_panoptic', synonym_separator=','))
    assert ade.names(ade.index('wardrobe')) == ('wardrobe', 'closet', 'press')
    assert len(ade) == 150


def test_families() -> None:
    voc = Vocabulary.from_dataset('voc_seg').words
    assert voc[0] == 'background'
    assert voc[1:] == Vocabulary.from_dataset('voc_20').words
    context = Vocabulary.from_dataset('PC-60').words
    assert context[0] == 'background'
    assert context[1:] == Vocabulary.from_dataset('pascal_context').words
    for family, newest in [('lvis', 'lvis_v1'), ('objects365', 'objects365_v2'), ('openimages', 'openimages_v6')]:
        assert Vocabulary.from_dataset(family) == Vocabulary.from_dataset(newest)


@pytest.mark.parametrize('name', ['lvis_v1', 'LVIS-v1', 'LVIS v1', 'lvisv1'])
def test_spelling(name: str) -> None:
    assert Vocabulary.build(name).words[1] == 'air_conditioner'
    assert datasets.is_dataset(name)


def test_aliases_lead_somewhere_and_hide_nothing() -> None:
    assert set(datasets.ALIASES.values()) <= set(datasets.DATASETS)
    assert not set(datasets.ALIASES) & set(datasets.DATASETS)
    assert len(datasets._BY_KEY) == len(datasets.ALIASES) + len(datasets.DATASETS)


def test_build_with_base_and_part() -> None:
    spec = dict(dataset='voc', base=['cat', 'dog'], only='base')
    assert Vocabulary.build(spec) == Vocabulary(('cat', 'dog'), (True, True))
    with pytest.raises(VocabularyError, match=r"1 base word\(s\) are not in voc: 'persn'; did you mean 'person'"):
        Vocabulary.from_dataset('voc', base=['persn'])


def test_a_list_with_repeats_is_refused_until_they_are_dropped() -> None:
    message = r"'Mouse' and 'Mouse' are the same class .*rows 99 and 311 of openimages_challenge.*dedupe=True"
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.build('openimages_challenge')
    assert len(Vocabulary.build(dict(dataset='openimages_challenge', dedupe=True))) == 500 - 2


def test_unknown_names() -> None:
    with pytest.raises(
        VocabularyError, match=r"'cocoo'; did you mean 'coco'\? Known are coco, coco_panoptic, .*lvis_v1"
    ):
        Vocabulary.from_dataset('cocoo')
    with pytest.raises(VocabularyError, match=r'Known are coco'):
        Vocabulary.build(dict(dataset='\ud800'))
    with pytest.raises(VocabularyError, match="a data set's name is a string, not 3"):
        Vocabulary.build(dict(dataset=3))


@pytest.mark.parametrize('name', ['v3det', 'V3Det_2023_v1'])
def test_v3det_needs_its_file(name: str) -> None:
    with pytest.raises(VocabularyError, match=r"file='.*category_name_13204_v3det_2023_v1.txt', dedupe=True"):
        Vocabulary.build(name)


def test_a_name_that_is_also_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'lvis').mkdir()
    (tmp_path / 'coco').write_text('cat\n')
    (tmp_path / 'v3det.txt').write_text('cat\n')
    with pytest.raises(VocabularyError, match=r"Write dict\(dataset='coco'\) or './coco'"):
        Vocabulary.build('coco')
    assert Vocabulary.build('./coco').words == Vocabulary.build(Path('coco')).words == ('cat',)
    assert Vocabulary.build('v3det.txt').words == ('cat',)
    assert len(Vocabulary.build(dict(dataset='coco'))) == 80
    assert len(Vocabulary.build('lvis')) == 1203


def test_a_list_the_installed_package_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = datasets._Origin('mmseg.datasets.no_such_file', 'Gone')
    old = datasets._Origin('mmdet.datasets.coco', 'Gone')
    monkeypatch.setitem(datasets.DATASETS, 'coco', gone)
    monkeypatch.setitem(datasets.DATASETS, 'voc', old)
    for name, package in [('coco', 'mmsegmentation'), ('voc', 'mmdet')]:
        with pytest.raises(VocabularyError, match=f'Install or upgrade {package}, or name a file of words'):
            Vocabulary.from_dataset(name)


def test_youtube_vis_leaves_mmdet_alone() -> None:
    from mmdet.datasets import YouTubeVISDataset

    assert Vocabulary.from_dataset('youtube_vis_2019').words[1] == 'giant_panda'
    assert 'classes' not in YouTubeVISDataset.METAINFO


def test_nothing_of_mmdet_is_imported_before_it_is_asked_for() -> None:
    code = 'import sys, vlm_dense.text.vocabulary; print([m for m in ("mmdet", "mmseg") if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
