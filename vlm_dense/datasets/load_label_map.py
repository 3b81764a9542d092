"""Label maps of 8 or 16 bits, from the numbers on disk to indices into the words."""

import io
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image

from vlm_dense.datasets.label_values import REFUSED
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Read the label map of a picture of `VocabularySegDataset`: png or tif, 8 or 16 bits, grey or with a palette.

    mmseg's ``LoadAnnotations`` keeps 8 bits only, so label 256 becomes 0; this one keeps all, and refuses a number
    that the data set's table gives no meaning.

    Where 255 is a class, the steps behind this one have to pad with 65535: ``Pad(pad_val=dict(img=0, seg=65535))``,
    ``RandomCrop(ignore_index=65535)``, ``RandomRotate(seg_pad_val=65535)``, ``SegDataPreProcessor(seg_pad_val=65535)``;
    and the decode head takes ``ignore_index=65535``.

    Required keys: ``seg_map_path``, ``label_table`` (65536,). Added keys: ``gt_seg_map`` (H, W), uint8, or uint16 where
    a label exceeds 255, and an entry in ``seg_fields``.

    Args:
        backend_args: Where files lie, as in ``mmengine.fileio.get``.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the label map.

        Raises:
            ConfigError: If the sample does not come from `VocabularySegDataset`, or has no label map.
            DataError: If the file has several channels, or holds a number without a meaning.
        """
        table_V, path = results.get('label_table'), results.get('seg_map_path')
        if table_V is None or path is None:
            raise ConfigError(
                f'LoadLabelMap: {results.get("img_path")} has no label map with a table of its values; use '
                'vlm_dense.VocabularySegDataset and name the folder as seg_map_path in its data_prefix.'
            )
        with Image.open(io.BytesIO(fileio.get(path, backend_args=self.backend_args))) as picture:
            values_HW = np.asarray(picture)
        if values_HW.ndim != 2 or values_HW.dtype.kind not in 'uib':
            raise DataError(
                f'label map {path} has the shape {values_HW.shape} and holds {values_HW.dtype}; store one channel of '
                'whole numbers.'
            )
        results['gt_seg_map'] = _labels(values_HW.astype(np.int64), table_V, path)
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'


def _labels(values_HW: np.ndarray, table_V: np.ndarray, path: str) -> np.ndarray:
    inside_HW = np.clip(values_HW, 0, len(table_V) - 1)
    labels_HW = table_V[inside_HW]
    labels_HW[values_HW != inside_HW] = REFUSED
    if labels_HW.size and labels_HW.min() == REFUSED:
        row, column = np.argwhere(labels_HW == REFUSED)[0]
        raise DataError(
            f'label map {path} holds {values_HW[row, column]} in row {row}, column {column}, which is neither a word, '
            'nor background, nor ignored; check the words, first_label and background of the data set, or the file.'
        )
    return labels_HW.astype(np.min_scalar_type(int(table_V.max())))
