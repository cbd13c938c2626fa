"""Two benchmarks into one folder at once."""

import threading
from functools import partial

import pytest

from tests.fakes import files_in, full_disk
from tests.integration.piped import COMMAND, Program
from tests.unit.data import run_benchmark
from tlfeatures import extract, load_benchmark
from tlfeatures.benchmarking import run as benchmarking
from tlfeatures.benchmarking.store import results_file
from tlfeatures.benchmarking.store import store as stores
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.errors import BusyError, OutputError, ParameterError
from tlfeatures.locks import locked


def names_in(out):
    benchmark = load_benchmark(out)
    ranked = {(rank.head, rank.embedding) for rank in benchmark.comparison.ranking}
    entries = {(entry.facts["head"], entry.facts["embedding"]) for entry in benchmark.entries}
    assert ranked == entries
    return ranked


def meanwhile(monkeypatch, moment, do):
    """Do something once, in another thread, just before `ResultStore.MOMENT` of this run."""
    real = getattr(ResultStore, moment)
    left = [do]

    def call(self, *given):
        while left:
            other = threading.Thread(target=left.pop())
            other.start()
            other.join()
        return real(self, *given)

    monkeypatch.setattr(ResultStore, moment, call)


@pytest.mark.parametrize("moment", ["add", "updating"])
@pytest.mark.parametrize("began", [[], ["centroid"]])
def test_what_another_run_added_meanwhile_is_kept_and_ranked(
    moment, began, embeddings, out, monkeypatch
):
    options = {"embeddings": "grid8.avg", "cv": 3, "out": out}
    for head in began:
        run_benchmark(embeddings, heads=[head], **options)
    other = partial(run_benchmark, embeddings, heads=["dummy"], command="tlfeatures b", **options)
    with monkeypatch.context() as patch:
        meanwhile(patch, moment, other)
        result = run_benchmark(embeddings, heads=["ridge"], command="tlfeatures a", **options)
    heads = {*began, "dummy", "ridge"}
    assert {name for name, _ in names_in(out)} == heads
    assert {rank.head for rank in result.comparison.ranking} == heads
    assert result.computed == 1
    assert sorted(load_benchmark(out).commands) == ["tlfeatures a", "tlfeatures b"]


@pytest.mark.slow
def test_what_both_compute_is_there_once(embeddings, out, monkeypatch):
    options = {"embeddings": "grid8.avg", "cv": 3, "out": out}
    with monkeypatch.context() as patch:
        other = partial(run_benchmark, embeddings, heads=["dummy", "ridge"], **options)
        meanwhile(patch, "add", other)
        result = run_benchmark(embeddings, heads=["ridge", "centroid"], **options)
    assert len(result.entries) == 3
    repeated = run_benchmark(embeddings, heads=["ridge", "centroid", "dummy"], **options)
    assert repeated.computed == 0
    assert repeated.comparison == load_benchmark(out).comparison


@pytest.mark.slow
def test_an_entry_that_another_run_renewed_is_not_put_back(embeddings, out, monkeypatch):
    options = {"embeddings": "grid8.avg", "out": out}
    run_benchmark(embeddings, heads=["ridge"], **options)
    renew = partial(run_benchmark, embeddings, heads=["ridge"], scoring="f1_weighted", **options)
    with monkeypatch.context() as patch:
        meanwhile(patch, "add", renew)
        run_benchmark(embeddings, heads=["dummy"], **options)
    assert renew().computed == 0


@pytest.mark.slow
def test_an_entry_that_another_run_renews_stays_the_newest_and_alone(embeddings, out, monkeypatch):
    """The two runs give the head other scores, so that these are two entries in one place."""
    options = {"heads": ["ridge"], "embeddings": "grid8.avg", "out": out}
    other = partial(run_benchmark, embeddings, scoring="f1_weighted", **options)
    with monkeypatch.context() as patch:
        meanwhile(patch, "updating", other)  # it ends before this run opens the folder
        run_benchmark(embeddings, **options)
    assert len(list((out / "entries").iterdir())) == 1
    run_benchmark(embeddings, scoring="f1_weighted", **options)
    (entry,) = load_benchmark(out).entries
    assert "f1_weighted" in entry.facts["scores"]
    assert len(list((out / "entries").iterdir())) == 1


@pytest.mark.slow
def test_a_run_that_is_cut_off_while_it_renews_leaves_what_was_ranked(embeddings, out, monkeypatch):
    options = {"heads": ["ridge"], "embeddings": "grid8.avg", "out": out}
    first = run_benchmark(embeddings, **options)
    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_benchmark(embeddings, scoring="f1_weighted", **options)
    assert len(list((out / "entries").iterdir())) == 2
    assert load_benchmark(out).comparison == first.comparison
    for scoring in ("f1_weighted", ()):  # both are there: what is asked for is ranked
        with monkeypatch.context() as patch:
            patch.setattr(ResultStore, "_remove_replaced", lambda *_: None)
            again = run_benchmark(embeddings, scoring=scoring, **options)
        assert again.computed == 0
        assert ("f1_weighted" in again.entries[0].facts["scores"]) == bool(scoring)
    run_benchmark(embeddings, **options)
    assert len(list((out / "entries").iterdir())) == 1


@pytest.mark.slow
def test_a_page_is_read_while_another_run_replaces_what_it_reads(embeddings, out, monkeypatch):
    options = {"heads": ["ridge"], "embeddings": "grid8.avg", "out": out}
    run_benchmark(embeddings, **options)
    renewed = []
    real = results_file.read_study

    def read(*given):
        if not renewed:
            renewed.append(run_benchmark(embeddings, scoring="f1_weighted", **options))
        return real(*given)

    monkeypatch.setattr(results_file, "read_study", read)
    assert load_benchmark(out).comparison == renewed[0].comparison


def test_another_study_that_came_first_is_an_error_and_stays(embeddings, out, monkeypatch):
    other = partial(run_benchmark, embeddings, heads=["dummy"], random_state=1, out=out)
    with monkeypatch.context() as patch:
        meanwhile(patch, "updating", other)
        with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
            run_benchmark(embeddings, heads=["dummy"], out=out)
    assert load_benchmark(out).study.facts["random_state"] == 1


def test_a_study_is_refused_as_soon_as_another_run_has_begun(embeddings, out, monkeypatch):
    refused = []

    def other():
        with pytest.raises(ParameterError, match="other images, labels, copies or folds") as error:
            run_benchmark(embeddings, heads=["dummy"], random_state=1, out=out)
        refused.append(error.value)

    with monkeypatch.context() as patch:
        meanwhile(patch, "add", other)
        run_benchmark(embeddings, heads=["dummy"], out=out)
    assert len(refused) == 1
    assert load_benchmark(out).study.facts["random_state"] == 0


def test_several_files_of_one_run_are_all_described(embeddings, photos, tmp_path, out):
    other = tmp_path / "b.h5"
    extract(photos, other, backbone="pixels", size=24, pools=["avg"])
    run_benchmark([embeddings, other], heads=["dummy"], near_duplicates=None, out=out)
    assert set(load_benchmark(out).study.facts["files"]) == {str(embeddings), str(other)}


@pytest.mark.slow
def test_processes_at_once_lose_nothing(embeddings, out):
    heads = ["dummy", "ridge", "centroid"]
    command = ["benchmark", embeddings, "--n-jobs", 1, "-o", out]
    running = [Program(COMMAND, *command, "--heads", head) for head in heads]
    for process in running:
        process.communicate()
    assert [process.returncode for process in running] == [0, 0, 0]
    both = ("grid8.avg", "grid8.flatten")
    assert names_in(out) == {(head, name) for head in heads for name in both}
    left = sorted(path.name for path in out.iterdir())
    assert left == [".results.json.lock", "entries", "results.json", "study.npz"]
    assert len(list((out / "entries").iterdir())) == 6


def test_a_run_that_is_refused_says_who_writes(embeddings, out, monkeypatch):
    run_benchmark(embeddings, heads=["dummy"], out=out)
    monkeypatch.setattr("tlfeatures.benchmarking.store.store._LOCK_SECONDS", 0.1)
    with locked(out / "results.json"), pytest.raises(BusyError, match=r"results\.json is being"):
        run_benchmark(embeddings, heads=["ridge"], out=out)


@pytest.mark.parametrize("name", ["write_entry", "write_results"])
@pytest.mark.slow
def test_a_full_disk_leaves_what_was_there_and_the_next_run_goes_on(
    name, embeddings, out, monkeypatch
):
    options = {"embeddings": "grid8.avg", "out": out}
    run_benchmark(embeddings, heads=["dummy"], **options)
    before = files_in(out)
    real = getattr(stores, name)

    def full(*given):
        with full_disk(10):
            real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(stores, name, full)
        with pytest.raises(OutputError, match=r"(json|npz) can't be written: File too large; make"):
            run_benchmark(embeddings, heads=["ridge"], **options)
    after = files_in(out)
    assert before.items() <= after.items()
    assert len(after) - len(before) == (name == "write_results")  # the entry is whole
    assert load_benchmark(out).comparison.ranking
    again = run_benchmark(embeddings, heads=["ridge"], **options)
    assert again.computed == (name == "write_entry")
    assert names_in(out) == {("dummy", "grid8.avg"), ("ridge", "grid8.avg")}


def test_the_lock_is_given_back_when_a_run_fails(embeddings, out, monkeypatch):
    def fail(*given, **options):
        raise ValueError("x")

    with monkeypatch.context() as patch:
        patch.setattr(benchmarking, "compare", fail)
        with pytest.raises(ValueError, match="x"):
            run_benchmark(embeddings, heads=["dummy"], out=out)
    assert run_benchmark(embeddings, heads=["dummy"], out=out).computed == 0
