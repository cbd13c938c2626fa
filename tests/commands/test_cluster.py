"""Calls on workers in this process: few in line, in any order, ended at any time."""

import importlib.util
import logging
import threading
import time

import pytest

from tlfeatures import extract
from tlfeatures.errors import ClusterError, ImageError, ParameterError
from tlfeatures.features.cluster import client as module
from tlfeatures.features.cluster.client import Cluster, call_once, threads_of_worker
from tlfeatures.features.cluster.connect import TLS, connect

PATIENCE = 120  # seconds
CALLED: list[int] = []
HELD = threading.Event()


def called(number):
    CALLED.append(number)
    return number * number


def held(number):
    HELD.wait(PATIENCE)
    return number


def refused(number):
    if number == 3:
        raise ImageError("no image at all")
    return number


def unknown(number):
    raise AttributeError("module 'tlfeatures' has no attribute 'made_later'")


def slow_first(number):
    if number == 0:
        HELD.wait(PATIENCE)
    return number


@pytest.fixture
def cluster(client):
    CALLED.clear()
    HELD.clear()
    yield Cluster(client, "here")
    HELD.set()


class Counted:
    """Numbers, and how many of them were asked for."""

    def __init__(self, count):
        self.count, self.taken = count, 0

    def __iter__(self):
        for number in range(self.count):
            self.taken += 1
            yield number


def test_each_comes_back_with_what_was_made_of_it(cluster):
    found = dict(cluster.map_unordered(called, range(100)))
    assert found == {number: number * number for number in range(100)}
    assert sorted(CALLED) == list(range(100))


def test_nothing_given_is_nothing_called(cluster):
    assert list(cluster.map_unordered(called, [])) == []


def test_no_more_are_sent_than_keep_the_workers_busy(cluster):
    numbers = Counted(10**9)
    most = module.CALLS_A_THREAD * cluster.threads
    assert most == 6
    calls = cluster.map_unordered(called, numbers)
    for count in range(1, 50):
        next(calls)
        assert numbers.taken <= count + most
    calls.close()
    assert numbers.taken < 100


@pytest.mark.slow
def test_what_is_done_first_comes_first(cluster):
    found = []
    for number, _ in cluster.map_unordered(slow_first, range(12)):
        found.append(number)
        if len(found) == 11:
            HELD.set()
    assert found[-1] == 0
    assert sorted(found) == list(range(12))


def test_stop_takes_back_what_was_sent(cluster, client):
    numbers = Counted(1000)
    calls = cluster.map_unordered(held, numbers, stop=lambda: numbers.taken > 0)
    assert list(calls) == []  # though those at work are not done
    assert numbers.taken == 6
    HELD.set()
    assert list(cluster.map_unordered(called, range(5)))  # the workers are free again


def test_stop_before_anything_sends_nothing(cluster):
    numbers = Counted(10)
    assert list(cluster.map_unordered(called, numbers, stop=lambda: True)) == []
    assert numbers.taken == 0


def test_what_the_function_raises_is_raised_here(cluster):
    with pytest.raises(ImageError, match=r"^no image at all$"):
        list(cluster.map_unordered(refused, range(10)))
    assert len(list(cluster.map_unordered(called, range(5)))) == 5


def test_a_worker_without_our_function_has_another_version(cluster):
    with pytest.raises(ClusterError, match="another tlfeatures than this one, or none") as said:
        list(cluster.map_unordered(unknown, range(3)))
    assert "install the same version on all machines" in str(said.value)


def test_a_scheduler_that_is_gone_is_said():
    from distributed import Client, LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    started = LocalCluster(processes=False, silence_logs=logging.CRITICAL, **options)
    HELD.set()
    with connect(started.scheduler_address) as cluster:
        calls = cluster.map_unordered(called, range(10**6))
        next(calls)
        started.close()
        with pytest.raises(ClusterError, match=r"^the scheduler at .* is gone, or can't be"):
            for _ in calls:
                pass
    with Client(processes=False, set_as_default=False, **options) as client:
        gone = Cluster(client, "here")
    with pytest.raises(ClusterError, match=r"^the scheduler at here is gone"):
        list(gone.map_unordered(called, range(3)))


def test_no_worker_is_said_once_and_waited_for(monkeypatch, caplog):
    from distributed import LocalCluster

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    options = {"threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=0, processes=False, **options) as started:
        with connect(started.scheduler_address) as cluster:
            assert cluster.threads == 0
            found = []
            thread = threading.Thread(
                target=lambda: found.extend(cluster.map_unordered(called, range(4)))
            )
            thread.start()
            until = time.monotonic() + PATIENCE
            while "is connected to" not in caplog.text and time.monotonic() < until:
                time.sleep(0.01)
            started.scale(1)
            thread.join(PATIENCE)
        assert sorted(found) == [(number, number * number) for number in range(4)]
    assert caplog.text.count("no worker that can do it is connected to") == 1
    assert f"dask worker {started.scheduler_address} --nthreads 1" in caplog.text


def test_a_gpu_is_asked_for_where_workers_say_that_they_have_one(client):
    from distributed import LocalCluster

    assert Cluster(client, "here").resources("auto") == {}
    options = {"threads_per_worker": 1, "dashboard_address": None, "processes": False}
    with (
        LocalCluster(n_workers=1, resources={"GPU": 1}, **options) as started,
        connect(started.scheduler_address) as cluster,
    ):
        assert cluster.resources("auto") == cluster.resources("gpu") == {"GPU": 1}
        assert cluster.resources("cpu") == {}


def test_a_worker_tells_its_threads_and_this_process_is_none(client):
    assert threads_of_worker() is None
    assert client.submit(threads_of_worker, pure=False).result() == 1


# ---- connecting


def test_a_client_that_is_given_stays_connected(client):
    with connect(client) as cluster:
        assert cluster.threads == 2
        assert cluster.address == client.scheduler.address
    assert client.status == "running"


def test_without_dask_it_is_said_what_to_install(monkeypatch, photos, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else real(name)
    )
    with pytest.raises(ClusterError, match=r"pip install 'tlfeatures\[cluster\]'"):
        extract(photos, tmp_path / "x.h5", backbone="pixels", cluster="tcp://127.0.0.1:1")
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:8786", "", "cluster", "LOCAL"])
def test_what_is_no_address_is_refused_with_an_example(address):
    with pytest.raises(ParameterError, match=r"as in tcp://10\.0\.0\.1:8786"), connect(address):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "local"])
def test_certificates_are_for_addresses_of_tls(address):
    given = connect(address, TLS("ca.pem", "cert.pem", "key.pem"))
    with pytest.raises(ParameterError, match="certificates are for an address of tls://"), given:
        pass


def test_certificates_that_are_not_there_are_one_line(tmp_path):
    files = TLS(*(str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem")))
    given = connect("tls://127.0.0.1:1", files)
    with pytest.raises(ClusterError, match="no scheduler answers") as said, given:
        pass
    assert "\n" not in str(said.value)


ADDRESSES = {
    "nobody listens": "tcp://127.0.0.1:1",
    "no such protocol": "nonsense://127.0.0.1:8786",
    "no port": "tcp://127.0.0.1",
    "no number": "tcp://127.0.0.1:port",
    "no certificates": "tls://127.0.0.1:1",
    "no such host": "tcp://nowhere.invalid:8786",
}


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.slow
def test_where_no_scheduler_is_it_is_said_how_to_start_one(name, monkeypatch):
    monkeypatch.setattr("tlfeatures.features.cluster.connect.CONNECT_SECONDS", 0.5)
    with pytest.raises(ClusterError) as said, connect(ADDRESSES[name]):
        pass
    assert str(said.value).startswith(f"no scheduler answers at {ADDRESSES[name]} as it should (")
    assert "is it started by `dask scheduler`" in str(said.value)
    assert "\n" not in str(said.value)


def test_a_worker_that_has_what_is_asked_for_is_waited_for_by_name(cluster, monkeypatch, caplog):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    asked = []

    def stop():
        asked.append(1)
        return "--resources GPU=1" in caplog.text or len(asked) > 100

    assert list(cluster.map_unordered(called, range(3), resources={"GPU": 1}, stop=stop)) == []
    assert "--resources GPU=1" in caplog.text
    assert not CALLED


def full(number):
    raise OSError(28, "No space left on device")


def test_what_goes_wrong_on_a_worker_names_the_machine(cluster):
    import socket

    with pytest.raises(ClusterError, match=f"a worker on {socket.gethostname()} failed .*No space"):
        list(cluster.map_unordered(full, range(1)))


def test_a_cluster_of_dasks_is_connected_to_and_stays(tmp_path):
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=False, silence_logs=logging.CRITICAL, **options) as started:
        for _ in range(2):
            with connect(started) as cluster:
                assert call_once(cluster, called, 3) == 9
        with (
            pytest.raises(ParameterError, match="this client has its own"),
            connect(started, TLS("a", "b", "c")),
        ):
            pass
