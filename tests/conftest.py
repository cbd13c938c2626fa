"""Folders of small images, and the real data where they are at hand."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from tlfeatures.features.store import Reader, read_header

DATA = Path(__file__).parents[2] / "shared" / "data"


def write_image(path: Path, seed: int, side: int = 12) -> None:
    """Write a lossless image that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    age(path)


def age(path: Path, seconds: float = 3600) -> None:
    """Make a file one of an hour ago, so that its time is believed."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def rows_of(file: Path) -> tuple[list[str], dict[str, NDArray[np.float32]]]:
    """Ids and all values of an embeddings file, those of variants too."""
    with Reader(file) as reader:
        header = reader.header
        rows = {name: reader.read(name) for name in header.embeddings}
        if header.variants:
            for name in header.embeddings:
                rows[f"variants of {name}"] = reader.read_variants(name, header.variants)
        return header.ids, rows


def shards_of(file: Path) -> list[str]:
    """Names of what is in a file's folder of shards."""
    folder = file.with_name(f"{file.name}.shards")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_tidy(file: Path) -> None:
    """Beside a virtual file are its shards and nothing else."""
    shards = read_header(file).shards
    assert shards is not None
    assert shards_of(file) == sorted(shards.names)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small fits spend more time on starting threads than on numbers."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for label, channel in (("blue", 2), ("red", 0)):
        (folder / label).mkdir()
        for number in range(12):
            random = np.random.default_rng([channel, number])
            pixels = random.integers(0, 160, (16, 20, 3), np.uint8)
            pixels[..., channel] += np.uint8(60)
            Image.fromarray(pixels).save(folder / label / f"{label}{number:02d}.png")
            age(folder / label / f"{label}{number:02d}.png")
    return folder


@pytest.fixture
def photos(_photos: Path, tmp_path: Path) -> Path:
    """Twelve images a class, bluish and reddish, so that colours tell them apart."""
    return Path(shutil.copytree(_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images, or skip."""
    if not DATA.is_dir():
        pytest.skip("the real images are not here")
    return DATA


@pytest.fixture(scope="session")
def study_folder() -> Iterator[Path]:
    """The folder of the study, whose modules can be imported."""
    folder = Path(__file__).parents[1] / "examples" / "intel_scenes"
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def weights() -> str:
    """Real VGG16 weights: the file beside the repository, else as a user gets them."""
    file = DATA / "vgg16" / "vgg16_imagenet_notop.h5"
    return str(file) if file.is_file() else "imagenet"
