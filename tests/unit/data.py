"""Data sets without a file, and small embeddings files, for the tests of many subjects."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fakes import Failing, rows_of, use_backbone
from tlfeatures import extract
from tlfeatures.dataset import Dataset
from tlfeatures.errors import StoreError
from tlfeatures.features.pixels import PixelBackbone
from tlfeatures.features.spec import Spec
from tlfeatures.features.store import read_header

SPEC = Spec(
    backbone="pixels", size=(8, 8), precision="float32", weights="none", weights_sha256=None
)

TURNED = "rotation=30,brightness=0.2,seed=3"  # an augmentation


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


def extract_pixels(photos, file, **options):
    """Extract `grid8.avg` by the backbone that needs no weights, in batches of five images."""
    return extract(photos, file, **({"backbone": "pixels", "size": 16, "batch_size": 5} | options))


def cut_off(monkeypatch, batches, photos, file, **options):
    """Extract as `extract_pixels` does, and fail after some batches, as a killed process would."""
    with monkeypatch.context() as patch:
        use_backbone(patch, lambda names: Failing(PixelBackbone(names), batches))
        with pytest.raises(StoreError, match="cut off"):
            extract_pixels(photos, file, **options)


def rows_by_id(file, name="grid8.avg"):
    """Read the finished rows of one embedding, or of "variants of EMBEDDING": id to row."""
    header = read_header(file)
    finished = (id_ for id_, done in zip(header.ids, header.done, strict=True) if done)
    return dict(zip(finished, rows_of(file)[1][name], strict=True))
