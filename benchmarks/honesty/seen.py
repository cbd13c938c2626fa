"""Which copies of training images `evaluate` leaves out, and how many other images.

It needs the folders `intel` and `hymenoptera` and the weights of VGG16 in the folder that
TLFEATURES_REFERENCE names. Sixty images of each set are saved again in several ways. Half of the
images of a set are the training images, and the other half shows the false alarms.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.honesty._markdown import table
from tlfeatures import extract, load_dataset
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.models.training_sketch import TrainingSketch

COUNT = 60  # images that are saved again
SETS = {"landscapes": ("intel", 150), "insects": ("hymenoptera", 224)}
WEIGHTS = "vgg16/vgg16_imagenet_notop.h5"

Change = Callable[[Image.Image], Image.Image]


def resized(share: float) -> Change:
    """Make both sides smaller."""
    return lambda image: image.resize(
        (round(share * image.width), round(share * image.height)), Image.Resampling.BICUBIC
    )


def cropped(image: Image.Image) -> Image.Image:
    """Cut 1 % off each side."""
    x, y = max(1, round(0.01 * image.width)), max(1, round(0.01 * image.height))
    return image.crop((x, y, image.width - x, image.height - y))


def same(image: Image.Image) -> Image.Image:
    """Leave the pixels as they are."""
    return image


# Way -> what is done to the image, and the quality of the JPEG; None for PNG
WAYS: dict[str, tuple[Change, int | None]] = {
    **{f"JPEG, quality {quality}": (same, quality) for quality in (95, 85, 75, 60, 40)},
    **{f"resized to {share:.0%}": (resized(share), 90) for share in (0.9, 0.7, 0.5)},
    "PNG": (same, None),
    "middle 98 %": (cropped, 90),
    "mirrored": (ImageOps.mirror, 90),
}


def run(draws: int) -> str:
    """Return a Markdown table: percentages of copies that are found, and false alarms."""
    root = Path(os.environ["TLFEATURES_REFERENCE"])
    columns = {}
    for name, (folder, size) in SETS.items():
        with tempfile.TemporaryDirectory() as temporary:
            columns[name] = measure(root / folder, size, root / WEIGHTS, Path(temporary), draws)
    first, *_ = columns.values()
    rows = [[way, *(own[way] for own in columns.values())] for way in first]
    return table(["copy", *columns], rows)


def measure(images: Path, size: int, weights: Path, folder: Path, draws: int) -> dict[str, str]:
    """Embed a set and its copies, and search the copies of the training half."""
    settings = {"size": size, "weights": str(weights), "layers": ["block5_pool"], "pools": ["avg"]}
    extract(images, folder / "own.h5", **settings)
    own = load_dataset(folder / "own.h5", labels=dict.fromkeys(_ids(images), "any"))
    chosen = np.random.default_rng(0).permutation(len(own))[:COUNT]
    for way, (change, quality) in WAYS.items():
        for row in chosen:
            _save(images / own.ids[row], folder / "copies" / way / f"{row}", change, quality)
    extract(folder / "copies", folder / "copies.h5", **settings)
    copies = load_dataset(folder / "copies.h5", near_duplicates=None)
    origin = np.array([int(Path(id_).stem) for id_ in copies.ids])
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    alarms = []
    for draw in range(draws):
        halves = np.random.default_rng([1, draw]).permutation(len(own))
        train, rest = np.split(halves, [len(own) // 2])
        hits = _found(own.take(train), copies.X)
        for way in WAYS:
            of_way = (copies.y == way) & np.isin(origin, train)
            found[way].append(float(hits[of_way].mean()))
        alarms.append(int(_found(own.take(train), own.X[rest]).sum()))
    shares = {way: f"{100 * np.mean(values):.0f} %" for way, values in found.items()}
    return {**shares, "other half of the originals": f"{np.mean(alarms):.1f} of {len(rest)}"}


def _found(train: Dataset, X: NDArray[np.float32]) -> NDArray[np.bool_]:
    sketch = TrainingSketch.fit(train.X, train.parts)
    assert sketch is not None
    hits = sketch.finds(X, [part.near_duplicates for part in train.parts])
    assert hits is not None
    return hits


def _ids(images: Path) -> list[str]:
    return [path.relative_to(images).as_posix() for path in sorted(images.rglob("*.jpg"))]


def _save(source: Path, target: Path, change: Change, quality: int | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    image = change(Image.open(source).convert("RGB"))
    if quality is None:
        image.save(target.with_suffix(".png"))
    else:
        image.save(target.with_suffix(".jpg"), quality=quality)
