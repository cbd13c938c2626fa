"""`extract --cluster` on real processes of Dask, killed with -9 at chosen moments and at random.

Every file that comes about so has, bit for bit, the rows of a run on this machine alone. A program
that workers load first (`--preload`) writes down what they do, and stops one at a moment that the
test asked for: the kill waits for that, and for no time. TLFEATURES_KILLS makes more of the random
ones.
"""

import contextlib
import datetime
import ipaddress
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.fakes import assert_tidy, rows_of, shards_of, write_image
from tests.integration.dask_processes import PATIENCE, DaskProcesses
from tlfeatures import describe, extract
from tlfeatures.cluster import TLS
from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.features.store import partial_path, read_header

KILLS = min(int(os.environ.get("TLFEATURES_KILLS", "4")), 200)
IMAGES = 150

# What a worker does is a line in `log` each. `MOMENT.wanted` in the folder stops the one worker
# that comes there first, which leaves its pid; `gate` stops all of them before a forward pass.
WATCHED = """
import os, time
from pathlib import Path
from tlfeatures.features import pixels, shards, store
FOLDER = Path(os.environ["WATCHED"])
MOST = 120  # seconds, of a process that nobody ends
def say(*words):
    log = os.open(FOLDER / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, (" ".join(map(str, [os.getpid(), *words])) + "\\n").encode())
    os.close(log)
def come_to(moment):
    try:
        os.rename(FOLDER / f"{moment}.wanted", FOLDER / f"{moment}.{os.getpid()}")
    except FileNotFoundError:
        return
    time.sleep(MOST)
def make_shard(order):
    say("begins", order.name)
    receipt = real_make(order)
    say("ends", order.name)
    return receipt
def forward(order, images):
    for tasks, values in real_forward(order, images):
        until = time.monotonic() + MOST
        while (FOLDER / "gate").exists() and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(float(os.environ.get("DWELL", "0")))
        say("embeds", len(tasks))
        come_to("forward")
        yield tasks, values
def mark(self, rows):
    come_to("write")
    real_mark(self, rows)
def replace(source, target):
    come_to("before")
    real_replace(source, target)
    come_to("after")
if shards.make_shard.__module__ == shards.__name__:  # Dask loads it more than once
    real_make, real_forward = shards.make_shard, shards._forward
    real_mark, real_replace = store.Writer._mark, os.replace
    shards.make_shard, shards._forward = make_shard, forward
    store.Writer._mark, os.replace = mark, replace
"""
MOMENTS = {
    "forward": "between two forward passes",
    "write": "in a write",
    "before": "before a shard has its name",
    "after": "after a shard has its name, before its receipt",
}


class Watched:
    """A scheduler, workers that are watched, and what the watch saw."""

    def __init__(self, folder, tls=None):
        self.folder, self.workers, self.kills = folder, [], 0
        self.dask = DaskProcesses(folder / "dask", tls)
        folder.mkdir()
        (folder / "watched.py").write_text(WATCHED)

    def __enter__(self):
        self.dask.__enter__()
        return self

    def __exit__(self, *error):
        self.dask.__exit__(*error)

    @property
    def address(self):
        return self.dask.address

    def start(self, *options, dwell=0.0):
        env = {"WATCHED": str(self.folder), "DWELL": str(dwell)}
        given = ["--no-nanny", "--preload", str(self.folder / "watched.py"), *options]
        self.workers.append(self.dask.start_worker(*given, env=env))
        return self.workers[-1]

    def ready(self, workers=2):
        """Start workers until there are as many, and forget what those before did."""
        while len(self.workers) < workers:
            self.start()
        for path in self.folder.iterdir():
            if path.name not in ("dask", "watched.py"):
                path.unlink()
        self.kills = 0

    def kill(self, worker):
        self.workers.remove(worker)
        self.dask.kill(worker)
        self.kills += 1

    def kill_at(self, moment):
        """Kill the worker that comes there next."""
        (self.folder / f"{moment}.wanted").touch()
        pid = self.wait_for(lambda: self._stopped(moment))
        self.kill(next(worker for worker in self.workers if worker.pid == pid))
        (self.folder / f"{moment}.{pid}").unlink()

    def _stopped(self, moment):
        found = [path.suffix[1:] for path in self.folder.glob(f"{moment}.*")]
        return next((int(pid) for pid in found if pid.isdigit()), None)

    def said(self, what):
        """What the watch saw of one kind: (pid, the rest)."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        split = [line.split(" ") for line in lines]
        return [(int(pid), rest) for pid, kind, rest in split if kind == what]

    @property
    def embedded(self):
        return sum(int(count) for _, count in self.said("embeds"))

    @staticmethod
    def wait_for(condition):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            found = condition()
            if found:
                return found
            time.sleep(0.005)
        raise RuntimeError("it didn't come about")


@contextlib.contextmanager
def meanwhile(*steps):
    """Take steps in a thread while something runs; what they raise is raised here."""
    raised = []

    def run():
        try:
            for step in steps:
                step()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if raised:
        raise raised[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster") / "photos"
    for number in range(IMAGES):
        write_image(folder / "ab"[number % 2] / f"{number:03d}.png", number)
    return folder


SETTINGS = {"backbone": "pixels", "batch_size": 4, "layers": ["grid4"], "pools": ["flatten"]}


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    file = tmp_path_factory.mktemp("expected") / "x.h5"
    extract(photos, file, **SETTINGS)
    return rows_of(file)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Watched(tmp_path_factory.mktemp("running") / "watched") as watched:
        yield watched


@pytest.fixture
def watched(running):
    running.ready()
    return running


def assert_same(file, expected):
    (ids, rows), (expected_ids, expected_rows) = rows_of(file), expected
    assert (ids, rows.keys()) == (expected_ids, expected_rows.keys())
    for name, values in expected_rows.items():
        assert rows[name].dtype == np.float32
        np.testing.assert_array_equal(rows[name], values)
    assert not partial_path(file).exists()


def tell(capsys, words):
    with capsys.disabled():
        print(f"\n{words}")


# ---- workers


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_killed_at_a_moment_costs_its_own_shard_at_most(
    moment, photos, expected, watched, tmp_path, capsys
):
    file = tmp_path / "x.h5"
    with meanwhile(lambda: watched.kill_at(moment)):
        result = extract(photos, file, cluster=watched.address, **SETTINGS)
    assert (result.computed, result.reused, result.failed) == (IMAGES, 0, [])
    assert_same(file, expected)
    assert_tidy(file)
    finished = {name for _, name in watched.said("ends")}
    assert finished == set(shards_of(file))
    again = watched.embedded - IMAGES
    assert again <= 20  # of the shard that the worker was at; none if it was finished
    if moment == "after":
        assert again == 0
    assert watched.kills == 1
    tell(capsys, f"1 worker killed {MOMENTS[moment]}; {again} images again; the same bit for bit")


def test_both_workers_killed_one_after_the_other_and_a_new_one_joins(
    photos, expected, watched, tmp_path, capsys
):
    file = tmp_path / "x.h5"
    both = lambda: [watched.kill_at("before"), watched.kill_at("forward")]  # noqa: E731
    with meanwhile(both, watched.start):
        result = extract(photos, file, cluster=watched.address, **SETTINGS)
    assert result.computed == IMAGES
    assert_same(file, expected)
    assert_tidy(file)
    assert watched.kills == 2
    tell(capsys, "2 workers killed, all that there were, and 1 joined; the same bit for bit")


def test_a_nanny_starts_the_worker_again_that_was_killed(photos, expected, running, tmp_path):
    """As where the system ends a process for want of memory."""
    running.ready(0)
    while running.workers:
        running.kill(running.workers[0])
    running.ready(0)
    nanny = running.start("--nanny")
    file = tmp_path / "x.h5"

    def kill():
        (running.folder / "forward.wanted").touch()
        pid = running.wait_for(lambda: running._stopped("forward"))
        assert pid != nanny.pid
        os.kill(pid, signal.SIGKILL)

    with meanwhile(kill):
        extract(photos, file, cluster=running.address, **SETTINGS)
    assert_same(file, expected)
    running.kill(nanny)


# ---- the client

COMMAND = ["--backbone", "pixels", "--batch-size", "4", "--layer", "grid4", "--pool", "flatten"]


def start_client(photos, file, address, *options):
    command = [sys.executable, "-m", "tlfeatures", "extract", str(photos), "-o", str(file)]
    return subprocess.Popen(
        [*command, *COMMAND, "--cluster", address, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_by(client):
    """Its output, and the lines beside it but for those that tell how far it is."""
    said, beside = client.communicate()
    return said, [line for line in beside.splitlines() if not line.startswith("INFO: ")]


def wait_until_idle(watched):
    """Until the scheduler has forgotten a client that is gone, and workers what they were at."""
    from distributed import Client

    with Client(watched.address, set_as_default=False) as client:
        watched.wait_for(
            lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        )
    (watched.folder / "gate").unlink(missing_ok=True)
    watched.wait_for(lambda: len(watched.said("begins")) == len(watched.said("ends")))


def test_a_client_killed_and_run_again_computes_nothing_twice(
    photos, expected, watched, tmp_path, capsys
):
    file = tmp_path / "x.h5"
    client = start_client(photos, file, watched.address)
    watched.wait_for(lambda: len(watched.said("ends")) >= 3)
    (watched.folder / "gate").touch()
    client.kill()
    client.communicate()
    assert client.returncode == -signal.SIGKILL
    assert not file.exists()
    wait_until_idle(watched)
    there = shards_of(file)
    assert 3 <= len(there) < 10
    safe = watched.embedded
    again = start_client(photos, file, watched.address, "--json")
    said, complaint = said_by(again)
    assert (again.returncode, complaint) == (0, [])
    assert f'"computed": {IMAGES - safe}, "reused": {safe}' in said
    assert watched.embedded == IMAGES
    assert set(there) < set(shards_of(file))
    assert_same(file, expected)
    assert_tidy(file)
    tell(
        capsys,
        f"1 client killed when {len(there)} shards were there; {safe} images taken from them, "
        f"{IMAGES - safe} computed, none twice",
    )


def test_a_shard_that_is_cut_off_or_gone_is_computed_again(
    photos, expected, watched, tmp_path, caplog
):
    file = tmp_path / "x.h5"
    extract(photos, file, cluster=watched.address, **SETTINGS)
    header = read_header(file)
    folder = tmp_path / "x.h5.shards"
    first, second = header.shards.names[0], header.shards.names[4]
    lost = int(np.isin(header.shards.place[:, 0], [0, 4]).sum())
    os.truncate(folder / first, header.shards.sizes[0] // 2)
    (folder / second).unlink()
    facts = describe(file)
    assert (facts["done"], facts["waiting"]) == (IMAGES - lost, lost)
    assert f"2 of the {len(header.shards.names)} shards" in caplog.text
    watched.ready()
    result = extract(photos, file, cluster=watched.address, batch_size=4)
    assert (result.computed, result.reused) == (lost, IMAGES - lost)
    assert watched.embedded == lost
    assert_same(file, expected)
    assert_tidy(file)
    before = file.read_bytes()
    assert extract(photos, file, cluster=watched.address).computed == 0
    assert file.read_bytes() == before


def test_a_scheduler_that_dies_is_one_line_and_a_run_again_goes_on(
    photos, expected, tmp_path, capsys
):
    file = tmp_path / "x.h5"
    with Watched(tmp_path / "watched") as watched:
        watched.ready()
        client = start_client(photos, file, watched.address)
        watched.wait_for(lambda: len(watched.said("ends")) >= 2)
        (watched.folder / "gate").touch()
        port = int(watched.address.rpartition(":")[2])
        watched.dask.kill_scheduler()
        said, complaint = said_by(client)
        assert (client.returncode, said, len(complaint)) == (1, "", 1)
        found = re.fullmatch(
            rf"Error: the scheduler at {watched.address} is gone, .*: start it and its workers "
            rf"again\. (\d+) of {IMAGES} images are safe in {file}\.shards; run the command "
            "again",
            complaint[0],
        )
        assert found, complaint
        for worker in list(watched.workers):
            watched.kill(worker)
        finished = {name for _, name in watched.said("ends")}
        assert finished <= set(shards_of(file))
        watched.dask.start_scheduler(port)
        watched.ready()
        result = extract(photos, file, cluster=watched.address, **SETTINGS)
        assert result.reused >= int(found[1])  # a receipt may have been lost, its shard is not
        assert result.reused > 0
        assert result.computed == IMAGES - result.reused == watched.embedded
        assert_same(file, expected)
        assert_tidy(file)
    tell(
        capsys,
        f"1 scheduler killed; {result.reused} images were safe, {result.computed} computed then",
    )


# ---- at random


def test_kills_at_random_moments(photos, expected, watched, tmp_path, capsys):
    """Each is of a worker, or of the client, while it runs; a worker is replaced at once."""
    moments = random.Random("cluster")
    killed = {"worker": 0, "client": 0}
    files = finished = 0
    for worker in list(watched.workers):
        watched.kill(worker)
    watched.start(dwell=0.01)
    watched.start(dwell=0.01)
    while sum(killed.values()) < KILLS:
        file = tmp_path / f"try{files}.h5"
        while not file.exists():
            client = start_client(photos, file, watched.address)
            begun = len(watched.said("begins"))
            with contextlib.suppress(RuntimeError):
                watched.wait_for(
                    lambda n=begun, c=client: (
                        len(watched.said("begins")) > n or c.poll() is not None
                    )
                )
            while client.poll() is None and sum(killed.values()) < KILLS:
                time.sleep(moments.uniform(0, 0.4))
                whom = moments.choice(["worker", "worker", "client"])
                if client.poll() is not None:
                    break
                if whom == "client":
                    client.kill()
                    client.wait()
                else:
                    watched.kill(moments.choice(watched.workers))
                    watched.start(dwell=0.01)
                killed[whom] += 1
            _, complaint = client.communicate()
            # Three deaths at the same images are believed to be their fault.
            assert client.returncode in (0, -signal.SIGKILL) or "worker after worker" in complaint
            finished += client.returncode == 0
        files += 1
        assert_same(file, expected)
        assert extract(photos, file, cluster=watched.address).computed == 0
        assert_same(file, expected)
    for worker in list(watched.workers):
        watched.kill(worker)  # they dwell
    tell(
        capsys,
        f"{killed['worker']} workers and {killed['client']} clients killed at random; "
        f"{files} files, each the same bit for bit",
    )


# ---- which workers, and how they are reached


def test_where_a_worker_has_a_gpu_it_makes_all_shards(photos, expected, watched, tmp_path):
    gpu = watched.start("--resources", "GPU=1")
    try:
        extract(photos, tmp_path / "x.h5", cluster=watched.address, **SETTINGS)
        assert {pid for pid, _ in watched.said("begins")} == {gpu.pid}
        assert_same(tmp_path / "x.h5", expected)
        watched.ready()
        extract(photos, tmp_path / "y.h5", cluster=watched.address, device="cpu", **SETTINGS)
        assert {pid for pid, _ in watched.said("begins")} - {gpu.pid}
        assert_same(tmp_path / "y.h5", expected)
    finally:
        watched.kill(gpu)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Certificates of an authority of the tests' own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    kind = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *kind))
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return TLS(*(str(folder / name) for name in ("cert.pem", "cert.pem", "key.pem")))


def test_tls_is_passed_through_and_without_it_nobody_is_let_in(
    tls, photos, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr("tlfeatures.cluster._CONNECTING", 1.0)
    with Watched(tmp_path / "watched", tls) as watched:
        watched.ready(1)
        assert watched.address.startswith("tls://")
        file = tmp_path / "x.h5"
        files = ["--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key]
        client = start_client(photos, file, watched.address, *files)
        assert (said_by(client)[1], client.returncode) == ([], 0)
        assert_same(file, expected)
        plain = watched.address.replace("tls://", "tcp://")
        for address in (watched.address, plain):
            with pytest.raises(ClusterError, match="no scheduler answers at"):
                extract(photos, tmp_path / "y.h5", cluster=address, **SETTINGS)
        with pytest.raises(ParameterError, match="certificates are for an address of tls://"):
            extract(photos, tmp_path / "y.h5", cluster=plain, tls=tls, **SETTINGS)
        assert not (tmp_path / "y.h5").exists()


def test_local_is_a_cluster_on_this_machine(photos, expected, tmp_path):
    client = start_client(photos, tmp_path / "x.h5", "local")
    assert (said_by(client)[1], client.returncode) == ([], 0)
    assert_same(tmp_path / "x.h5", expected)


# ---- the real backbone


@pytest.fixture(scope="module")
def scenes(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for label in ("glacier", "mountain"):
        (folder / label).mkdir()
        for path in sorted((data / "intel" / label).iterdir())[:8]:
            (folder / label / path.name).symlink_to(path)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("engine", ["ncnn", "openvino"])
def test_vgg16_on_two_workers_gives_the_bits_of_one_machine(
    engine, scenes, weights, watched, tmp_path, capsys
):
    options = {"weights": weights, "size": 64, "engine": engine, "precision": "float32"}
    options |= {"pools": ["avg", "flatten"], "batch_size": 4}
    extract(scenes, tmp_path / "here.h5", **options)
    with meanwhile(lambda: watched.kill_at("write")):
        result = extract(scenes, tmp_path / "x.h5", cluster=watched.address, **options)
    assert result.computed == 16
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "here.h5"))
    tell(capsys, f"vgg16 by {engine}: 1 worker killed in a write; the same bit for bit")
