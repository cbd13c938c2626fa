"""Whether the verdict says "no better than guessing" if the labels have nothing to do with images.

A draw takes 120 images of an embeddings file at random and permutes their labels. Whatever the
heads learn then is chance.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.honesty._markdown import table
from tlfeatures import benchmark, load_dataset
from tlfeatures.dataset.dataset import Dataset

FILES = ("scenes", "insects")
IMAGES = 120
SIX = ("logreg", "linear-svm", "ridge", "lda", "rbf-svm", "knn")
GUESSING = "No better than guessing."


def verdicts(
    data: Dataset, draws: int, images: int = IMAGES, heads: tuple[str, ...] = SIX
) -> list[str]:
    """Return the verdicts of benchmarks of some of the images with permuted labels."""
    found = []
    for number in range(draws):
        random = np.random.default_rng([images, number])
        part = data.take(np.sort(random.choice(len(data), images, replace=False)))
        shuffled = replace(part, y=random.permutation(part.y), split=None)
        found.append(" ".join(benchmark(shuffled, list(heads), n_jobs=1, cv=5).verdict))
    return found


def run(draws: int) -> str:
    """Return the table of both files in Markdown."""
    folder = Path(os.environ["HONESTY_DATA"])
    header = ["embeddings", "images", "heads", "draws"]
    header += ["no better than guessing", "a control is named"]
    rows = []
    for name in FILES:
        found = verdicts(load_dataset(folder / f"{name}.h5"), draws)
        guessing = sum(GUESSING in verdict for verdict in found)
        named = sum("Caution:" in verdict for verdict in found)
        shares = (f"{100 * count / draws:.0f} %" for count in (guessing, named))
        rows.append([name, IMAGES, len(SIX), draws, *shares])
    return table(header, rows)
