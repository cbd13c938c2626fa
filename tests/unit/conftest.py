"""Fixtures that many unit tests share."""

import shutil
from pathlib import Path

import pytest

from tests.fakes import Recorder
from tests.unit.pages import make_page
from tlfeatures import benchmarking, extract, fit


@pytest.fixture
def file(tmp_path):
    """Where an embeddings file is to be written; a test module may put a written one in place."""
    return tmp_path / "photos.h5"


@pytest.fixture
def recorder():
    """A head that records its rows; what others recorded before is forgotten."""
    Recorder.fitted.clear()
    Recorder.asked.clear()
    return Recorder()


@pytest.fixture(scope="session")
def augmented_folder(_photos, tmp_path_factory):
    """`photos`, and their embeddings: with three variants of each in a.h5, without in plain.h5."""
    folder = tmp_path_factory.mktemp("augmented")
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4", "grid8"], "pools": "flatten"}
    shutil.copytree(_photos, folder / "photos")
    extract(folder / "photos", folder / "a.h5", augment=3, **settings)
    extract(folder / "photos", folder / "plain.h5", **settings)
    return folder


@pytest.fixture
def augmented_file(augmented_folder, tmp_path):
    """The embeddings of 24 images with three variants of each; those without are beside it."""
    for name in ("a.h5", "plain.h5"):
        shutil.copy(augmented_folder / name, tmp_path / name)
    return tmp_path / "a.h5"


@pytest.fixture(scope="session")
def fitted_folder(_photos, tmp_path_factory):
    """The embedding grid8.flatten of `photos` in photos.h5, and a model of it in m.model."""
    folder = tmp_path_factory.mktemp("fitted")
    shutil.copytree(_photos, folder / "photos")
    options = {"backbone": "pixels", "size": 16, "pools": ["flatten"]}
    extract(folder / "photos", folder / "photos.h5", **options)
    fit(folder / "photos.h5", "logreg", model=folder / "m.model")
    return folder


@pytest.fixture
def flatten_file(fitted_folder, tmp_path):
    """An embeddings file of `photos`, whose only embedding is grid8.flatten."""
    return Path(shutil.copy(fitted_folder / "photos.h5", tmp_path / "photos.h5"))


@pytest.fixture
def fitted_model(fitted_folder, tmp_path):
    """A model file of logreg on grid8.flatten of `photos`; its card is beside it."""
    for name in ("m.model", "m.model.md"):
        shutil.copy(fitted_folder / name, tmp_path / name)
    return tmp_path / "m.model"


@pytest.fixture
def no_fits(monkeypatch):
    """`no_fits()` makes it an error that a benchmark fits anything from then on."""

    def refuse(*arguments, **options):
        raise AssertionError("was computed again")

    return lambda: monkeypatch.setattr(benchmarking, "cross_validate_heads", refuse)


@pytest.fixture(scope="session")
def page_folder(_photos, tmp_path_factory):
    """A benchmark and a page of it (see `make_page`), which tests only read."""
    folder = tmp_path_factory.mktemp("page")
    make_page(_photos, folder)
    return folder


@pytest.fixture
def page_copy(page_folder, tmp_path):
    """A copy of `page_folder` that a test may change; its results name the files of the copy."""
    copy = shutil.copytree(page_folder, tmp_path / "copy")
    results = copy / "out" / "results.json"
    results.write_text(results.read_text().replace(str(page_folder), str(copy)))
    return copy
