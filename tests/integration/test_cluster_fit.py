"""Folds on the workers of a cluster: real processes, which are killed while they are at one.

Promise: `fit` and `benchmark` on a cluster give the numbers of one machine.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression

from tests.integration.dask_processes import PATIENCE, DaskProcesses, make_certificates
from tests.integration.forked import Forked
from tests.unit.data import dataset
from tlfeatures import benchmark, cross_validate_heads, extract, fit, write_predictions
from tlfeatures.cli import main
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.features.cluster.client import CallsLostError, Cluster
from tlfeatures.features.cluster.connect import TLS, connect
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.trainer import Trainer

pytestmark = pytest.mark.slow

WAITING_ROOM = "TLFEATURES_WAITING_ROOM"  # a variable of workers
NARROW = 100  # columns
TASKS = [Task(np.arange(20), np.arange(20, 30), {})] * 12


class Waiting(LogisticRegression):
    """On a worker with a waiting room, and before wide rows: waits there until it may go on."""

    def fit(self, X, y, sample_weight=None):
        if WAITING_ROOM in os.environ and X.shape[1] > NARROW:
            room = Path(os.environ[WAITING_ROOM])
            (room / f"{os.getpid()}.at").touch()
            until(lambda: (room / "go").exists())
        return super().fit(X, y, sample_weight)


def process_of(task: Task, rows: TrainingRows) -> int:
    return os.getpid()


def end_process(task: Task, rows: TrainingRows) -> None:
    os._exit(1)


def lack_a_name(task: Task, rows: TrainingRows) -> None:
    raise AttributeError("no such thing")


def processes_of_jobs(task: Task, rows: TrainingRows) -> set[int]:
    """What a head does that uses joblib inside."""
    return set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4)))


class OddError(Exception):
    """Can be pickled, but not back."""

    def __init__(self, text: str, more: str) -> None:
        super().__init__(text + more)


def fail_oddly(task: Task, rows: TrainingRows) -> None:
    raise OddError("one ", "and two")


def not_found(client: int) -> Any:
    """What unpickling does on a worker that lacks a module."""
    if os.getpid() != client:
        raise ModuleNotFoundError("No module named 'my_heads'")


class HeadOfMissingModule(LogisticRegression):
    """Can't be unpickled on a worker."""

    def __reduce__(self) -> Any:
        return not_found, (os.getpid(),)


def end_unless(client: int) -> None:
    if os.getpid() != client:
        os._exit(1)


class TooLarge:
    """Data which ends a worker that gets it, as data does that is too large for its memory."""

    def __reduce__(self) -> Any:
        return end_unless, (os.getpid(),)


def until(true: Callable[[], bool]) -> None:
    """Wait for an event."""
    last = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < last, "this should have happened"
        time.sleep(0.01)


class Workers:
    """Workers without nannies: what is killed stays so, and its number is that of its process."""

    def __init__(self, dask: DaskProcesses, room: Path) -> None:
        self.dask, self.room = dask, room
        self._running: list[Forked] = []
        room.mkdir()

    def just(self, number: int) -> list[Forked]:
        """So many of them, before an empty waiting room."""
        for file in self.room.iterdir():
            file.unlink()
        while len(self._running) < number:
            self.start()
        while len(self._running) > number:
            self.kill(self._running[-1])
        return list(self._running)

    def start(self, *options: str) -> None:
        room = {WAITING_ROOM: str(self.room)}
        self._running.append(self.dask.start_worker("--no-nanny", *options, env=room))

    def wait_for_end(self) -> None:
        """Wait until all of them have ended by themselves."""
        until(lambda: all(worker.poll() is not None for worker in self._running))
        self.just(0)

    def kill(self, worker: Forked) -> None:
        self._running.remove(worker)
        self.dask.kill(worker)

    def at_work(self) -> set[int]:
        return {int(path.stem) for path in self.room.glob("*.at")}

    def go_on(self) -> None:
        (self.room / "go").touch()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("dask")
    with DaskProcesses(folder) as dask:
        yield Workers(dask, folder / "room")


@pytest.fixture(scope="module")
def file(_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "photos.h5"
    extract(_photos, path, backbone="pixels", size=16, pools=["avg", "flatten"], augment=1)
    return path


# ---- numbers


def test_a_benchmark_is_the_same_to_the_last_bit(workers, file, tmp_path):
    workers.just(2)
    address, here, there = workers.dask.address, tmp_path / "here", tmp_path / "there"
    heads = "centroid,knn,lda,mlp,gradient-boosting"
    short = {"epochs": 2, "steps": 1, "max_iter": 9}
    how = ["benchmark", str(file), "--embedding", "grid8.avg", "--cv", "2", "--heads", heads]
    how += [word for key, value in short.items() for word in ("--param", f"{key}={value}")]
    given = {"heads": heads, "params": short, "n_jobs": 1}
    benchmark(file, embeddings="grid8.avg", cv=2, out=here, **given)
    result = CliRunner().invoke(main, [*how, "-o", str(there), "--cluster", address])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"INFO: cluster {address}: 2 workers, 2 threads; dashboard: ")
    assert results_in(here) == results_in(there)
    for folder in (here, there):
        write_predictions(folder, folder / "table.csv")
    assert (here / "table.csv").read_bytes() == (there / "table.csv").read_bytes()


def results_in(folder: Path) -> Any:
    """All but what no two runs have in common."""
    found = json.loads((folder / "results.json").read_text())
    assert found.pop("commands") is not None
    for entry in [*found["heads"], *found["ranking"]]:
        assert entry.pop("fit_seconds") is not None
    return found


def test_a_tuned_head_is_the_same_to_the_last_bit(workers, file):
    workers.just(2)
    how = {"heads": ["logreg", "knn"], "embedding": "grid8.avg", "tune": True, "cv": 2}
    here = fit(file, **how)
    there = fit(file, cluster=workers.dask.address, **how)
    assert without_times(here.to_dict()) == without_times(there.to_dict())
    for one, other in zip(here.benchmark.entries, there.benchmark.entries, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    for head in report["heads"]:
        del head["fit_seconds"]
    return report


# ---- what goes where


def test_rows_are_sent_once_and_folds_are_done_by_workers(workers, monkeypatch):
    numbers = {worker.pid for worker in workers.just(2)}
    sent, pickled = [], []
    scatter, reduce = Cluster.scatter, TrainingRows.__reduce_ex__
    monkeypatch.setattr(
        Cluster, "scatter", lambda *args, **how: sent.append(args) or scatter(*args, **how)
    )
    monkeypatch.setattr(
        TrainingRows, "__reduce_ex__", lambda self, n: pickled.append(self) or reduce(self, n)
    )
    data = dataset(200, d=300)
    with connect(workers.dask.address) as cluster, Trainer(data, cluster=cluster) as trainer:
        found = {number for _ in range(3) for number in trainer.map(process_of, TASKS, 1.0)}
    assert (len(sent), len(pickled)) == (1, 0)
    assert found <= numbers


def test_errors_of_a_fold_come_back_as_they_are(workers):
    workers.just(2)
    data = dataset()
    with connect(workers.dask.address) as cluster, Trainer(data, cluster=cluster) as trainer:
        with pytest.raises(AttributeError, match="no such thing"):
            trainer.map(lack_a_name, TASKS, 1.0)
        with pytest.raises(RuntimeError, match="OddError: one and two"):
            trainer.map(fail_oddly, TASKS, 1.0)
        heads = make_heads("logreg", {"C": -1})
        with pytest.raises(ParameterError, match=r"logreg can't be fitted: .*C"):
            cross_validate_heads(heads, data, trainer=trainer)
        assert len(trainer.map(process_of, TASKS, 1.0)) == len(TASKS)


def test_jobs_inside_a_fold_stay_in_its_process(workers):
    numbers = {worker.pid for worker in workers.just(2)}
    with connect(workers.dask.address) as cluster, Trainer(dataset(), cluster=cluster) as trainer:
        found = trainer.map(processes_of_jobs, TASKS, 1.0)
    assert all(len(processes) == 1 for processes in found)
    assert set.union(*found) <= numbers


def test_a_worker_that_lacks_the_module_of_a_head_says_so(workers):
    workers.just(2)
    data = dataset()
    with connect(workers.dask.address) as cluster, Trainer(data, cluster=cluster) as trainer:
        with pytest.raises(ClusterError, match=r"can't load a fold \(No module named 'my_heads'\)"):
            cross_validate_heads({"mine": HeadOfMissingModule()}, data, trainer=trainer)
        assert len(trainer.map(process_of, TASKS, 1.0)) == len(TASKS)


def test_data_that_workers_cannot_read_is_an_error(workers):
    workers.just(2)
    with connect(workers.dask.address) as cluster:
        with pytest.raises(ClusterError, match=r"another tlfeatures than this one, or none"):
            cluster.scatter(HeadOfMissingModule(), work="fold")
        assert cluster.threads == 2


def test_a_worker_that_joins_later_gets_folds(workers, background):
    (first,) = workers.just(1)
    found: Future[Any] = background.submit(evaluated, workers.dask.address)
    until(lambda: workers.at_work() == {first.pid})
    workers.start()
    until(lambda: len(workers.at_work()) == 2)
    workers.go_on()
    assert same_as_here(found.result(PATIENCE))


def test_a_worker_of_another_version_that_joins_later_ends_the_folds(workers, background, tmp_path):
    (first,) = workers.just(1)
    found: Future[Any] = background.submit(evaluated, workers.dask.address)
    until(lambda: workers.at_work() == {first.pid})
    older = tmp_path / "older.py"
    older.write_text(
        "from tlfeatures.model_selection import workers\n"
        "vars(workers).pop('do_packed_fold', None)  # Dask runs this file twice\n"
    )
    workers.start("--preload", str(older))
    with pytest.raises(ClusterError, match=r"another tlfeatures.*'do_packed_fold'"):
        found.result(PATIENCE)
    workers.go_on()
    workers.just(0)


# ---- what dies


WIDE = dataset(d=NARROW + 20)


def evaluated(address: str) -> Any:
    heads = {"slow": Waiting(), **make_heads("lda")}
    with connect(address) as cluster, Trainer(WIDE, cluster=cluster) as trainer:
        return cross_validate_heads(heads, WIDE, trainer=trainer)


def same_as_here(there: Any) -> bool:
    here = cross_validate_heads({"slow": Waiting(), **make_heads("lda")}, WIDE)
    return all((here[name].probabilities == there[name].probabilities).all() for name in here)


@pytest.fixture
def background(workers: Workers) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool
        workers.go_on()  # after a test that failed, else its folds would wait


def test_what_a_killed_worker_was_at_is_done_by_another(workers, background):
    running = workers.just(2)
    found: Future[Any] = background.submit(evaluated, workers.dask.address)
    until(lambda: workers.at_work() == {worker.pid for worker in running})
    workers.kill(running[0])
    workers.go_on()
    assert same_as_here(found.result(PATIENCE))


def test_rows_are_sent_again_where_all_that_had_them_are_killed(workers, background):
    (running,) = workers.just(1)
    found: Future[Any] = background.submit(evaluated, workers.dask.address)
    until(lambda: workers.at_work() == {running.pid})
    workers.kill(running)
    workers.start()
    workers.go_on()
    assert same_as_here(found.result(PATIENCE))


def test_rows_are_sent_again_where_their_workers_are_killed_between_folds(workers):
    (running,) = workers.just(1)
    with connect(workers.dask.address) as cluster, Trainer(WIDE, cluster=cluster) as trainer:
        assert set(trainer.map(process_of, TASKS, 1.0)) == {running.pid}
        workers.kill(running)
        (other,) = workers.just(1)
        assert set(trainer.map(process_of, TASKS, 1.0)) == {other.pid}


def test_rows_are_not_sent_for_ever(workers, background):
    workers.just(1)
    with connect(workers.dask.address) as cluster, Trainer(WIDE, cluster=cluster) as trainer:
        found = background.submit(trainer.map, end_process, TASKS, 1.0)
        for _ in range(2):
            workers.wait_for_end()
            workers.just(1)
        with pytest.raises(
            ClusterError, match="all workers ended 3 times while they had the embed"
        ):
            found.result(PATIENCE)
    workers.wait_for_end()


def test_workers_that_end_while_they_get_the_rows_are_replaced(workers, background):
    workers.just(1)
    with connect(workers.dask.address) as cluster, Trainer(WIDE, cluster=cluster) as trainer:
        trainer.map(process_of, TASKS, 1.0)
        workers.just(0)
        workers.just(1)
        found = background.submit(cluster.scatter, TooLarge(), work="fold")
        with pytest.raises(CallsLostError, match="a worker ended while data was sent to it"):
            found.result(PATIENCE)
        workers.wait_for_end()
        (other,) = workers.just(1)
        assert set(trainer.map(process_of, TASKS, 1.0)) == {other.pid}


def test_a_benchmark_goes_on_where_its_scheduler_died(workers, file, tmp_path):
    """The last one that it does something for: narrow rows go through, wide ones wait."""
    workers.just(1)
    address, out = workers.dask.address, tmp_path / "out"
    head = f"{__name__}:{Waiting.__name__}"
    how = ["--head", head, "--cv", "3", "-o", str(out), "--cluster", address]
    (tmp_path / "said").mkdir()
    client = Forked("tlfeatures.cli", ["benchmark", file, *how], tmp_path / "said")
    until(workers.at_work)
    workers.dask.kill_scheduler()
    assert client.wait() == 1
    assert client.err.splitlines()[1:] == [
        f"Error: the scheduler at {address} is gone, or can't be reached any more: start it and "
        "its workers again"
    ]
    assert len(list((out / "entries").iterdir())) == 1
    again = benchmark(file, heads=head, cv=3, out=out, n_jobs=1)
    assert again.computed == 1
    assert len(again.entries) == 2


# ---- TLS, and a scheduler that gives a fold up at its first death


@pytest.fixture(scope="module")
def encrypted(tls: TLS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("encrypted")
    with DaskProcesses(folder, tls, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}) as dask:
        yield Workers(dask, folder / "room")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_tls(encrypted, tls, file):
    encrypted.just(1)
    address = encrypted.dask.address
    assert address.startswith("tls://")
    asked = ["fit", str(file), "--embedding", "grid8.avg", "--cluster", address]
    files = ["--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key]
    known = CliRunner().invoke(main, [*asked, *files])
    assert known.exit_code == 0, known.output
    assert "logreg" in known.stdout
    unknown = CliRunner().invoke(main, asked)
    assert unknown.exit_code == 1
    assert unknown.stderr.startswith(f"Error: no scheduler answers at {address}")
    assert unknown.stderr.count("\n") == 1


def test_one_worker_alone_does_all_until_it_dies_of_it(encrypted, tls):
    (worker,) = encrypted.just(1)
    address = encrypted.dask.address
    with connect(address, tls) as cluster, Trainer(dataset(), cluster=cluster) as trainer:
        assert set(trainer.map(process_of, TASKS, 1.0)) == {worker.pid}
        with pytest.raises(ClusterError, match=r"worker after worker ended .* the same fold"):
            trainer.map(end_process, TASKS, 1.0)
