import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[Any], str]:
    def write(content: Any) -> str:
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.json'
        path.write_text(json.dumps(content))
        return str(path)

    return write
