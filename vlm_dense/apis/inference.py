"""One object that answers requests: a picture and words in, boxes, masks or a label map out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement
from PIL import Image, ImageOps
from torch import Tensor

from vlm_dense.checkpoints import load_state
from vlm_dense.datasets import AttachVocabulary
from vlm_dense.engine import check_config, read_config
from vlm_dense.engine.pipelines import last_name, picture_steps
from vlm_dense.errors import ConfigError, DataError, MissingFileError
from vlm_dense.models.requests import words_of
from vlm_dense.registry import MODELS
from vlm_dense.text import Vocabulary
from vlm_dense.text.prompt_packing import Prompt
from vlm_dense.vlms.mask_pooling import resize_masks


@dataclass(frozen=True)
class Found:
    """What a detector found: ``words[i]`` at ``boxes_N4[i]`` (xyxy, pixels) with ``scores_N[i]``."""

    words: list[str]
    boxes_N4: np.ndarray
    scores_N: np.ndarray
    masks_NHW: np.ndarray | None


class Finder:
    """A detector or a segmentor that is asked with words.

    Args:
        config: Path of a config, or the config itself.
        checkpoint: Path of a checkpoint; None keeps the weights that the config builds.
        device: Any torch device.
        cfg_options: Settings that replace those of a config file, keys with dots.

    Raises:
        ConfigError: If the config cannot be built.
        CheckpointError: If the checkpoint does not fit.
        MissingFileError: If the config or the checkpoint is not there.

    Example:
        >>> finder = Finder('configs/vild_lite0_pictures.py', 'work_dirs/vild/iter_300.pth')
        >>> finder.detect('photo.jpg', ['cat', 'coffee cup'])
    """

    def __init__(
        self,
        config: str | PathLike[str] | Config,
        checkpoint: str | PathLike[str] | None = None,
        device: str = 'cpu',
        cfg_options: dict | None = None,
    ) -> None:
        cfg = config if isinstance(config, Config) else read_config(str(config), cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        check_config(cfg)
        pipeline = cfg.test_dataloader.dataset.pipeline
        self._trained_words = _trained_words(pipeline)
        self._pipeline = Compose(_array_pipeline(pipeline))
        self.model = MODELS.build(cfg.model)
        if checkpoint is not None:
            load_state(self.model, checkpoint)
        self.model.to(device).eval()

    def detect(
        self,
        picture: str | PathLike[str] | np.ndarray,
        words: Sequence[str],
        score_threshold: float = 0.0,
        prompt: Prompt | None = None,
    ) -> Found:
        """Boxes (and masks, where the model has a mask head) of the named things, best first.

        Args:
            picture: A file, or an RGB uint8 array (H, W, 3).
            words: Names to look for, each different.
            score_threshold: Detections scoring less are left out.
            prompt: The caption in which the words stand, for detectors that read it as a whole; others pass it over.

        Raises:
            VocabularyError: If a word is empty or given twice.
            DataError, MissingFileError: If the picture cannot be read.
        """
        sample = self._ask(picture, words, prompt)
        instances = sample.pred_instances
        sample.pred_instances = instances = instances[instances.scores >= score_threshold]
        masks = instances.masks.cpu().numpy() if 'masks' in instances else None
        return Found(words_of(sample), instances.bboxes.cpu().numpy(), instances.scores.cpu().numpy(), masks)

    def segment(self, picture: str | PathLike[str] | np.ndarray, words: Sequence[str]) -> np.ndarray:
        """The index into ``words`` of every pixel, (H, W); ``len(words)`` where it is background.

        Args and errors as in `detect`.
        """
        sample = self._ask(picture, words)
        return sample.pred_sem_seg.data.squeeze(0).cpu().numpy()

    def propose(self, picture: str | PathLike[str] | np.ndarray) -> Tensor:
        """Masks of a picture before any word is looked at, for models with a mask head.

        Args:
            picture: As in `detect`.

        Returns:
            Logits (N, h, w) over the picture, at the size that the pipeline gives it.

        Raises:
            ConfigError: If the model makes no masks without names.
            DataError, MissingFileError: If the picture cannot be read.
        """
        is_segmentor = hasattr(self.model, 'decode_head')
        head: Any = self.model.decode_head if is_segmentor else getattr(self.model, 'mask_head', None)
        if not hasattr(head, 'segments'):
            raise ConfigError(
                f'{type(self.model).__name__} makes no masks without names; give a config of vlm_dense.OVMaskSegmentor '
                'or vlm_dense.OVMaskDetector.'
            )
        with torch.inference_mode():
            ready = self.model.data_preprocessor(pseudo_collate([self._prepared(picture)]), False)
            height, width = ready['data_samples'][0].img_shape[:2]
            images_13HW = ready['inputs'][..., :height, :width] if is_segmentor else ready['inputs']
            size = images_13HW.shape[-2:]
            found = head.segments(self.model.extract_feat(images_13HW), size, [(height, width)])
            return resize_masks(found.mask_BNhw.float(), size)[0, :, :height, :width]

    def _prepared(self, picture: str | PathLike[str] | np.ndarray) -> dict:
        image_HW3 = picture if isinstance(picture, np.ndarray) else read_picture(picture)
        return self._pipeline(dict(img=image_HW3[..., ::-1], img_id=0, img_path=''))

    def _ask(
        self, picture: str | PathLike[str] | np.ndarray, words: Sequence[str], prompt: Prompt | None = None
    ) -> BaseDataElement:
        base = [word for word in words if word in self._trained_words]
        attach = AttachVocabulary(vocabulary=Vocabulary.from_words(words, base=base))
        packed = attach(self._prepared(picture))
        if prompt is not None:
            packed['data_samples'].set_metainfo(dict(prompt=prompt))
        with torch.inference_mode():
            return self.model.test_step(pseudo_collate([packed]))[0]


def read_picture(path: str | PathLike[str] | BinaryIO) -> np.ndarray:
    """An RGB uint8 array (H, W, 3) of a file, or of an open one.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is damaged, or not a picture that Pillow reads.
    """
    if isinstance(path, str | PathLike) and not Path(path).is_file():
        raise MissingFileError(f'picture {path} does not exist; check the path.')
    try:
        # Pillow refuses damaged files; cv2 would fill them with grey.
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert('RGB'))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f'{path} is not a readable picture ({error}); convert it to JPEG or PNG, or fetch it again.'
        ) from error


def _trained_words(pipeline: Sequence[dict]) -> frozenset[str]:
    """Words with boxes or masks in training, as the config's own test vocabulary tells."""
    for step in pipeline:
        if last_name(step) == 'AttachVocabulary':
            if step.get('vocabulary') is None:
                return frozenset()  # every picture brings its own phrases
            vocabulary = Vocabulary.build(step['vocabulary'])
            return frozenset(w for w, is_base in zip(vocabulary.words, vocabulary.is_base, strict=True) if is_base)
    raise ConfigError('the test pipeline has no vlm_dense.AttachVocabulary; put one last in it.')


def _array_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    """The test pipeline for a picture that is in memory already, without annotations and fixed words."""
    steps = picture_steps(pipeline)
    if not steps or last_name(steps[0]) != 'LoadImageFromFile':
        raise ConfigError("the test pipeline must begin with 'LoadImageFromFile'.")
    scope = str(steps[0]['type']).rpartition('.')[0]
    steps[0] = dict(type=f'{scope}.LoadImageFromNDArray' if scope else 'LoadImageFromNDArray')
    return steps
