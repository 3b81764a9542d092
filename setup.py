from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(purpose: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{purpose}.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name='vlm_dense',
    version='0.1.0',
    description='Open-vocabulary detection and segmentation for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['vlm_dense', 'vlm_dense.*']),
    package_data={'vlm_dense': ['py.typed', '**/*.json', '**/*.csv', '**/*.txt']},
    python_requires='>=3.10,<3.14',
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('pictures', 'tests', 'dev')},
    entry_points={'console_scripts': ['vlm-dense = vlm_dense.cli.main:main']},
)
