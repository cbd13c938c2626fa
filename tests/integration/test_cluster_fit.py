"""Folds on the workers of a cluster: real processes, which are killed while they are at one."""

import csv
import datetime
import ipaddress
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
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sklearn.linear_model import LogisticRegression

from tests.integration.dask_processes import PATIENCE, DaskProcesses
from tests.unit.data import dataset
from tlfeatures import benchmark, cross_validate_heads, extract, fit
from tlfeatures.cli import main
from tlfeatures.cluster import TLS, connect
from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.heads import make_heads
from tlfeatures.trainer import Task, Trainer
from tlfeatures.training_rows import TrainingRows

ALONE = "--no-nanny"  # what is killed stays so, and its number is that of its process
TASKS = [Task(np.arange(20), np.arange(20, 30), {})] * 12


class Waiting(LogisticRegression):
    """Says in a folder which process fits it, and waits there until it may go on."""

    def __init__(self, folder: str = "", C: float = 1.0) -> None:
        super().__init__(C=C)
        self.folder = folder

    def fit(self, X, y, sample_weight=None):
        folder = Path(self.folder)
        (folder / f"{os.getpid()}.at").touch()
        until(lambda: (folder / "go").exists())
        return super().fit(X, y, sample_weight)


def process_of(task: Task, rows: TrainingRows) -> int:
    return os.getpid()


def end_process(task: Task, rows: TrainingRows) -> None:
    os._exit(1)


def lack_a_name(task: Task, rows: TrainingRows) -> None:
    raise AttributeError("no such thing")


def until(true: Callable[[], Any]) -> Any:
    """Wait for an event."""
    last = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < last, "this should have happened"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with DaskProcesses(tmp_path_factory.mktemp("dask")) as processes:
        for _ in range(2):
            processes.start_worker(ALONE)
        yield processes


@pytest.fixture(scope="module")
def file(_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "photos.h5"
    extract(_photos, path, backbone="pixels", size=16, pools=["avg", "flatten"], augment=1)
    return path


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


# ---- numbers


def test_a_benchmark_is_the_same_to_the_last_bit(dask, file, tmp_path):
    benchmark(file, heads="all", cv=3, n_jobs=1, out=tmp_path / "here")
    arguments = ["benchmark", str(file), "--cv", "3", "-o", str(tmp_path / "there")]
    result = CliRunner().invoke(main, [*arguments, "--cluster", dask.address])
    assert result.exit_code == 0, result.output
    assert f"cluster {dask.address}: 2 workers, 2 threads; dashboard: http://" in result.stderr
    here, there = tmp_path / "here", tmp_path / "there"
    assert results_in(here) == results_in(there)
    assert (here / "predictions.csv").read_bytes() == (there / "predictions.csv").read_bytes()


def results_in(folder: Path) -> Any:
    """All but what no two runs have in common."""
    found = json.loads((folder / "results.json").read_text())
    assert found.pop("commands") is not None
    for entry in [*found["heads"], *found["ranking"]]:
        assert entry.pop("fit_seconds") is not None
    return found


def test_a_tuned_model_is_the_same_to_the_last_bit(dask, file, tmp_path):
    how = {"heads": ["logreg", "knn"], "embedding": "grid8.avg", "tune": True, "cv": 3}
    here = fit(file, model=tmp_path / "here.model", **how)
    there = fit(file, model=tmp_path / "there.model", cluster=dask.address, **how)
    assert without_times(here.to_dict()) == without_times(there.to_dict())
    for one, other in zip(here.heads, there.heads, strict=True):
        np.testing.assert_array_equal(one.evaluation.probabilities, other.evaluation.probabilities)


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    for head in report["heads"]:
        del head["fit_seconds"], head["model"]
    return report


# ---- what goes where


def test_rows_are_pickled_once_and_folds_are_done_by_workers(dask, monkeypatch):
    pickled = []
    reduce = TrainingRows.__reduce_ex__
    monkeypatch.setattr(
        TrainingRows, "__reduce_ex__", lambda self, n: pickled.append(self) or reduce(self, n)
    )
    data = dataset(200, d=300)
    with connect(dask.address) as cluster, Trainer(data, cluster=cluster) as trainer:
        found = {process for _ in range(3) for process in trainer._each(process_of, TASKS, 1.0)}
        workers = set(cluster.client.run(os.getpid).values())
    assert len(pickled) == 1
    assert found <= workers


def test_one_worker_alone_does_what_is_sent(tmp_path):
    """Of a cluster of one thread joblib would make no cluster at all."""
    with DaskProcesses(tmp_path) as dask:
        worker = dask.start_worker(ALONE)
        with connect(dask.address) as cluster, Trainer(dataset(), cluster=cluster) as trainer:
            assert set(trainer._each(process_of, TASKS, 1.0)) == {worker.pid}


def test_errors_of_a_fold_come_back_as_they_are(dask):
    data = dataset()
    with connect(dask.address) as cluster, Trainer(data, cluster=cluster) as trainer:
        with pytest.raises(AttributeError, match="no such thing"):
            trainer._each(lack_a_name, TASKS, 1.0)
        heads = make_heads("logreg", {"C": -1})
        with pytest.raises(ParameterError, match=r"logreg can't be fitted: .*C"):
            cross_validate_heads(heads, data, trainer=trainer)
        assert len(trainer._each(process_of, TASKS, 1.0)) == len(TASKS)


# ---- what dies


def waiting(folder: Path) -> dict[str, Any]:
    return {"slow": Waiting(str(folder)), **make_heads("lda")}


def evaluated(folder: Path, address: str) -> Any:
    with connect(address) as cluster, Trainer(dataset(), cluster=cluster) as trainer:
        return cross_validate_heads(waiting(folder), trainer.data, trainer=trainer)


def at_work(folder: Path) -> set[int]:
    return {int(path.stem) for path in folder.glob("*.at")}


@pytest.mark.parametrize("killed", ["one", "all"])
def test_what_a_killed_worker_was_at_is_done_by_another(killed, tmp_path, background):
    with DaskProcesses(tmp_path / "dask") as dask:
        workers = [dask.start_worker(ALONE) for _ in range(2)]
        found: Future[Any] = background.submit(evaluated, tmp_path, dask.address)
        until(lambda: at_work(tmp_path) == {worker.pid for worker in workers})
        for worker in workers[: 1 if killed == "one" else 2]:
            dask.kill(worker)
        if killed == "all":
            dask.start_worker(ALONE)
        (tmp_path / "go").touch()
        there = found.result(PATIENCE)
    here = cross_validate_heads(waiting(tmp_path), dataset())
    for name in here:
        np.testing.assert_array_equal(here[name].probabilities, there[name].probabilities)


def test_worker_after_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with DaskProcesses(tmp_path) as dask:
        dask.start_worker(ALONE)
        with connect(dask.address) as cluster, Trainer(dataset(), cluster=cluster) as trainer:
            trainer._each(process_of, TASKS, 1.0)
            dask.start_worker(ALONE)
            with pytest.raises(ClusterError, match=r"worker after worker ended.*the same fold"):
                trainer._each(end_process, TASKS[:1], 1.0)


def test_a_scheduler_that_dies_is_said_at_once(tmp_path, background):
    with DaskProcesses(tmp_path / "dask") as dask:
        dask.start_worker(ALONE)
        found: Future[Any] = background.submit(evaluated, tmp_path, dask.address)
        until(lambda: at_work(tmp_path))
        dask.kill_scheduler()
        with pytest.raises(ClusterError, match=f"the scheduler at {dask.address} is gone"):
            found.result(PATIENCE)


def test_a_benchmark_goes_on_where_its_scheduler_died(file, tmp_path):
    how = {"heads": ["logreg", "knn"], "embeddings": "grid8.avg", "cv": 3, "repeats": 4}
    with DaskProcesses(tmp_path / "dask") as dask:
        dask.start_worker(ALONE)

        def kill_in_the_second_repeat(done: int, total: int) -> None:
            if done == 4:
                dask.kill_scheduler()

        with pytest.raises(ClusterError, match="is gone"):
            benchmark(
                file,
                **how,
                out=tmp_path / "out",
                cluster=dask.address,
                progress=kill_in_the_second_repeat,
            )
    again = benchmark(file, **how, out=tmp_path / "out")
    assert 0 < again.computed < len(again.entries)
    benchmark(file, **how, out=tmp_path / "at once")
    assert rows_in(tmp_path / "out") == rows_in(tmp_path / "at once")


def rows_in(folder: Path) -> list[list[str]]:
    with (folder / "predictions.csv").open(newline="") as lines:
        return sorted(csv.reader(lines))


# ---- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    """An authority, and one certificate for all."""
    folder = tmp_path_factory.mktemp("tls")
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issued = certificate("authority", authority, authority, x509.BasicConstraints(True, None))
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    own = certificate("all", key, authority, x509.SubjectAlternativeName([loopback]))
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ca.pem").write_bytes(issued.public_bytes(pem))
    (folder / "cert.pem").write_bytes(own.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *private))
    return TLS(*(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")))


def certificate(name: str, key: Any, authority: Any, extension: Any) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(named("authority"), named(name), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    )
    return builder.sign(authority, hashes.SHA256())


def test_tls(tls, file, tmp_path):
    with DaskProcesses(tmp_path, tls) as dask:
        dask.start_worker(ALONE)
        assert dask.address.startswith("tls://")
        asked = ["fit", str(file), "--embedding", "grid8.avg", "--cluster", dask.address]
        files = ["--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key]
        known = CliRunner().invoke(main, [*asked, *files])
        assert known.exit_code == 0, known.output
        assert "logreg" in known.stdout
        unknown = CliRunner().invoke(main, asked)
        assert unknown.exit_code == 1
        assert unknown.stderr.startswith(f"Error: no scheduler answers at {dask.address}")
        assert unknown.stderr.count("\n") == 1
