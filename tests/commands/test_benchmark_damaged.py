"""Folders of benchmarks that were cut off, edited, or made to harm whoever reads them."""

import copy
import io
import json
import os
import re
import shutil
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import files_in, members_of, write_members
from tests.unit.data import run_benchmark
from tlfeatures import load_benchmark
from tlfeatures.benchmarking.store import entry_file
from tlfeatures.cli import main
from tlfeatures.errors import FormatError


@pytest.fixture(scope="module")
def finished(embeddings, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "out"
    run_benchmark(embeddings, heads=["dummy", "ridge"], embeddings="grid8.avg", cv=3, out=out)
    return out


@pytest.fixture(scope="module")
def facts(finished):
    return json.loads((finished / "results.json").read_text())


@pytest.fixture
def folder(finished, out):
    return shutil.copytree(finished, out)


def assert_one_line(embeddings, folder, tmp_path):
    """Run what reads the folder, and give the errors: each is one line that says what to do."""
    errors = []
    commands = [
        ["plot", folder, "--what", "ranking", "-o", tmp_path / "x.svg"],
        ["benchmark", embeddings, "--heads", "dummy,ridge", "--embedding", "grid8.avg", "--cv", "3",
         "--n-jobs", "1", "-o", folder],
    ]  # fmt: skip
    before = files_in(folder)
    for command in commands:
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
@pytest.mark.parametrize("step", [4 * len(CHANGES), pytest.param(2, marks=pytest.mark.long)])
def test_a_fact_that_is_missing_or_something_else_is_one_line(
    step, change, folder, facts, embeddings, tmp_path
):
    """Each change is made to other facts, so that the five together reach a quarter of them."""
    before = files_in(folder)
    paths = [path for path in paths_in(facts) if path[0] != "files" or len(path) < 4]
    for path in paths[list(CHANGES).index(change) * step // len(CHANGES) :: step]:
        changed = copy.deepcopy(facts)
        if change == "removed":
            del at(changed, path[:-1])[path[-1]]
        else:
            at(changed, path[:-1])[path[-1]] = CHANGES[change]
        for file, data in before.items():
            file.write_bytes(data)
        (folder / "results.json").write_text(json.dumps(changed))
        assert_one_line(embeddings, folder, tmp_path)


def test_what_can_t_be_read_is_named(folder, facts):
    changed = copy.deepcopy(facts)
    del changed["heads"][0]["matrix"]
    (folder / "results.json").write_text(json.dumps(changed))
    said = rf"{folder / 'results.json'} is damaged: it has no matrix; remove it and run"
    with pytest.raises(FormatError, match=said):
        load_benchmark(folder)


def test_what_a_message_says_of_a_damaged_file_helps(folder, facts, embeddings):
    """`results.json` is removed, an entry's file too, and the run computes what is missing."""
    options = {"heads": ["dummy", "ridge"], "embeddings": "grid8.avg", "cv": 3, "out": folder}
    for path in (folder / "results.json", next((folder / "entries").iterdir())):
        path.write_bytes(b"PK")
        with pytest.raises(FormatError, match=f"{path} .*; remove it and run the benchmark again"):
            run_benchmark(embeddings, **options)
        path.unlink()
        again = run_benchmark(embeddings, **options)
        assert again.computed == (path.suffix == ".npz")
        scores = {rank.head: rank.scores for rank in again.comparison.ranking}
        assert scores == {rank["head"]: rank["scores"] for rank in facts["ranking"]}


# ---- study.npz and entries cut off or edited


FILES = ["study.npz", "entries/*.npz"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_an_archive_that_is_cut_off_is_one_line(name, share, folder, embeddings, tmp_path):
    path = next(folder.glob(name))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    said = assert_one_line(embeddings, folder, tmp_path)
    assert len(said) == 2
    assert all(str(path) in line for line in said)


@pytest.mark.parametrize("name", FILES)
def test_a_bit_that_has_flipped_is_never_read_as_something_else(name, folder, finished):
    """Names and dates in the zip's own records don't matter; all else is checked."""
    path, before = next(folder.glob(name)), load_benchmark(finished)
    data = path.read_bytes()
    for place in range(0, len(data), len(data) // 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            read = load_benchmark(folder)
        except FormatError:
            continue
        assert (read.study, read.entries) == (before.study, before.entries)


def npy(array, header=None):
    file = io.BytesIO()
    np.save(file, array)
    data = file.getvalue()
    if header is not None:
        old = re.search(rb"'shape': \([^)]*\)", data)[0]
        data = data.replace(old + b", }" + b" " * (len(header) - len(old)), header + b", }")
    return data


def bombs_of(members):
    """Changes of the members of an archive, by name; every one must be refused."""
    facts = json.loads(members["facts.json"])
    *_, name = sorted(members.keys() - {"facts.json"})
    array = np.load(io.BytesIO(members[name]))
    yield "without an array", {key: data for key, data in members.items() if key != name}
    yield "one more", {**members, "more.npy": members[name]}
    yield "another version", {**members, "facts.json": json.dumps({**facts, "format_version": 9})}
    yield "another format", {**members, "facts.json": json.dumps({**facts, "format": "x"})}
    yield "another study", {**members, "facts.json": json.dumps({**facts, "study": "x"})}
    for text in ("[]", "7", "null", "{", "[" * 100_000):
        yield f"facts {text[:9]}", {**members, "facts.json": text}
    yield "objects", {**members, name: npy(np.array([print], object))}
    yield "another type", {**members, name: npy(array.astype("<f4"))}
    yield "another order", {**members, name: npy(array.astype(">f8"))}
    yield "another shape", {**members, name: npy(array[..., None])}
    yield "rows are missing", {**members, name: npy(array[:-1])}
    yield "more than it has", {**members, name: npy(array, b"'shape': (99999999999, 99)")}


@pytest.mark.parametrize("name", FILES)
def test_an_archive_of_anything_else_is_one_line(name, folder):
    path = next(folder.glob(name))
    members = members_of(path)
    write_members(path, members)
    assert load_benchmark(folder).entries  # so that what follows is refused for its own sake
    for what, changed in bombs_of(members):
        write_members(path, changed)
        with pytest.raises(FormatError) as error:
            load_benchmark(folder)
        assert str(path) in str(error.value), what
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_an_archive_that_unpacks_to_more_than_its_bytes_is_refused(name, folder):
    path = next(folder.glob(name))
    members = members_of(path)
    write_members(path, members, zipfile.ZIP_DEFLATED)
    with pytest.raises(FormatError, match="it is compressed"):
        load_benchmark(folder)
    write_members(path, members)
    data = path.read_bytes()
    at = data.rindex(b"PK\1\2") + 20  # in the zip's list, the sizes of the last member
    path.write_bytes(data[:at] + b"\xff\xff\xff\x7f" * 2 + data[at + 8 :])
    with pytest.raises(FormatError, match="its members are larger than the file"):
        load_benchmark(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name, folder):
    path = next(folder.glob(name))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match=r"not a regular file|lacks an entry"):
        load_benchmark(folder)


@pytest.mark.parametrize("key", ["../../secret", "/etc/passwd", "a/b", "", ".", "x" * 5000])
def test_a_key_never_leads_out_of_the_folder(key, folder, facts, monkeypatch):
    opened = []
    monkeypatch.setattr(entry_file, "read_archive", lambda path, *_: opened.append(path))
    changed = copy.deepcopy(facts)
    changed["heads"][0]["key"] = changed["ranking"][0]["keys"][0] = key
    (folder / "results.json").write_text(json.dumps(changed))
    with pytest.raises(FormatError, match=r"not the key of an entry"):
        load_benchmark(folder)
    assert opened == []
