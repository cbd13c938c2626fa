"""Whether a class whose images were saved or scaled in another way is named, and honest sets not.

The images of a set are written again with an alteration. A draw takes 200 of the images at random,
of which one class, or half of it, has the altered files. What counts is whether the rule of the
verdict names the class.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.honesty._markdown import table
from tlfeatures import extract, load_dataset
from tlfeatures.benchmarking.shortcut import told_apart
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.model_selection.evaluation import scorer_of
from tlfeatures.model_selection.folds import make_folds

FOLDERS = {"scenes": "intel", "insects": "hymenoptera"}
IMAGES = 200


def _saved(image: Image.Image, **options: object) -> bytes:
    target = io.BytesIO()
    image.convert("RGB").save(target, **options)
    return target.getvalue()


def _at_quality(quality: int) -> Callable[[Image.Image], bytes]:
    return lambda image: _saved(image, format="JPEG", quality=quality)


def _smaller(image: Image.Image) -> bytes:
    width, height = image.size
    small = image.convert("RGB").resize((width - 2, height - 2))
    return _saved(small, format="JPEG", qtables=image.quantization)


def _twice(image: Image.Image) -> bytes:
    with Image.open(io.BytesIO(_saved(image, format="JPEG", quality=60))) as coarse:
        return _saved(coarse, format="JPEG", qtables=image.quantization)


ALTERATIONS: dict[str, Callable[[Image.Image], bytes]] = {
    "saved at JPEG quality 90": _at_quality(90),
    "saved at JPEG quality 75": _at_quality(75),
    "saved at JPEG quality 60": _at_quality(60),
    "saved as PNG": lambda image: _saved(image, format="PNG"),
    "2 pixels smaller": _smaller,
    "saved at quality 60, then as the others": _twice,
}


def embedded(source: Path, file: Path, alter: Callable[[Image.Image], bytes] | None) -> Dataset:
    """Embed the JPEGs of a folder with the backbone that needs no weights.

    Parameters
    ----------
    source : Path
        Folder of the images, which is not changed.
    file : Path
        The embeddings file to write.
    alter : callable, optional
        Returns the bytes of an image's altered file. The altered files have the same names.
    """
    folder = source
    if alter is not None:
        folder = file.with_suffix("")
        for path in sorted(source.rglob("*.jpg")):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                target.write_bytes(alter(image))
    extract(folder, file, backbone="pixels", size=32, progress=False)
    return load_dataset(file, near_duplicates=None)


def named(
    honest: Dataset, altered: Dataset, draws: int, *, share: float = 1, images: int = IMAGES
) -> list[list[str]]:
    """Return the classes that are named in each draw, if one class has altered files.

    Parameters
    ----------
    honest, altered : Dataset
        The same images.
    draws : int
    share : float
        Share of the class that has altered files.
    images : int
        Number of images that are drawn.
    """
    return [
        named_classes(mixed(honest, altered, number, share=share, images=images))
        for number in range(draws)
    ]


def mixed(
    honest: Dataset, altered: Dataset, number: int, *, share: float = 1, images: int = IMAGES
) -> Dataset:
    """Draw images, of which those of one class have altered files."""
    random = np.random.default_rng([images, number])
    rows = np.sort(random.choice(len(honest), images, replace=False))
    is_altered = honest.y == honest.classes[number % len(honest.classes)]
    is_altered &= random.random(len(honest)) < share
    properties: NDArray[np.float32] = np.where(
        is_altered[:, None], altered.properties, honest.properties
    )
    return replace(honest, properties=properties, split=None).take(rows)


def named_classes(data: Dataset) -> list[str]:
    """Return the classes that `fit` would name, without fitting heads on the embedding."""
    assert data.properties is not None
    _, folds = make_folds(data, cv=5)
    codes = np.searchsorted(data.classes, data.y)
    return list(told_apart(data.properties, codes, folds, scorer_of(data, folds, 0)))


def run(draws: int) -> str:
    """Return the table of all sets and alterations in Markdown."""
    root = Path(os.environ["TLFEATURES_REFERENCE"])
    rows = []
    for name, folder in FOLDERS.items():
        with tempfile.TemporaryDirectory() as made:
            honest = embedded(root / folder, Path(made) / "honest.h5", None)
            cases = {"as it is": (honest, 1.0)}
            for number, (how, alter) in enumerate(ALTERATIONS.items()):
                altered = embedded(root / folder, Path(made) / f"{number}.h5", alter)
                cases[how] = altered, 1.0
                if number == 0:
                    cases[f"half of it {how}"] = altered, 0.5
            for how, (altered, share) in cases.items():
                found = named(honest, altered, draws, share=share)
                rate = np.mean([bool(classes) for classes in found])
                rows.append([name, how, draws, f"{100 * rate:.0f} %"])
    return table(["images", "one class", "draws", "named"], rows)
