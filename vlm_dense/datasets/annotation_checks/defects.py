"""What can be wrong with annotations, and the list of what was found."""

from typing import NamedTuple

from vlm_dense.text.word_checks import printable

# In the order of a report: what makes the rest doubtful stands first.
KINDS = {
    'no-record': 'entries that are no records',
    'missing-field': 'records that lack a field',
    'id-not-integer': 'ids that are not integers (those of pictures may be texts)',
    'duplicate-image-id': 'image ids used before',
    'duplicate-annotation-id': 'annotation ids used before',
    'duplicate-category-id': 'category ids used before',
    'duplicate-segment-id': 'segment ids used before in their picture',
    'unknown-image': 'references to images that are not listed',
    'unknown-category': 'references to categories that are not listed',
    'name-not-text': 'names that are no text, or empty',
    'duplicate-name': 'names that repeat another after normalisation',
    'name-not-in-vocabulary': 'names that the vocabulary lacks',
    'word-not-in-file': 'words of the vocabulary that the file lacks',
    'label-not-of-name': 'labels and names that contradict earlier ones',
    'negative-annotated': 'categories said to be absent from a picture that has them',
    'negative-not-exhaustive': 'categories said to be absent and not exhaustively annotated in one picture',
    'phrase-not-in-caption': 'phrases that do not stand where the caption is said to have them',
    'picture-size-unusable': 'pictures whose width or height in the file cannot be one',
    'box-not-numbers': 'boxes that are not four finite numbers',
    'box-without-area': 'boxes without area',
    'box-outside-picture': 'boxes that reach outside their picture',
    'mask-unreadable': 'masks that are neither polygons nor a whole RLE',
    'mask-size-differs': 'masks of another size than their picture',
    'empty-mask': 'masks without area',
    'duplicate-picture': 'pictures listed before',
    'missing-picture': 'picture files that are not there',
    'unreadable-picture': 'picture files that cannot be decoded',
    'picture-size-differs': 'picture files of another size than the annotations say',
    'same-content': 'picture files with the same bytes as another',
    'missing-map': 'map files that are not there',
    'unreadable-map': 'map files that cannot be decoded',
    'map-channels': 'label maps without exactly one channel, or panoptic maps that are not RGB',
    'map-size-differs': 'map files of another size than their picture',
    'value-without-word': 'values of label maps that no word has',
    'segment-not-listed': 'segments of panoptic maps that the file does not list',
    'segment-not-in-map': 'listed segments without a pixel in their panoptic map',
}


class Defect(NamedTuple):
    """One thing that is wrong.

    Args:
        kind: A key of `KINDS`.
        place: Which entry or file.
        what: What is wrong with it.
    """

    kind: str
    place: str
    what: str

    def __str__(self) -> str:
        return printable(f'{self.place}: {self.what}')


class Defects:
    """The defects of one file, and what was looked at."""

    def __init__(self) -> None:
        self.format = ''
        self.counted: dict[str, int] = {}
        self._by_kind: dict[str, list[Defect]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, place: str, what: str) -> None:
        """Note a defect; an unknown kind is a KeyError."""
        self._by_kind[kind].append(Defect(kind, place, what))

    def by_kind(self) -> dict[str, list[Defect]]:
        """Kinds that occur, in the order of `KINDS`, each with its defects in the order of the file."""
        return {kind: found for kind, found in self._by_kind.items() if found}

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))
