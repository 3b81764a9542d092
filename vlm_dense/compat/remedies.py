"""What to do about the ways in which the packages below this one fail to import."""

import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

Remedy = str | Callable[[], str]

HEADLESS = (
    'this machine has no libGL: `pip uninstall -y opencv-python && pip install opencv-python-headless`, '
    'or install the system package libgl1'
)
REBUILD = (
    "mmcv's compiled ops were built for another torch: build mmcv again, or "
    '`pip uninstall -y mmcv && pip install mmcv-lite==2.1.0` and let vlm_dense serve the ops'
)


def torchvision_pair() -> str:
    """Name the torchvision that belongs to the torch that is installed: 0.(N+15) goes with 2.N."""
    try:
        torch_version = version('torch')
    except PackageNotFoundError:
        return 'install torch and torchvision together: `pip install torch torchvision`'
    found = re.match(r'2\.(\d+)', torch_version)
    wanted = f'torchvision==0.{int(found[1]) + 15}.*' if found else 'torchvision'
    return f"torch and torchvision are not a pair: `pip install '{wanted}'` goes with torch {torch_version}"


# Patterns over "<error type>: <message>", in the order in which they are tried.
REMEDIES: tuple[tuple[str, Remedy], ...] = (
    (r'operator torchvision::\w+ does not exist|torchvision.*undefined symbol', torchvision_pair),
    (r'lib(GL|gthread|SM|Xext)[\w.-]*\.so', HEADLESS),
    (r'mmcv/_ext.*(undefined symbol|cannot open shared object)', REBUILD),
    (
        r'MMCV==\S+ is used but incompatible',
        '`pip install mmcv-lite==2.1.0`; mmdet 3.3 and mmsegmentation 1.2 refuse mmcv 2.2 and later',
    ),
    (r'MMEngine==\S+ is used but incompatible', "`pip install 'mmengine>=0.10.7,<0.11'`"),
    (r"No module named 'imgaug'", 'onedl-mmdetection imports imgaug: `pip install imaug`'),
    (r"No module named 'pkg_resources'", "`pip install 'setuptools<82'`; newer ones have no pkg_resources"),
    (r'find_loader', 'mmengine 0.10 needs Python below 3.14'),
    (
        r'_ARRAY_API not found|numpy\.core\.multiarray failed to import|compiled using NumPy 1',
        'this package was compiled for another numpy: reinstall it, or install the numpy it names',
    ),
)


def remedy_for(error: BaseException, requirement: str) -> str:
    """One line: what to do about an import error.

    Args:
        error: What importing a package raised.
        requirement: How pip calls the package, for the cases that nobody has met yet.
    """
    text = f'{type(error).__name__}: {error}'
    for pattern, remedy in REMEDIES:
        if re.search(pattern, text, flags=re.DOTALL):
            return remedy if isinstance(remedy, str) else remedy()
    missing = re.search(r"No module named '([^'.]+)", text)
    return f'`pip install {missing[1] if missing else f"--force-reinstall {requirement!r}"}`'
