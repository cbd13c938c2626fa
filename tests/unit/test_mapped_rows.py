"""Large tables of embeddings files are mapped into memory, and shared with other processes."""

import sys

import h5py
import numpy as np
import pytest
from joblib import Parallel, delayed

from tests.unit.data import dataset
from tlfeatures import import_features, load_dataset
from tlfeatures.features.file import mapped
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.model_selection.cross_validation import cross_validate_heads

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only on Linux")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "SMALLEST", 1)
    data = dataset(n=90, d=40, signal=3.0)
    source = tmp_path / "x.npz"
    np.savez(source, X=data.X, id=data.ids, label=data.y)
    import_features(source, tmp_path / "x.h5")
    return tmp_path / "x.h5"


def is_mapped(X):
    base = X
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    return base is not None


def read(file):
    with open_embeddings(file) as reader:
        return reader.read(next(iter(reader.header.embeddings)))


def test_it_has_the_same_values_and_can_not_be_changed(file, monkeypatch):
    X = read(file)
    assert is_mapped(X)
    assert X.flags.aligned
    assert not X.flags.writeable
    monkeypatch.setattr(mapped, "SMALLEST", 10**9)
    np.testing.assert_array_equal(read(file), X)
    assert not is_mapped(read(file))


def first_value(X):
    return float(X[0, 0]), is_mapped(X)


@pytest.mark.slow
def test_another_process_reads_the_file_that_was_opened(file):
    """Also if another file has its name now."""
    X = np.tile(read(file), 1)
    shared = read(file)
    file.rename(file.with_suffix(".old"))
    file.with_suffix(".old").unlink()
    file.write_bytes(b"another file")
    found = Parallel(2)(delayed(first_value)(shared) for _ in range(2))
    assert found == [(float(X[0, 0]), True)] * 2


@pytest.mark.parametrize("options", [{"chunks": (2, 3)}, {"dtype": ">f4"}, {"dtype": "f4"}])
def test_tables_that_can_not_be_mapped_are_read(options, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "SMALLEST", 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        table = file.create_dataset("x", data=np.ones((8, 6)), **{"dtype": "f8", **options})
        file.flush()
        found = mapped.mapped_rows(table)
        plain = options == {"dtype": "f4"}
        assert (found is None) == (not plain or table.id.get_offset() % 4 != 0)


@pytest.mark.slow
def test_folds_have_the_same_results(file, monkeypatch):
    mapped_data = load_dataset(file)
    assert is_mapped(mapped_data.X)
    monkeypatch.setattr(mapped, "SMALLEST", 10**9)
    plain = load_dataset(file)
    heads = ["ridge", "knn"]
    first, second = (
        cross_validate_heads(heads, data, cv=3, n_jobs=2) for data in (mapped_data, plain)
    )
    for name in heads:
        np.testing.assert_array_equal(first[name].probabilities, second[name].probabilities)
