"""Sentences whose phrases have boxes: Flickr30k Entities, and referring expressions."""

import json
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from vlm_dense.datasets.corners import corners
from vlm_dense.datasets.metainfo import keep_on_samples
from vlm_dense.datasets.picture_errors import PictureErrors, require_file
from vlm_dense.errors import DataError, MissingFileError, VocabularyError
from vlm_dense.registry import DATASETS
from vlm_dense.text.phrase_vocabulary import phrase_vocabulary

REMEDY = 'check data_root and ann_file in the config.'


@DATASETS.register_module()
class PhraseGroundingDataset(PictureErrors, BaseDataset):
    """One entry per sentence: its picture, its phrases and the boxes of each phrase.

    Reads the files that MDETR (Kamath et al., arXiv 2104.12763) made of Flickr30k Entities
    (``final_flickr_separateGT_{val,test}.json``, ``final_flickr_mergedGT_...``) and of RefCOCO, RefCOCO+ and RefCOCOg
    (``finetune_{refcoco,refcoco+,refcocog}_{val,testA,testB,test}.json``). They are COCO's layout with one entry of
    ``images`` per sentence, ``caption``. Where an entry has ``tokens_positive_eval``, these places in the caption are
    the phrases, and a box belongs to every phrase whose place is among its ``tokens_positive``; phrases without boxes
    are not in that list, and sentences with an empty list, of which nothing can be asked, are left out. Otherwise the
    caption as a whole is the phrase.

    An entry has the caption as ``text``, ``phrases``, strings as they stand in it, ``phrase_places``, for each phrase
    the characters where it stands (end excluded), and ``phrase_boxes``, its boxes xyxy in pixels of the picture;
    ``instances`` holds all boxes with the phrase's row in `phrase_vocabulary` as label. All are kept by the packing
    step of whatever pipeline the data set is given, and ``vlm_dense.AttachVocabulary()`` asks a detector for the
    phrases.

    Args:
        remedy: Last part of the messages about missing or damaged files: how to get the data.
        kwargs: Arguments of mmengine's ``BaseDataset``; ``data_prefix`` has ``img``.

    Raises:
        MissingFileError: If the annotation file or the folder of pictures does not exist.
        DataError: If the file is no such file, a phrase has no box, or it holds characters that no word may have.
    """

    METAINFO = dict(classes=('phrase',))

    def __init__(self, *args: Any, remedy: str = REMEDY, **kwargs: Any) -> None:
        self.remedy = remedy
        super().__init__(*args, **kwargs)
        keep_on_samples(self.pipeline, 'text', 'phrases', 'phrase_places', 'phrase_boxes')

    def load_data_list(self) -> list[dict]:
        """Read the sentences in the order of their ids."""
        require_file(self.ann_file, 'annotation file', self.remedy)
        folder = Path(str(self.data_prefix.get('img') or ''))
        if not folder.is_dir():
            raise MissingFileError(f'folder of pictures {folder} does not exist; {self.remedy}')
        try:
            content = json.loads(Path(self.ann_file).read_text(encoding='utf-8'))
            boxes: dict[int, list[dict]] = {image['id']: [] for image in content['images']}
            for annotation in content['annotations']:
                boxes[annotation['image_id']].append(annotation)
            images = sorted(content['images'], key=lambda image: image['id'])
            entries = [self._entry(image, boxes[image['id']], folder) for image in images]
        except DataError:
            raise
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"annotation file {self.ann_file} is not in MDETR's layout ({type(error).__name__}: {error}); "
                f'{self.remedy}'
            ) from error
        data_list = [entry for entry in entries if entry['phrases']]
        if not data_list:
            raise DataError(f'annotation file {self.ann_file} lists no sentence with phrases; {self.remedy}')
        return data_list

    def _entry(self, image: dict, annotations: list[dict], folder: Path) -> dict[str, Any]:
        caption = image['caption']
        if 'tokens_positive_eval' in image:
            places = [{tuple(place) for place in phrase} for phrase in image['tokens_positive_eval']]
            phrase_places = [tuple(sorted(phrase)) for phrase in places]
            phrases = [' '.join(caption[start:stop] for start, stop in phrase) for phrase in phrase_places]
            owners = [{tuple(place) for place in annotation['tokens_positive']} for annotation in annotations]
            rows = [[row for row, owner in enumerate(owners) if phrase & owner] for phrase in places]
        else:
            phrases, rows = [caption], [list(range(len(annotations)))]
            phrase_places = [((0, len(caption)),)]
        where = f'{self.ann_file}: sentence {image["id"]} ({caption!r})'
        for phrase, own in zip(phrases, rows, strict=True):
            if not own:
                raise DataError(f'{where} has no box for {phrase!r}; repair the file.')
        boxes = [corners([float(number) for number in annotation['bbox']]) for annotation in annotations]
        phrase_boxes = [[boxes[row] for row in own] for own in rows]
        try:
            labels = phrase_vocabulary(phrases)[1] if phrases else []
        except VocabularyError as error:
            raise DataError(f'{where} has phrases that no detector can be asked for: {error}') from error
        return dict(
            img_path=str(folder / image['file_name']),
            img_id=image['id'],
            # The files of Flickr30k hold these as text.
            height=int(image['height']),
            width=int(image['width']),
            text=caption,
            phrases=tuple(phrases),
            phrase_places=phrase_places,
            phrase_boxes=phrase_boxes,
            instances=[
                dict(bbox=box, bbox_label=label, ignore_flag=0)
                for label, own in zip(labels, phrase_boxes, strict=True)
                for box in own
            ],
        )
