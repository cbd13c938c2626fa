"""What fitting folds leaves of a process: its signals and its threads are as they were before.

Promise: the library changes nothing of the processes that call it.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.unit.data import dataset
from tlfeatures import cross_validate, extract, fit, make_head

pytestmark = pytest.mark.slow


def fit_and_wait(tell, jobs):
    """What a user's own process may do: fit, then wait for Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
    cross_validate(make_head("centroid"), dataset(), cv=2, n_jobs=jobs)
    tell.send(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        tell.send("interrupted")


def fit_for_ever(tell, jobs):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tell.send("fitting")
    try:
        while True:
            cross_validate(make_head("centroid"), dataset(), cv=2, n_jobs=jobs)
    except KeyboardInterrupt:
        tell.send("interrupted")


@pytest.mark.parametrize(
    ("work", "method"),
    [
        (fit_and_wait, "fork"),
        (fit_for_ever, "fork"),
        (fit_for_ever, "spawn"),
        (fit_and_wait, "forkserver"),
        pytest.param(fit_and_wait, "spawn", marks=pytest.mark.long),
        pytest.param(fit_for_ever, "forkserver", marks=pytest.mark.long),
    ],
)
def test_a_users_own_process_still_heeds_ctrl_c(work, method):
    context = multiprocessing.get_context(method)
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(tell, 1), daemon=True)
    process.start()
    assert told.recv() in (True, "fitting")
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    assert told.poll(30)
    assert told.recv() == "interrupted"
    process.join()
    assert process.exitcode == 0


def test_workers_of_others_heed_it_though_ours_don_t():
    from joblib import Parallel, delayed

    def handler():
        return signal.getsignal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    cross_validate(make_head("centroid"), dataset(), cv=2, n_jobs=2)
    assert signal.getsignal(signal.SIGINT) is before
    found = Parallel(n_jobs=2)(delayed(signal.getsignal)(signal.SIGINT) for _ in range(4))
    assert signal.SIG_IGN not in found


# ---- threads of libraries

# In a process of its own: only the thread that has set BLAS's number may change it, and in a
# process of tests that is the main one.
THREADS = """
import threading
import sklearn.svm
from threadpoolctl import threadpool_info, threadpool_limits
from tlfeatures.model_selection.workers import one_thread
def threads(kind):
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == kind]
before = threads("blas")
assert before and set(before) == {2}, before
seen, begin, end = [], {}, {}
def work(name):
    own = threads("openmp")
    with one_thread():
        with one_thread():
            seen.append(threads("blas") + threads("openmp"))
        begin[name].set()
        end[name].wait()
        seen.append(threads("openmp"))
    assert threads("openmp") == own
def start(name):
    begin[name], end[name] = threading.Event(), threading.Event()
    running[name] = threading.Thread(target=work, args=(name,), daemon=True)
    running[name].start()
    begin[name].wait()
def leave(name):
    end[name].set()
    running[name].join()
running = {}
orders = ["+a -a", "+a +b -a -b", "+a +b -b -a", "+a +b -a +c -b -c", "+a +b -a +c -c +d -b -d"]
for order in orders:
    inside = 0
    for step in order.split():
        (start if step[0] == "+" else leave)(step[1])
        inside += 1 if step[0] == "+" else -1
        assert set(threads("blas")) == ({1} if inside else {2}), (order, step, threads("blas"))
work_here = lambda: [begin.update(m=threading.Event()), end.update(m=threading.Event()),
                     end["m"].set(), work("m")]
start("a")
work_here()
assert set(threads("blas")) == {1}
leave("a")
try:
    with one_thread():
        raise ValueError
except ValueError:
    pass
assert threads("blas") == before
assert all(set(each) == {1} for each in seen), seen
"""


def test_threads_side_by_side_leave_their_numbers_as_they_were():
    two = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    command = [sys.executable, "-c", THREADS]
    result = subprocess.run(
        command, env={**os.environ, **two}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_worker_of_a_shared_cluster_is_left_as_it_was(photos, tmp_path):
    from distributed import Client

    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools="flatten")
    with Client(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as client:

        def limits():
            import sklearn.svm  # noqa: F401, all that folds load
            from threadpoolctl import threadpool_info, threadpool_limits

            if not hasattr(threadpool_info, "set_once"):
                threadpool_info.set_once = threadpool_limits(2, user_api="blas")
            return {
                each["filepath"]: each["num_threads"]
                for each in threadpool_info()
                if each["user_api"] == "blas"
            }

        (before,) = client.run(limits).values()
        assert set(before.values()) == {2}
        fit(tmp_path / "x.h5", ["rbf-svm", "logreg", "knn"], cluster=client)
        (after,) = client.run(limits).values()
        assert {name: after[name] for name in before} == before
