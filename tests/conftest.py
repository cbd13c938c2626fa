"""Fixtures that many tests share: folders of small images, photographs, weights."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from tests.fakes import Recorder, age
from tlfeatures import extract, fit
from tlfeatures.benchmarking import compute
from tlfeatures.features.backbones.vgg16 import VGG16
from tlfeatures.features.backbones.weights import load_weights
from tlfeatures.features.engines import speeds

# The folder of the reference images and weights, which are not part of the repository.
PLUS = Path(__file__).parents[2] / "shared" / "data"
REFERENCE = Path(os.environ.get("TLFEATURES_REFERENCE", PLUS)).absolute()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small fits spend more time on starting threads than on numbers.

    Test processes share the cores; the variables are for the processes that tests start.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let processes that tests start heed Ctrl-C, also where a shell runs the tests as a job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_speeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was measured on this machine decides nothing in tests."""
    folder = tmp_path_factory.mktemp("speeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speeds, "cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Flush no file of a test process to the disk: what was written outlives the process anyway.

    Processes that tests start and kill flush their files.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        yield


@pytest.fixture(scope="session")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for label, channel in (("blue", 2), ("red", 0)):
        (folder / label).mkdir()
        for number in range(12):
            random = np.random.default_rng([channel, number])
            pixels = random.integers(0, 160, (16, 20, 3), np.uint8)
            pixels[..., channel] += np.uint8(60)
            Image.fromarray(pixels).save(folder / label / f"{label}{number:02d}.png")
            age(folder / label / f"{label}{number:02d}.png")
    return folder


@pytest.fixture
def photos(_photos: Path, tmp_path: Path) -> Path:
    """Twelve images a class, bluish and reddish, so that colours tell them apart."""
    return Path(shutil.copytree(_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of reference images and weights; only tests marked `reference` may use it."""
    if not REFERENCE.is_dir():
        pytest.fail(f"the reference images are not in {REFERENCE}: set TLFEATURES_REFERENCE")
    return REFERENCE


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of the reference images is long, so that `make test` never needs them."""
    for item in items:
        if item.get_closest_marker("reference"):
            item.add_marker("long")


MadeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """`made_once(name, make)` gives a folder that one of the test processes fills by `make`.

    Tests only read what is in it, or copy it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder above is that of all workers of this run
        root = root.parent

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder = root / "made-once" / name
        folder.parent.mkdir(exist_ok=True)
        with filelock.FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                unfinished = folder.with_suffix(".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return make_once


@pytest.fixture(scope="session")
def study_folder() -> Iterator[Path]:
    """The folder of the study, whose modules can be imported."""
    folder = Path(__file__).parents[1] / "examples" / "intel_scenes"
    sys.path.insert(0, str(folder))
    get_reusable_executor().shutdown()  # its processes were started without this folder
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def weights(made_once: MadeOnce) -> str:
    """Real VGG16 weights, as a user gets them; the first test process downloads them."""
    made_once("weights", lambda _: load_weights(VGG16, "imagenet") and None)
    return "imagenet"


# ---- embeddings files and models of `photos`, without TensorFlow


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


@pytest.fixture
def partial_fits(monkeypatch):
    """The rows and the codes of every call of `MLPClassifier.partial_fit`."""
    calls, real = [], MLPClassifier.partial_fit

    def spy(self, X, y, **options):
        calls.append((X.copy(), np.array(y)))
        return real(self, X, y, **options)

    monkeypatch.setattr(MLPClassifier, "partial_fit", spy)
    return calls


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

    return lambda: monkeypatch.setattr(compute, "run_folds", refuse)


@pytest.fixture(scope="module")
def client():
    """A client of a Dask cluster in this process, of two workers with a thread each."""
    from distributed import Client

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with Client(processes=False, set_as_default=False, **options) as client:
        yield client


@pytest.fixture
def two_embeddings_file(photos, tmp_path):
    """An embeddings file of `photos` with grid8.avg and grid8.flatten."""
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    return tmp_path / "a.h5"
