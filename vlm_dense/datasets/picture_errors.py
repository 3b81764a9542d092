"""Plain messages for pictures and annotation files that are missing or damaged."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from vlm_dense.datasets.shards.members import SCHEME, member_name, read_member
from vlm_dense.errors import DataError, MissingFileError, VlmDenseError

FILE_KEYS = ('img_path', 'seg_map_path')


def require_file(path: str, what: str, remedy: str) -> None:
    """Check that a local file is there.

    Raises:
        MissingFileError: If it is not.
    """
    if '://' not in path and not Path(path).is_file():
        raise MissingFileError(f'{what} {path} does not exist; {remedy}')


def check_picture(path: str, remedy: str) -> None:
    """Decode a local picture, or one in a shard, completely.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it cannot be decoded to its end.
    """
    is_member = path.startswith(SCHEME)
    if '://' in path and not is_member:
        return
    require_file(path, 'picture', remedy)
    try:
        with Image.open(io.BytesIO(read_member(path)) if is_member else path) as picture:
            picture.load()
    except VlmDenseError:
        raise
    # Pillow reports damage as OSError, SyntaxError, ValueError or EOFError, depending on the format.
    except Exception as error:
        name = member_name(path) if is_member else path
        raise DataError(f'picture {name} cannot be decoded ({error}); replace the file, or {remedy}') from error


class PictureErrors:
    """Mixin for mmengine data sets: a failing pipeline names the file that caused it.

    The files are looked at only after a failure, so a run without errors pays nothing. The pipeline's reader must
    itself refuse damaged files: ``LoadImageFromFile(imdecode_backend='pillow')`` does; cv2 fills cut-off JPEG with
    grey.
    """

    remedy: str

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on picture ``idx``.

        Raises:
            MissingFileError: If the picture or its label map does not exist.
            DataError: If one of them cannot be decoded.
        """
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except VlmDenseError:
            raise
        except Exception:
            described = self.get_data_info(idx)  # type: ignore[attr-defined]
            for key in FILE_KEYS:
                if described.get(key):
                    check_picture(described[key], self.remedy)
            raise
