"""Two benchmarks into one folder at once; and folders that were cut off or edited by hand."""

import copy
import json
import re
import threading

import pytest
from click.testing import CliRunner

from tests.integration.piped import COMMAND, Program
from tests.unit.data import run_benchmark
from tlfeatures import extract, load_benchmark
from tlfeatures.benchmarking import run as benchmarking
from tlfeatures.benchmarking.store import writing
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.cli import main
from tlfeatures.errors import BusyError, FormatError, OutputError, ParameterError, TlfeaturesError
from tlfeatures.locks import locked


@pytest.fixture(scope="module")
def embeddings(_photos, tmp_path_factory):
    file = tmp_path_factory.mktemp("together") / "a.h5"
    extract(_photos, file, backbone="pixels", size=16, pools=["avg", "flatten"])
    return file


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def names_in(out):
    made = load_benchmark(out)
    ranked = {(rank.head, rank.embedding) for rank in made.comparison.ranking}
    entries = {(entry.facts["head"], entry.facts["embedding"]) for entry in made.entries}
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


@pytest.mark.parametrize("moment", ["save", "updating"])
@pytest.mark.parametrize("began", [[], ["centroid"]])
def test_what_another_run_added_meanwhile_is_kept_and_ranked(
    moment, began, embeddings, out, monkeypatch
):
    options = {"embeddings": "grid8.avg", "cv": 3, "out": out}
    for head in began:
        run_benchmark(embeddings, heads=[head], **options)
    other = lambda: run_benchmark(embeddings, heads=["dummy"], command="tlfeatures b", **options)  # noqa: E731
    with monkeypatch.context() as patch:
        meanwhile(patch, moment, other)
        made = run_benchmark(embeddings, heads=["ridge"], command="tlfeatures a", **options)
    heads = {*began, "dummy", "ridge"}
    assert {name for name, _ in names_in(out)} == heads
    assert {rank.head for rank in made.comparison.ranking} == heads
    assert made.computed == 1
    assert sorted(load_benchmark(out).commands) == ["tlfeatures a", "tlfeatures b"]


def test_what_both_compute_is_there_once(embeddings, out, monkeypatch):
    options = {"embeddings": "grid8.avg", "cv": 3, "out": out}
    with monkeypatch.context() as patch:
        both = lambda: run_benchmark(embeddings, heads=["dummy", "ridge"], **options)  # noqa: E731
        meanwhile(patch, "save", both)
        made = run_benchmark(embeddings, heads=["ridge", "centroid"], **options)
    assert len(made.entries) == 3
    again = run_benchmark(embeddings, heads=["ridge", "centroid", "dummy"], **options)
    assert again.computed == 0
    assert again.comparison == load_benchmark(out).comparison


def test_an_entry_that_another_run_renewed_is_not_put_back(embeddings, out, monkeypatch):
    options = {"embeddings": "grid8.avg", "out": out}
    run_benchmark(embeddings, heads=["ridge"], **options)
    scored = {"scoring": "f1_macro"}  # computes the same head anew
    with monkeypatch.context() as patch:
        meanwhile(
            patch, "save", lambda: run_benchmark(embeddings, heads=["ridge"], **options, **scored)
        )
        run_benchmark(embeddings, heads=["dummy"], **options)
    assert run_benchmark(embeddings, heads=["ridge"], **options, **scored).computed == 0


def test_another_study_that_came_first_is_an_error_and_stays(embeddings, out, monkeypatch):
    other = lambda: run_benchmark(embeddings, heads=["dummy"], random_state=1, out=out)  # noqa: E731
    with monkeypatch.context() as patch:
        meanwhile(patch, "save", other)
        with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
            run_benchmark(embeddings, heads=["dummy"], out=out)
    assert load_benchmark(out).study.facts["random_state"] == 1


def test_several_files_of_one_run_are_all_described(embeddings, photos, tmp_path, out):
    other = tmp_path / "b.h5"
    extract(photos, other, backbone="pixels", size=24, pools=["avg"])
    run_benchmark([embeddings, other], heads=["dummy"], near_duplicates=None, out=out)
    assert set(load_benchmark(out).study.facts["files"]) == {str(embeddings), str(other)}


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
    assert left == [".results.json.lock", "predictions.csv", "results.json"]


def test_a_run_that_is_refused_says_who_writes(embeddings, out, monkeypatch):
    run_benchmark(embeddings, heads=["dummy"], out=out)
    monkeypatch.setattr("tlfeatures.benchmarking.store.store._LOCK_SECONDS", 0.1)
    with locked(out / "results.json"), pytest.raises(BusyError, match=r"results\.json is being"):
        run_benchmark(embeddings, heads=["ridge"], out=out)


def test_a_full_disk_leaves_both_files_as_they_were(embeddings, out, monkeypatch):
    run_benchmark(embeddings, heads=["dummy"], out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(study, entries):
        yield ["id"]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "table_rows", full)
    with pytest.raises(OutputError, match=r"predictions\.csv can't be written: No space left"):
        run_benchmark(embeddings, heads=["ridge"], out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


# ---- results.json cut off or edited


@pytest.fixture(scope="module")
def finished(embeddings, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    run_benchmark(embeddings, heads=["dummy", "ridge"], embeddings="grid8.avg", cv=3, out=out)
    facts = json.loads((out / "results.json").read_text())
    return facts, (out / "predictions.csv").read_bytes()


@pytest.fixture
def folder(finished, out):
    out.mkdir()
    (out / "results.json").write_text(json.dumps(finished[0]))
    (out / "predictions.csv").write_bytes(finished[1])
    return out


def assert_one_line(embeddings, folder, tmp_path):
    """By all that reads the folder: an error of ours with a remedy, or all goes well."""
    errors = []
    commands = [
        ["benchmark", embeddings, "--heads", "dummy,ridge", "--embedding", "grid8.avg", "--cv", "3",
         "--n-jobs", "1", "-o", folder],
        ["plot", folder, "--what", "ranking", "-o", tmp_path / "x.svg"],
    ]  # fmt: skip
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for command in commands[::-1]:
        result = CliRunner().invoke(main, [str(each) for each in command])
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            command, result.exception,
        )  # fmt: skip
        if result.exit_code:
            (said,) = re.findall("^Error: .*", result.stderr, re.MULTILINE)
            assert re.search("another folder|another -o|again|--upgrade", said)
            assert not re.search(r"Error\(|Traceback", result.stderr)
            errors.append(said)
        for path, data in before.items():
            assert not result.exit_code or path.read_bytes() == data
    return errors


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_file_that_is_cut_off_is_one_line(share, folder, embeddings, tmp_path):
    path = folder / "results.json"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert len(assert_one_line(embeddings, folder, tmp_path)) == 2


def test_a_file_of_another_kind_is_one_line(folder, embeddings, tmp_path):
    for text in ("[]", "7", "null", '"x"', '{"format": "tlfeatures benchmark"}', "\0"):
        (folder / "results.json").write_text(text)
        assert len(assert_one_line(embeddings, folder, tmp_path)) == 2


def paths_in(facts, depth=4, path=()):
    """The keys of everything, to some depth; of a list, its first item."""
    if isinstance(facts, dict) and depth:
        for name, value in facts.items():
            yield (*path, name)
            yield from paths_in(value, depth - 1, (*path, name))
    elif isinstance(facts, list) and facts and depth:
        yield from paths_in(facts[0], depth - 1, (*path, 0))


def at(facts, path):
    for name in path:
        facts = facts[name]
    return facts


CHANGES = {"removed": None, "null": None, "number": -1, "list": [[]], "text": "x"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fact_that_is_missing_or_something_else_is_one_line(
    change, folder, finished, embeddings, tmp_path
):
    paths = [path for path in paths_in(finished[0]) if path[0] != "files" or len(path) < 4]
    number = list(CHANGES).index(change)
    for path in (
        paths[number % 2 :: 2] if change == "removed" else paths[number :: 2 * len(CHANGES)]
    ):
        facts = copy.deepcopy(finished[0])
        if change == "removed":
            del at(facts, path[:-1])[path[-1]]
        else:
            at(facts, path[:-1])[path[-1]] = CHANGES[change]
        (folder / "results.json").write_text(json.dumps(facts))
        (folder / "predictions.csv").write_bytes(finished[1])
        assert_one_line(embeddings, folder, tmp_path)


def test_what_can_t_be_read_is_named(folder, finished):
    facts = copy.deepcopy(finished[0])
    del facts["heads"][0]["matrix"]
    (folder / "results.json").write_text(json.dumps(facts))
    said = rf"{folder / 'results.json'} has no matrix: .* run its `tlfeatures benchmark \.\.\. -o"
    with pytest.raises(FormatError, match=said):
        load_benchmark(folder)


@pytest.mark.parametrize("column", ["id", "key", "fold", "predicted", "p_red"])
def test_a_table_without_a_column_is_one_line(column, folder, embeddings, tmp_path):
    path = folder / "predictions.csv"
    path.write_text(path.read_text().replace(f'"{column}"', '"other"', 1))
    with pytest.raises(TlfeaturesError) as raised:
        load_benchmark(folder)
    assert "another folder" in str(raised.value)


def test_the_lock_is_given_back_when_a_run_fails(embeddings, out, monkeypatch):
    def fail(*given, **options):
        raise ValueError("x")

    with monkeypatch.context() as patch:
        patch.setattr(benchmarking, "compare", fail)
        with pytest.raises(ValueError, match="x"):
            run_benchmark(embeddings, heads=["dummy"], out=out)
    assert run_benchmark(embeddings, heads=["dummy"], out=out).computed == 0
