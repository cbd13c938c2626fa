"""Data sets without a file, and small embeddings files, for the tests of many subjects."""

from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.fakes import IMAGE, VARIANT, Failing, rows_of, use_backbone
from tlfeatures import benchmark, extract
from tlfeatures.benchmarking import compute, run
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.errors import StoreError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.spec import Spec

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


def augmented(n=60, v=2, d=6, noise=0.3, **fields) -> Dataset:
    """As `dataset`, and v variants near each image."""
    data = dataset(n, d, **fields)
    random = np.random.default_rng(1)
    moved = random.normal(scale=noise, size=(n, v, d)).astype(np.float32)
    return replace(data, variants=data.X[:, None] + moved)


def named(n=60, v=2, **fields) -> Dataset:
    """As `augmented`, with two columns that name the image and the variant (see `names_of`)."""
    data = augmented(n, v, **fields)
    data.X[:, IMAGE], data.X[:, VARIANT] = np.arange(n), 0
    data.variants[..., IMAGE] = np.arange(n)[:, None]
    data.variants[..., VARIANT] = np.arange(1, v + 1)
    return data


def units(data):
    """Give each image the number of the images that must stay on its side of every fold."""
    return np.arange(len(data.y)) if data.together is None else data.together


def fit_options(head, unit, v=2):
    """Give what `head.fit` needs to know of images of these units, and of v variants of each."""
    asked = signature(head[-1].fit).parameters
    n = len(unit)
    if "groups" in asked:
        return {
            "classifier__groups": np.concatenate([unit, unit.repeat(v)]),
            "classifier__images": np.concatenate([np.arange(n), np.arange(n).repeat(v)]),
            "classifier__variant": np.concatenate([np.zeros(n, int), np.tile(np.arange(v) + 1, n)]),
        }
    if isinstance(head[-1], LogisticRegression):
        return {"classifier__sample_weight": np.full(n * (1 + v), 1 / (1 + v))}
    return {}


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


def run_benchmark(files, **options):
    """Benchmark in this process: starting others would take longer than the folds."""
    return benchmark(files, **{"n_jobs": 1, **options})


def use_fit_version(patch, version):
    """Fit and rank entries as a release with this FIT_VERSION would."""
    for module in (compute, run):  # `run` has imported the number
        patch.setattr(module, "FIT_VERSION", version)
