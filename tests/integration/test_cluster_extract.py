"""`extract --cluster` on real processes of Dask, killed with -9 at chosen moments and at random.

Promise: kill workers, the client or the scheduler and run the command again: the rows are bit for
bit those of one machine.

Every file that comes about so has, bit for bit, the rows of a run on this machine alone. A program
that workers load first (`--preload`) writes down what they do, and stops one at a moment that the
test asked for: the kill waits for that, and for no time.
"""

import contextlib
import itertools
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

from tests.fakes import assert_same, assert_tidy, rows_of, shards_of, write_image
from tests.integration.dask_processes import PATIENCE, DaskProcesses, make_certificates
from tests.integration.forked import Forked
from tests.photographs import PLACES, save_crops
from tlfeatures import describe, extract
from tlfeatures.errors import ClusterError, ParameterError
from tlfeatures.features.file.reader import read_header

pytestmark = pytest.mark.slow

IMAGES = 80

# What a worker does is a line in `log` each. `MOMENT.wanted` in the folder stops the one worker
# that comes there first, which leaves its pid. While there is a `gate`, each forward pass takes a
# file `pass.NUMBER`, or waits for one.
# Beside the backbone, the functions that a worker calls first and last are replaced: a call of
# `create_shard` is a shard, and in `Writer.write` its rows reach the disk.
WATCHED = """
import os, time
from dataclasses import replace
from pathlib import Path
from tlfeatures.features.cluster import worker as shards
from tlfeatures.features.file.writer import Writer
from tlfeatures.features.backbones.table import BACKBONES
FOLDER = Path(os.environ["WATCHED"])
MOST = 300  # seconds, of a process that nobody ends
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
def taken():
    for path in FOLDER.glob("pass.*"):
        try:
            path.unlink()
            return True
        except FileNotFoundError:  # the other worker was faster
            pass
    return False
class Watched:
    def __init__(self, names):
        self.real = load(names)
        self.one_shape, self.most = self.real.one_shape, self.real.most
    def embed(self, images):
        until = time.monotonic() + MOST
        while (FOLDER / "gate").exists() and not taken() and time.monotonic() < until:
            time.sleep(0.005)
        say("embeds", len(images))
        come_to("forward")
        return self.real.embed(images)
def create_shard(order):
    say("begins", order.name)
    receipt = real_make(order)
    say("ends", order.name)
    return receipt
writing = False
def write(self, *rows):
    global writing
    writing = True
    real_write(self, *rows)
    writing = False
def fsync(file):
    if writing:
        come_to("write")
    real_fsync(file)
def rename(source, target):
    come_to("before")
    real_rename(source, target)
    come_to("after")
if shards.create_shard.__module__ == shards.__name__:  # Dask loads it more than once
    load = BACKBONES["pixels"].load
    BACKBONES["pixels"] = replace(BACKBONES["pixels"], load=Watched)
    real_make, real_write = shards.create_shard, Writer.write
    real_fsync, real_rename = os.fsync, os.replace
    shards.create_shard, Writer.write = create_shard, write
    os.fsync, os.replace = fsync, rename
"""
# In a forward pass, in a write; before and after a shard gets its name, before its receipt is sent.
MOMENTS = ["forward", "write", "before", "after"]


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

    def start(self, *options):
        env = {"WATCHED": str(self.folder)}
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
        pid = self.wait_for(lambda: self.stopped(moment))
        self.kill(next(worker for worker in self.workers if worker.pid == pid))
        (self.folder / f"{moment}.{pid}").unlink()

    def let_through(self, passes):
        """Close the gate behind so many forward passes of all workers together."""
        for number in range(passes):
            (self.folder / f"pass.{number}").touch()
        (self.folder / "gate").touch()

    def open_gate(self):
        (self.folder / "gate").unlink()

    def stopped(self, moment):
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


SETTINGS = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}
SETTINGS |= {"batch_size": 4}


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


# ---- workers


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_killed_at_a_moment_costs_its_own_shard_at_most(
    moment, photos, expected, watched, tmp_path
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


def test_both_workers_killed_one_after_the_other_and_a_new_one_joins(
    photos, expected, watched, tmp_path
):
    file = tmp_path / "x.h5"
    both = lambda: [watched.kill_at("before"), watched.kill_at("forward")]  # noqa: E731
    with meanwhile(both, watched.start):
        result = extract(photos, file, cluster=watched.address, **SETTINGS)
    assert result.computed == IMAGES
    assert_same(file, expected)
    assert_tidy(file)
    assert watched.kills == 2


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
        pid = running.wait_for(lambda: running.stopped("forward"))
        assert pid != nanny.pid
        os.kill(pid, signal.SIGKILL)

    with meanwhile(kill):
        extract(photos, file, cluster=running.address, **SETTINGS)
    assert_same(file, expected)
    running.kill(nanny)


# ---- the client

COMMAND = ["--backbone", "pixels", "--size", "16", "--layer", "grid4", "--pool", "flatten"]
COMMAND += ["--batch-size", "4"]


def start_client(photos, file, address, *options):
    """Start the command; what it says is in a folder of its own."""
    folder = file.parent / "said"
    folder.mkdir(exist_ok=True)
    given = ["extract", photos, "-o", file, *COMMAND, "--cluster", address, *options]
    return Forked("tlfeatures.cli", given, folder)


def end_of(client):
    """Exit code, output, and the lines beside it but for those that tell how far it is."""
    code, lines = client.wait(), client.err.splitlines()
    return code, client.out, [line for line in lines if not line.startswith("INFO: ")]


def wait_until_idle(watched):
    """Until the scheduler has forgotten a client that is gone, and workers what they were at."""
    from distributed import Client

    with Client(watched.address, set_as_default=False) as client:
        watched.wait_for(
            lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        )
    watched.open_gate()
    watched.wait_for(lambda: len(watched.said("begins")) == len(watched.said("ends")))


def test_a_client_killed_and_run_again_computes_nothing_twice(photos, expected, watched, tmp_path):
    file = tmp_path / "x.h5"
    watched.let_through(3)
    client = start_client(photos, file, watched.address)
    watched.wait_for(lambda: len(watched.said("ends")) == 3)
    assert client.kill() == -signal.SIGKILL
    assert not file.exists()
    wait_until_idle(watched)
    there = shards_of(file)
    assert 3 <= len(there) <= 5  # each of the two workers was at one more
    safe = watched.embedded
    again = start_client(photos, file, watched.address, "--json")
    code, said, complaint = end_of(again)
    assert (code, complaint) == (0, [])
    assert f'"computed": {IMAGES - safe}, "reused": {safe}' in said
    assert watched.embedded == IMAGES
    assert set(there) < set(shards_of(file))
    assert_same(file, expected)
    assert_tidy(file)


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


def test_a_scheduler_that_dies_is_one_line_and_a_run_again_goes_on(photos, expected, tmp_path):
    file = tmp_path / "x.h5"
    with Watched(tmp_path / "watched") as watched:
        watched.ready()
        watched.let_through(2)
        client = start_client(photos, file, watched.address)
        watched.wait_for(lambda: len(watched.said("ends")) == 2)
        port = int(watched.address.rpartition(":")[2])
        watched.dask.kill_scheduler()
        code, said, complaint = end_of(client)
        assert (code, said, len(complaint)) == (1, "", 1)
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


# ---- at random


@pytest.mark.parametrize("kills", [1, pytest.param(200, marks=pytest.mark.long)])
def test_kills_at_random_moments(kills, photos, expected, watched, tmp_path):
    """Each is of a worker, or of the client, while it runs; a worker is replaced at once."""
    draw, killed = random.Random("cluster"), 0
    for number in itertools.count():
        file = tmp_path / f"{number}.h5"
        while not file.exists():
            watched.ready()  # with an empty log
            client = start_client(photos, file, watched.address)
            while killed < kills:
                passes = len(watched.said("embeds")) + draw.randrange(12)
                watched.wait_for(
                    lambda client=client, passes=passes: (
                        len(watched.said("embeds")) > passes or client.poll() is not None
                    )
                )
                time.sleep(draw.uniform(0, 0.02))
                if client.poll() is not None:
                    break
                killed += 1
                if draw.randrange(3) == 0:
                    assert client.kill() == -signal.SIGKILL or file.exists()
                    break
                watched.kill(draw.choice(watched.workers))
                watched.start()
            code, _, complaint = end_of(client)
            # Three deaths at the same images are believed to be their fault.
            given_up = any("worker after worker" in line for line in complaint)
            assert file.exists() or given_up or code == -signal.SIGKILL
        assert_same(file, expected)
        assert extract(photos, file, cluster=watched.address).computed == 0
        assert_same(file, expected)
        if killed == kills:
            break


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
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_tls_is_passed_through_and_without_it_nobody_is_let_in(
    tls, photos, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr("tlfeatures.features.cluster.connect.CONNECT_SECONDS", 1.0)
    with Watched(tmp_path / "watched", tls) as watched:
        watched.ready(1)
        assert watched.address.startswith("tls://")
        file = tmp_path / "x.h5"
        files = ["--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key]
        client = start_client(photos, file, watched.address, *files)
        assert end_of(client) == (0, client.out, [])
        assert_same(file, expected)
        plain = watched.address.replace("tls://", "tcp://")
        for address in (watched.address, plain):
            with pytest.raises(ClusterError, match="no scheduler answers at"):
                extract(photos, tmp_path / "y.h5", cluster=address, **SETTINGS)
        with pytest.raises(ParameterError, match="certificates are for an address of tls://"):
            extract(photos, tmp_path / "y.h5", cluster=plain, tls=tls, **SETTINGS)
        assert not (tmp_path / "y.h5").exists()


def test_local_is_a_cluster_on_this_machine(photos, expected, tmp_path):
    command = [sys.executable, "-m", "tlfeatures", "extract", photos, "-o", tmp_path / "x.h5"]
    subprocess.run([*command, *COMMAND, "--cluster", "local"], check=True, capture_output=True)
    assert_same(tmp_path / "x.h5", expected)


# ---- the real backbone


@pytest.mark.integration
@pytest.mark.parametrize("engine", ["openvino", pytest.param("ncnn", marks=pytest.mark.long)])
def test_vgg16_on_two_workers_gives_the_bits_of_one_machine(engine, weights, watched, tmp_path):
    images = save_crops(tmp_path / "images", PLACES, 4)
    options = {"weights": weights, "size": 64, "engine": engine, "precision": "float32"}
    options |= {"pools": ["avg", "flatten"], "batch_size": 4}
    extract(images, tmp_path / "here.h5", **options)
    with meanwhile(lambda: watched.kill_at("write")):
        result = extract(images, tmp_path / "x.h5", cluster=watched.address, **options)
    assert result.computed == 16
    assert_same(tmp_path / "x.h5", rows_of(tmp_path / "here.h5"))
