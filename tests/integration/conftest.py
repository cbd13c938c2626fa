"""Photographs, and real embeddings of them, made once for all test processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import MadeOnce
from tests.photographs import save_textures
from tlfeatures import extract

REFERENCE = pytest.mark.reference
SIZES = {"crops": 64, "reference": 224}
COPIED = {"crops": 20, "reference": 30}  # images of each class that are there twice


@pytest.fixture(scope="session", params=["crops", pytest.param("reference", marks=REFERENCE)])
def form(request: pytest.FixtureRequest) -> str:
    """`crops` of photographs that packages carry, or `reference` for images of ../shared/data."""
    return request.param


def link_all(paths: Iterable[Path], folder: Path) -> Path:
    """Make a folder with links to these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (folder / path.name).symlink_to(path)
    return folder


def write_copy(source: Path, target: Path, how: str) -> None:
    """Write an image again: `identical`, `recompressed`, `resized` or `cropped`."""
    if how == "identical":
        shutil.copyfile(source, target)
        return
    image = Image.open(source).convert("RGB")
    width, height = image.size
    if how == "resized":
        image = image.resize((width * 6 // 5, height * 6 // 5), Image.Resampling.BICUBIC)
    if how == "cropped":
        image = image.crop((width // 40, height // 40, width - width // 40, height - height // 40))
    image.save(target, "JPEG", quality=70 if how == "recompressed" else 90)


def add_copies(images: Path, count: int) -> None:
    """Add copies `again_*` of the first images of each class, of three kinds by turns."""
    for label in sorted(images.iterdir()):
        for number, path in enumerate(sorted(label.iterdir())[:count]):
            how = ("resized", "recompressed", "cropped")[number % 3]
            write_copy(path, label / f"again_{path.name}", how)


@pytest.fixture(scope="session")
def scene_images(form: str, request: pytest.FixtureRequest, made_once: MadeOnce) -> Path:
    """A folder of two classes that are hard to tell apart: 120 crops, or 1,078 Intel scenes."""
    if form == "crops":
        return made_once("textures", lambda folder: save_textures(folder, 60) and None)
    return request.getfixturevalue("data") / "intel"


@pytest.fixture(scope="session")
def embedded(
    form: str, scene_images: Path, weights: str, made_once: MadeOnce
) -> Callable[[int], Path]:
    """`embedded(size)` embeds these images, avg and flatten; each size once."""
    options = {"weights": weights, "pools": ["avg", "flatten"]}
    options |= {"precision": "float32"} if form == "crops" else {}  # the same on every machine

    def embed(size: int) -> Path:
        def make(folder: Path) -> None:
            extract(scene_images, folder / "x.h5", size=size, **options)

        return made_once(f"{form}-{size}", make) / "x.h5"

    return embed


@pytest.fixture(scope="session")
def scenes(
    form: str, scene_images: Path, embedded: Callable[[int], Path], made_once: MadeOnce
) -> Path:
    """An embeddings file of up to 200 images of each class, and of copies of the first of them."""

    def make(folder: Path) -> None:
        for label in sorted(scene_images.iterdir()):
            link_all(sorted(label.iterdir())[:200], folder / "images" / label.name)
        add_copies(folder / "images", COPIED[form])
        shutil.copyfile(embedded(SIZES[form]), folder / "x.h5")
        extract(folder / "images", folder / "x.h5", prune=True)

    return made_once(f"scenes-{form}", make) / "x.h5"
