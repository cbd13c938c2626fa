"""What tests share: image files, comparisons of embeddings files, doubles of heads and backbones.

A double of a backbone is registered where the package looks backbones and engines up: in the public
tables BACKBONES and ENGINES. One of a head has a dotted name, `tests.fakes:recording`.
"""

from __future__ import annotations

import contextlib
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from tlfeatures.errors import StoreError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import BACKBONES, embedding_widths
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.engine import BATCH_SIZE, LoadedBackbone
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.images.decoding import MAX_PIXELS, decode_content
from tlfeatures.features.images.reading import Content
from tlfeatures.features.images.value_range import ValueRange

Rows = tuple[list[str], dict[str, NDArray[np.float32]]]

VGG16_ENGINES = [name for name, engine in ENGINES.items() if engine.loads(BACKBONES["vgg16"])]

# ---- files


def decode(
    data: bytes,
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; see `decode_content`."""
    return decode_content(Content(data), size, max_pixels, value_range).pixels


def write_image(path: Path, seed: int, side: int = 12) -> None:
    """Write a lossless image that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    age(path)


def age(path: Path, seconds: float = 3600) -> None:
    """Give a file the time of an hour ago: `extract` trusts such a time, not one of just now."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file of this process become longer than so many bytes, as a quota does."""
    resource = pytest.importorskip("resource")  # Windows has none
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_in(folder: Path) -> dict[Path, bytes]:
    """Read all files of a folder and of the folders in it."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def members_of(path: Path) -> dict[str, bytes]:
    """Read all members of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(
    file: Path | BinaryIO,
    members: Mapping[str, str | bytes],
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Write a zip of these members; one that is there is replaced."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def rows_of(file: Path) -> Rows:
    """Read the ids and all values of an embeddings file, those of variants and properties too."""
    with open_embeddings(file) as reader:
        header = reader.header
        rows = {name: reader.read(name) for name in header.embeddings}
        if header.spec.variants:
            for name in header.embeddings:
                rows[f"variants of {name}"] = reader.read_variants(name, header.spec.variants)
        properties = reader.read_properties()
        if properties is not None:
            rows["properties"] = properties
        return header.ids, rows


def assert_same(file: Path, expected: Rows) -> None:
    """Assert that a file has these ids and the same bits, and that no unfinished file is left."""
    (ids, rows), (expected_ids, expected_rows) = rows_of(file), expected
    assert (ids, rows.keys()) == (expected_ids, expected_rows.keys())
    for name, values in expected_rows.items():
        assert rows[name].dtype == np.float32
        np.testing.assert_array_equal(rows[name], values)
    assert not partial_path(file).exists()


def shards_of(file: Path) -> list[str]:
    """Name what is in a file's folder of shards."""
    folder = file.with_name(f"{file.name}.shards")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_tidy(file: Path) -> None:
    """Assert that a sharded file's folder of shards holds its shards and nothing else."""
    shards = read_header(file).shards
    assert shards is not None
    assert shards_of(file) == sorted(shards.names)


# ---- heads

IMAGE, VARIANT = 1, 2  # columns that say of which image, and which of its variants, a row is


def names_of(X) -> list[tuple[float, float]]:
    """Give (image, variant) of each row."""
    return list(zip(X[:, IMAGE].tolist(), X[:, VARIANT].tolist(), strict=True))


def weights_of(network: MLPClassifier) -> list[NDArray[np.floating]]:
    """List the weights and the biases of a fitted network."""
    return [*network.coefs_, *network.intercepts_]


def same_weights(left: MLPClassifier, right: MLPClassifier) -> bool:
    """Say whether two fitted networks have the same weights, to the last bit."""
    pairs = zip(weights_of(left), weights_of(right), strict=True)
    return all(a.dtype == b.dtype and (a == b).all() for a, b in pairs)


def with_variants(images, v=2) -> list[tuple[float, float]]:
    """Give the names of images and of v variants of each, sorted."""
    return sorted((float(image), float(k)) for image in images for k in range(v + 1))


class Recorder(ClassifierMixin, BaseEstimator):
    """Records, in lists that clones share, the rows that it was fitted on and asked of.

    `fitted` has (names of the rows, labels) of each fit, `asked` (number of the fit, names of the
    rows) of each prediction; `names_of` reads the names from the columns.
    """

    fitted: ClassVar[list] = []
    asked: ClassVar[list] = []

    def __init__(self, value=1):
        self.value = value

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.number = len(self.fitted)
        self.fitted.append((names_of(X), y.tolist()))
        return self

    def predict(self, X):
        self.asked.append((self.number, names_of(X)))
        return np.resize(self.classes_, len(X))


class GuessingRecorder(Recorder):
    """Gives each class the same probability."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


class DecidingRecorder(Recorder):
    """Has decisions, by the first column, and no probabilities."""

    def decision_function(self, X):
        self.asked.append((self.number, names_of(X)))
        return X[:, 0]


def recording() -> Pipeline:
    """Make the head `tests.fakes:recording`, which sees the columns as they are."""
    return Pipeline([("classifier", Recorder())])


def guessing() -> Pipeline:
    """Make the head `tests.fakes:guessing`, which sees the columns as they are."""
    return Pipeline([("classifier", GuessingRecorder())])


# ---- backbones


def use_backbone(
    patch: pytest.MonkeyPatch, load: Callable[[Sequence[str]], LoadedBackbone], name: str = "pixels"
) -> None:
    """Let `load` give the backbone `name`, which keeps its layers and its preprocessing."""
    patch.setitem(BACKBONES, name, replace(BACKBONES[name], load=load))


def use_engine(
    patch: pytest.MonkeyPatch,
    load: Callable[[Sequence[str]], LoadedBackbone],
    name: str = "keras",
) -> None:
    """Let `load` give every backbone that the engine `name` computes; weights are still read."""

    def load_by_name(spec, names, device, weights, threads):
        return load(names)

    patch.setitem(ENGINES, name, replace(ENGINES[name], load=load_by_name))


def publish_at(patch: pytest.MonkeyPatch, address: str, **changes) -> Backbone:
    """Let the files of VGG16's published weights be at an address that ends with a slash.

    The changes are those of its `PublishedWeights`; the record is returned.
    """
    record = BACKBONES["vgg16"]
    files = {
        which: replace(file, url=address + file.name)
        for which, file in (
            ("file", record.published.file),
            ("file_with_top", record.published.file_with_top),
        )
    }
    record = replace(record, published=replace(record.published, **files, **changes))
    patch.setitem(BACKBONES, "vgg16", record)
    return record


def refuse_loading(patch: pytest.MonkeyPatch, name: str = "pixels") -> None:
    """Make it an error to load the backbone `name`."""

    def load(names):
        raise AssertionError(f"the backbone {name} was loaded")

    use_backbone(patch, load, name)


def record_batches(patch: pytest.MonkeyPatch, **options) -> list[NDArray[np.uint8]]:
    """Give the list to which every batch of pixels embedded from now on is added.

    The options are those of `Recording`.
    """
    batches: list[NDArray[np.uint8]] = []
    use_backbone(patch, lambda names: Recording(PixelBackbone(names), batches, **options))
    return batches


class Double:
    """Does what another backbone does; the base of the doubles that do one thing more."""

    def __init__(self, backbone: LoadedBackbone) -> None:
        self.backbone = backbone
        self.one_shape, self.most = backbone.one_shape, backbone.most

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self.backbone.embed(images)


class Recording(Double):
    """Adds a copy of each batch to the list `batches`, then calls `then`, then embeds it.

    `one_shape` and `most` replace those of the backbone.
    """

    def __init__(self, backbone, batches, *, one_shape=None, most=None, then=None):
        super().__init__(backbone)
        self.batches, self.then = batches, then
        self.one_shape = self.one_shape if one_shape is None else one_shape
        self.most = most or self.most

    def embed(self, images):
        self.batches.append(images.copy())
        if self.then is not None:
            self.then()
        return super().embed(images)


class Failing(Double):
    """Embeds some batches, then raises a StoreError "cut off", as a full disk would."""

    def __init__(self, backbone, batches):
        super().__init__(backbone)
        self.left = batches

    def embed(self, images):
        if not self.left:
            raise StoreError("cut off")
        self.left -= 1
        return super().embed(images)


class SmallMemory(Double):
    """Raises `error` for more than `images` images a batch; `asked` has the length of each."""

    def __init__(self, backbone, images, error):
        super().__init__(backbone)
        self.images, self.error, self.asked = images, error, []

    def embed(self, images):
        self.asked.append(len(images))
        if len(images) > self.images:
            raise self.error
        return super().embed(images)


class Constant:
    """Gives one value everywhere, in rows as wide as a backbone's (of avg, max and none)."""

    one_shape, most = True, BATCH_SIZE

    def __init__(self, names, value=1.0, backbone="vgg16"):
        self.widths = embedding_widths(BACKBONES[backbone], names, [], (224, 224))
        self.value = value

    def embed(self, images):
        shapes = {name: (len(images), width) for name, width in self.widths.items()}
        return {name: np.full(shape, self.value, np.float32) for name, shape in shapes.items()}
