"""Rows that stay in shards: they read as an array, and never all by accident."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.sharded_files import made_rows, sharded_file, write_sharded
from tlfeatures import load_dataset, merge
from tlfeatures.dataset.rows import in_memory
from tlfeatures.errors import DatasetError, FormatError, ParameterError, StoreError
from tlfeatures.features.file import rows_in_shards
from tlfeatures.features.file.rows_in_shards import in_shards


def on_disk(file, **options):
    return load_dataset(file, on_disk=True, near_duplicates=None, **options)


@pytest.fixture
def file(tmp_path):
    return sharded_file(tmp_path / "x.h5", n=60, d=5)


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(3, 40, 4),
        np.array([5, 2, 2, 59]),
        np.arange(60) % 3 == 0,
        7,
        (slice(2, 9), slice(1, 3)),
        (np.array([8, 1]), slice(0, 2)),
        np.array([], int),
    ],
)
@pytest.mark.slow
def test_rows_read_as_the_array(file, index):
    rows = in_shards(on_disk(file).X)
    expected = load_dataset(file, near_duplicates=None).X
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == ((60, 5), np.float32, 2, 60)
    np.testing.assert_array_equal(rows[index], expected[index])


def test_all_rows_are_never_read_by_accident(file):
    with pytest.raises(ParameterError, match="leave out --cluster"):
        np.asarray(on_disk(file).X)


def test_some_rows_are_selected_without_reading(file):
    labels = {f"a/{row:05d}.png": "yes" if row % 2 else "no" for row in range(0, 60, 3)}
    data, expected = (
        load_dataset(file, labels=labels, near_duplicates=None, on_disk=on_disk)
        for on_disk in (True, False)
    )
    assert in_shards(data.X) is not None
    assert len(data) == 20
    assert in_memory(data) == expected


def test_joined_embeddings_and_equal_images(tmp_path):
    X, ids = made_rows(30, 4)
    halves = [np.arange(15), np.arange(15, 30)]
    file = write_sharded(tmp_path / "x.h5", ids, halves, **{"x.avg": X, "y.avg": X[:, :3] + 1})
    name = "x.avg+y.avg"
    rows = on_disk(file, embedding=name).X
    expected = load_dataset(file, name, near_duplicates=None).X
    np.testing.assert_array_equal(rows[:], expected)
    shards = in_shards(rows).shards()
    read = np.concatenate([shard.read(name, in_shards(rows).spec) for shard in shards])
    np.testing.assert_array_equal(read, expected[in_shards(rows).order()])


def test_the_fingerprint_is_that_of_the_shards_and_rows(file, tmp_path):
    rows = in_shards(on_disk(file).X)
    other = in_shards(on_disk(sharded_file(tmp_path / "y.h5", n=60, d=5, seed=1)).X)
    assert rows.fingerprint() == in_shards(on_disk(file).X).fingerprint()
    different = {part.fingerprint() for part in (rows, rows.select(np.arange(59)), other)}
    assert len(different) == 3


def test_a_file_without_shards_is_read(file, tmp_path):
    merge(file, tmp_path / "whole.h5")
    assert isinstance(on_disk(tmp_path / "whole.h5").X, np.ndarray)


def test_changed_shards_are_refused(file):
    rows = in_shards(on_disk(file).X)
    first, second, *_ = rows.shards()
    one, other = (Path(shard.path).read_bytes() for shard in (first, second))
    Path(first.path).write_bytes(other)
    with pytest.raises((FormatError, StoreError), match=r"other images|another size"):
        first.read("x.avg", rows.spec)
    Path(first.path).write_bytes(one[:-1])
    with pytest.raises(StoreError, match="missing here, or has another size"):
        first.read("x.avg", rows.spec)


def test_values_that_are_not_finite(file, monkeypatch):
    read = rows_in_shards._read

    def damaged(*arguments):
        values = read(*arguments)
        values[7, 2] = np.inf
        return values

    monkeypatch.setattr(rows_in_shards, "_read", damaged)
    with pytest.raises(DatasetError, match="not finite for 1 images"):
        in_memory(on_disk(file))
