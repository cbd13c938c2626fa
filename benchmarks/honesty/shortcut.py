"""Whether a class whose images were saved or scaled in another way is named, and honest sets not.

The images of a set are written again with an alteration. A draw takes 200 of the images at random,
of which one class, or half of it, has the altered files. The heads see the unaltered images: what
counts is whether the verdict names the class before it gives the accuracy.
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

from tlfeatures import extract, fit, load_dataset
from tlfeatures.dataset.dataset import Dataset

FOLDERS = {"scenes": "intel", "insects": "hymenoptera"}
IMAGES = 200
CAUTION = "Caution: the files of"


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
) -> list[str]:
    """Return the first sentences of the verdicts if one class has altered files.

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
    lines = []
    for number in range(draws):
        random = np.random.default_rng([images, number])
        rows = np.sort(random.choice(len(honest), images, replace=False))
        is_altered = honest.y == honest.classes[number % len(honest.classes)]
        is_altered &= random.random(len(honest)) < share
        mixed: NDArray[np.float32] = np.where(
            is_altered[:, None], altered.properties, honest.properties
        )
        data = replace(honest, properties=mixed, split=None).take(rows)
        lines.append(fit(data, "logreg", cv=5).verdict[0])
    return lines


def run(draws: int) -> str:
    """Return the table of all sets and alterations in Markdown."""
    root = Path(os.environ["TLFEATURES_REFERENCE"])
    lines = ["| images | one class | draws | named |", "| --- | --- | --- | --- |"]
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
                rate = sum(line.startswith(CAUTION) for line in found) / draws
                lines.append(f"| {name} | {how} | {draws} | {100 * rate:.0f} % |")
    return "\n".join(lines)
