"""Fixtures of benchmarks and of pages of them."""

import shutil

import pytest

from tests.commands.pages import make_page
from tlfeatures import extract
from tlfeatures.features.engines import speeds


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """Folds of so few images are done before processes for them would have started."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


@pytest.fixture(scope="session")
def embeddings(_photos, tmp_path_factory):
    """An embeddings file of `photos` with grid8.avg and grid8.flatten, which tests only read."""
    file = tmp_path_factory.mktemp("embeddings") / "a.h5"
    extract(_photos, file, backbone="pixels", size=16, pools=["avg", "flatten"])
    return file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the package's downloads; it and Keras's folder don't exist yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "tlfeatures"
    monkeypatch.setattr(speeds, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def out(tmp_path):
    """The folder of a benchmark that a test runs; it doesn't exist yet."""
    return tmp_path / "out"


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
