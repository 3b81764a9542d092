"""Shared by all tests: no network, few threads, a fixed seed."""

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('OMP_NUM_THREADS', '1')
if 'VLM_DENSE_TEST_DEVICE' not in os.environ:
    os.environ['CUDA_VISIBLE_DEVICES'] = ''  # The suite is the same on machines with GPUs.

import vlm_dense  # noqa: F401  must be imported before mmdet and mmseg: it serves mmcv's ops

LOOPBACK = {'127.0.0.1', '::1', 'localhost', '0.0.0.0', ''}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that talks to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise AssertionError(f'a test tried to reach {address}')
        connect(self, address)

    monkeypatch.setattr(socket.socket, 'connect', guarded)


@pytest.fixture(scope='session', autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Text banks go to a folder of this run, also those of child processes; a developer's settings do not count."""
    os.environ['VLM_DENSE_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    for name in ('VLM_DENSE_OFFLINE', 'VLM_DENSE_WEIGHTS'):
        os.environ.pop(name, None)


@pytest.fixture(scope='session', autouse=True)
def _quick_collections() -> None:
    """mmengine collects garbage whenever it builds a data set; what is imported once need not be looked at again."""
    import vlm_dense.datasets
    import vlm_dense.engine
    import vlm_dense.models  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope='module', autouse=True)
def _no_scope_leaves_a_file() -> Iterator[None]:
    """mmengine's default scope, which building a model or a runner may set, is not there in the next file."""
    from mmengine.registry import DefaultScope

    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def _no_scope_leaves_a_test(_no_scope_leaves_a_file: None) -> Iterator[None]:
    """Nor in the next test, but for one that a fixture of the whole file sets."""
    from mmengine.registry import DefaultScope

    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def pictures_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/pictures``: a small drawn set, and the image tower's mean features on it."""
    from safetensors.torch import save_file

    from vlm_dense.datasets.pictures import PictureRequest, compose_pictures
    from vlm_dense.vlms import ImageNetTower, mean_features

    root = tmp_path_factory.mktemp('pictures')
    out = root / 'data' / 'pictures'
    compose_pictures(out, PictureRequest(source='drawn', seed=0, train=8, val=4, test=6, size=192))
    pictures = sorted((out / 'train' / 'images').iterdir())[:4]
    save_file(mean_features(ImageNetTower(), pictures), out / 'center.safetensors')
    return root


@pytest.fixture(scope='session')
def grounding_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small versions of the data sets that GLIP's recipes train on and are tested on."""
    from recipe_data import write_boxes_data, write_grounding_data

    root = tmp_path_factory.mktemp('grounding')
    write_boxes_data(root)
    write_grounding_data(root)
    return root
