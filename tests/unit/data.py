"""Data sets without a file."""

from dataclasses import replace

import numpy as np

from tlfeatures.dataset import Dataset
from tlfeatures.features.spec import Spec

SPEC = Spec(
    backbone="pixels", size=(8, 8), precision="float32", weights="none", weights_sha256=None
)


def dataset(n=60, d=6, classes="ab", signal=1.0, **fields) -> Dataset:
    """Noise, and a first column that tells the classes apart as far as `signal` goes."""
    random = np.random.default_rng(0)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    X = random.normal(size=(n, d)).astype(np.float32)
    X[:, 0] += signal * np.unique(y, return_inverse=True)[1]
    ids = np.array([f"{label}/{i:04d}.png" for i, label in enumerate(y)])
    made = Dataset(
        X=X, y=y, groups=None, ids=ids, split=None, embedding="x.avg", spec=SPEC, file="x.h5"
    )
    return replace(made, **fields)
