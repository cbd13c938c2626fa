"""All steps on real images: the handwritten digits of scikit-learn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tlfeatures.benchmarking.fit import fit
from tlfeatures.benchmarking.fit_result import FitResult
from tlfeatures.features.extract import extract
from tlfeatures.features.extraction import Extraction
from tlfeatures.progress import Progress

HEADS = ("logreg", "rbf-svm", "gradient-boosting")
PER_CLASS = 30  # images of each digit
SIDE = 64  # of the PNGs; the digits themselves have 8 by 8 pixels


def run_demo(
    out: str | os.PathLike[str], *, progress: bool | Progress | None = None
) -> tuple[Extraction, FitResult]:
    """Write digits as PNGs in class folders, embed them, compare three heads.

    Parameters
    ----------
    out : path
        A folder, into which `digits/`, `digits.h5` and `digits.model` are written.
    progress : callable (images done, images to do), optional

    Returns
    -------
    extraction : Extraction
    result : FitResult
    """
    folder = Path(out)
    write_digits(folder / "digits", PER_CLASS)
    file = folder / "digits.h5"
    extraction = extract(folder / "digits", file, size=SIDE, progress=progress)
    return extraction, fit(file, HEADS, model=folder / "digits.model")


def write_digits(folder: Path, per_class: int) -> None:
    """Write the first digits of each class of scikit-learn's set as grey PNGs."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        for row in np.flatnonzero(digits.target == label)[:per_class].tolist():
            grey = (digits.images[row] * (255 / 16)).round().astype(np.uint8)
            image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            image.save(folder / str(label) / f"digit{row:04d}.png")
