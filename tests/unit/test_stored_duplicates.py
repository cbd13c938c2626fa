"""Near-duplicates that are stored next to an embeddings file are those of a new search."""

import hashlib
import json
import logging
import os
import shutil
import signal
from unittest import mock

import h5py
import numpy as np
import pytest

from tests.fakes import write_image
from tests.integration.piped import run
from tests.unit.test_pair_search import correlated
from tlfeatures import embedded_ids, extract, import_features, load_dataset
from tlfeatures.dataset import pair_list, stored_duplicates
from tlfeatures.dataset.duplicates import find_near_duplicates
from tlfeatures.dataset.near_duplicates_file import path_beside
from tlfeatures.features.exchange.stored_values import digests_of
from tlfeatures.features.file.reader import PlainReader

LIMIT = 0.35


@pytest.fixture(autouse=True)
def _keep_of_small_files(monkeypatch, caplog):
    monkeypatch.setattr(stored_duplicates, "KEPT_FROM", 2)
    caplog.set_level(logging.INFO, "tlfeatures")


def ids_of(X):
    return [f"{'ab'[number % 2]}/{number:04d}" for number in range(len(X))]


def write(file, X, ids=None, dtype=None):
    """Write an embeddings file; what is beside it stays."""
    table = file.with_suffix(".npz")
    np.savez(table, X=X, ids=np.array(ids_of(X) if ids is None else ids))
    file.unlink(missing_ok=True)
    import_features(table, file, embedding="x.avg", dtype=dtype)
    return file


def load(file, limit=LIMIT, **options):
    data = load_dataset(file, near_duplicates=limit, **options)
    return {frozenset(data.ids[list(pair)].tolist()) for pair in data.copies}


def fresh(X, limit=LIMIT, ids=None):
    """Search among rows, without a file."""
    ids = ids_of(X) if ids is None else ids
    digests = np.frombuffer(b"".join(digests_of({"x.avg": X})), np.uint8).reshape(-1, 32)
    pairs, _ = find_near_duplicates(X, limit, digests=digests)
    return {frozenset((ids[i], ids[j])) for i, j in pairs}


def searched(caplog):
    """Give the numbers of images that were compared with all, and forget the messages."""
    lines = [record.getMessage().split() for record in caplog.records]
    caplog.clear()
    return [int(line[2]) for line in lines if line[-2:] == ["are", "searched"]]


def test_the_second_time_nothing_is_computed(tmp_path, caplog):
    X = correlated()
    file = write(tmp_path / "x.h5", X)
    expected = fresh(X)
    assert len(expected) > 30
    assert load(file) == expected
    assert searched(caplog) == [400]
    content = path_beside(file).read_bytes()
    with mock.patch.object(stored_duplicates, "_search", side_effect=AssertionError):
        assert load(file) == expected
        assert load(file, 0.5) == fresh(X, 0.5)  # a higher limit needs no search, either
    assert path_beside(file).read_bytes() == content
    assert any("are read from" in record.getMessage() for record in caplog.records)


def test_a_lower_limit_is_searched_and_kept(tmp_path, caplog):
    X = correlated()
    file = write(tmp_path / "x.h5", X)
    load(file)
    assert load(file, 0.2) == fresh(X, 0.2)
    assert load(file, LIMIT) == fresh(X)
    assert load(file, 0.2) == fresh(X, 0.2)
    assert searched(caplog) == [400, 400]


@pytest.mark.parametrize("limit", [1, np.float32(0.5)])
def test_a_limit_may_be_any_number(tmp_path, caplog, limit):
    X = correlated(200)
    X[5] = X[6] * 2
    file = write(tmp_path / "x.h5", X)
    assert frozenset({"b/0005", "a/0006"}) in load(file, limit)
    load(file, limit)
    assert searched(caplog) == [200]


def test_off_reads_and_writes_nothing(tmp_path):
    file = write(tmp_path / "x.h5", correlated())
    load(file, None)
    assert not path_beside(file).exists()


@pytest.mark.parametrize("count", [1, 7, 60])
def test_only_added_images_are_compared_with_all(tmp_path, caplog, count):
    X = correlated(500)
    X[-1] = X[17] * 1.1
    before = np.sort(np.random.default_rng(count).permutation(500)[count:])
    ids = np.array(ids_of(X))
    file = write(tmp_path / "x.h5", X[before], ids[before])
    load(file)
    write(file, X)
    searched(caplog)
    assert load(file) == fresh(X)
    [number] = searched(caplog)
    assert count <= number < 500 / 2
    assert load(file) == fresh(X)
    assert searched(caplog) == []


@pytest.mark.parametrize("seed", range(6))
def test_the_result_does_not_depend_on_history(tmp_path, seed):
    """Images are added, removed, renamed and changed; the limit changes, too."""
    random = np.random.default_rng(seed)
    X = correlated(420, seed=seed)
    X[7] = 0
    X[100:110] = X[3]  # equal rows
    file = tmp_path / "x.h5"
    for _ in range(6):
        rows = np.sort(random.permutation(420)[: random.integers(250, 420)])
        if random.uniform() < 0.3:
            X[random.integers(420, size=5)] *= random.uniform(0.7, 1.3, size=(5, X.shape[1]))
        if random.uniform() < 0.3:
            rows = random.permutation(rows)
        limit = random.choice([0.3, 0.35, 0.5])
        write(file, X[rows].astype(np.float32))
        assert load(file, limit) == fresh(X[rows], limit)


def test_renamed_images_are_not_compared_again(tmp_path, caplog):
    X = correlated()
    file = write(tmp_path / "x.h5", X)
    load(file)
    order = np.random.default_rng(0).permutation(len(X))
    write(file, X[order])
    searched(caplog)
    assert load(file) == fresh(X[order])
    assert searched(caplog) == [0]


def test_far_images_change_the_scales_so_some_are_compared_again(tmp_path, caplog):
    X = correlated(300)
    file = write(tmp_path / "x.h5", X)
    load(file)
    more = np.concatenate([X, correlated(90, seed=9)])
    write(file, more)
    searched(caplog)
    assert load(file) == fresh(more)


def test_the_search_covers_images_without_a_label(tmp_path):
    X = correlated()
    file = write(tmp_path / "x.h5", X)
    ids = ids_of(X)
    labels = {id_: id_[0] for number, id_ in enumerate(ids) if number % 20 < 10}
    expected = {pair for pair in fresh(X) if pair <= labels.keys()}
    assert 0 < len(expected) < len(fresh(X))
    assert load(file, labels=labels) == expected
    with mock.patch.object(stored_duplicates, "_search", side_effect=AssertionError):
        assert load(file) == fresh(X)


def test_more_than_a_million_pairs_are_kept_as_a_forest(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(pair_list, "MOST_PAIRS", 150)
    X = correlated(200)
    X[40:60] = X[40] * np.random.default_rng(0).uniform(0.99, 1.01, (20, X.shape[1]))
    file = write(tmp_path / "x.h5", X)
    expected = fresh(X)
    assert len(expected) < 150
    assert load(file) == expected
    assert load(file) == expected
    assert searched(caplog) == [200]
    labels = {id_: id_[0] for number, id_ in enumerate(ids_of(X)) if number % 3}
    pairs = load(file, labels=labels)
    joined = {id_ for pair in pairs for id_ in pair}
    assert {id_ for id_ in ids_of(X)[40:60] if id_ in labels} <= joined
    write(file, X[:-1])
    assert load(file) == fresh(X[:-1])
    assert searched(caplog) == [199]


def test_pairs_below_the_limit_are_dropped_before_a_forest_is(tmp_path, monkeypatch, caplog):
    X = correlated(300)
    monkeypatch.setattr(pair_list, "MOST_PAIRS", len(fresh(X)))
    monkeypatch.setattr(stored_duplicates, "_MARGIN", 1.3)
    file = write(tmp_path / "x.h5", X[:-3])
    assert load(file) == fresh(X[:-3])
    write(file, X)
    assert load(file) == fresh(X)


def test_float16_rows_are_recognised(tmp_path, caplog):
    X = correlated()
    file = write(tmp_path / "x.h5", X, dtype="float16")
    first = load(file)
    searched(caplog)
    assert load(file) == first
    assert searched(caplog) == []


def test_a_row_that_differs_from_its_checksum_is_searched_each_time(tmp_path, caplog):
    X = correlated()
    file = write(tmp_path / "x.h5", X)
    row = embedded_ids(file).index("b/0005")
    with h5py.File(file, "r+") as h5:
        h5["embeddings/x.avg"][row] = X[30]
    searched(caplog)
    assert frozenset({"b/0005", "a/0030"}) in load(file)
    load(file)
    assert searched(caplog) == [400, 1]
    with h5py.File(file, "r+") as h5:
        h5["embeddings/x.avg"][row] = X[5]
    assert load(file) == fresh(X)
    assert load(file) == fresh(X)
    assert searched(caplog) == [1]


# ---- files that are not used


def changed(**values):
    def change(content):
        line, _, rest = content.partition(b"\n")
        return json.dumps({**json.loads(line), **values}).encode() + b"\n" + rest

    return change


def with_values(name, dtype, place, value):
    """Change a value, and the sha256 so that it fits."""

    def change(content):
        line, _, rest = content.partition(b"\n")
        header = json.loads(line)
        n, p = header["rows"], header["pairs"]
        starts = {"scales": 36 * n, "radii": 40 * n, "i": 44 * n}
        starts |= {"j": starts["i"] + 4 * p, "distances": starts["i"] + 8 * p}
        values = bytearray(rest)
        at = starts[name] + 4 * place
        values[at : at + 4] = np.array([value], dtype).tobytes()
        header["sha256"] = hashlib.sha256(values).hexdigest()
        return json.dumps(header).encode() + b"\n" + bytes(values)

    return change


HOSTILE = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
    "without a line feed": lambda content: content.replace(b"\n", b""),
    "no JSON": lambda content: b"{" * 100_000 + b"\n",
    "a list": lambda content: b"[]\n",
    "a long number": lambda content: b"9" * 10_000 + b"\n",
    "a flipped bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "another format": changed(format="x"),
    "another version": changed(format_version=2),
    "another embedding": changed(embedding="y.avg"),
    "another spec": changed(spec={}),
    "huge": changed(rows=10**15),
    "many rows": lambda content: changed(rows=4001, pairs=0)(content) + bytes(44 * 3601),
    "many pairs": changed(pairs=1_000_001),
    "very huge": changed(rows=10**100, pairs=10**100),
    "negative": changed(rows=-1),
    "a fraction": changed(rows=400.0),
    "true": changed(pairs=True),
    "no limit": changed(least=float("nan")),
    "a limit out of range": changed(least=-0.5),
    "a text": changed(thinned="no"),
    "row out of range": with_values("j", "<i4", 0, 400),
    "negative row": with_values("i", "<i4", 0, -1),
    "not in order": with_values("i", "<i4", 0, 390),
    "NaN distance": with_values("distances", "<f4", 3, np.nan),
    "negative distance": with_values("distances", "<f4", 3, -1),
    "infinite radius": with_values("radii", "<f4", 3, np.inf),
    "NaN scale": with_values("scales", "<f4", 3, np.nan),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """An embeddings file with its near-duplicates, which tests copy."""
    file = write(tmp_path_factory.mktemp("kept") / "x.h5", correlated())
    with mock.patch.object(stored_duplicates, "KEPT_FROM", 2):
        load(file)
    return file


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_or_foreign_file_is_replaced(tmp_path, kept, caplog, change):
    for path in (kept, path_beside(kept)):
        shutil.copy(path, tmp_path)
    file = tmp_path / "x.h5"
    beside = path_beside(file)
    content = beside.read_bytes()
    beside.write_bytes(change(content))
    assert load(file) == fresh(correlated())
    said = [line for line in caplog.messages if "is not used" in line]
    assert len(said) == 1
    assert searched(caplog) == [400]
    assert beside.read_bytes() == content


def test_what_is_no_regular_file_is_not_used(tmp_path, kept, caplog):
    file = tmp_path / "x.h5"
    shutil.copy(kept, file)
    path_beside(file).mkdir()
    assert load(file) == fresh(correlated())
    assert "is no regular file" in caplog.text
    assert path_beside(file).is_dir()
    path_beside(file).rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path_beside(file))
        assert load(file) == fresh(correlated())


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path, caplog):
    file = write(tmp_path / "x.h5", correlated())
    with mock.patch("os.replace", side_effect=PermissionError(13, "no")):
        assert load(file) == fresh(correlated())
    [line] = [line for line in caplog.messages if "searched again next time" in line]
    assert "can't be written" in line
    assert not [path for path in tmp_path.iterdir() if "near-duplicates" in path.name]


KILLED = """
import os, signal, sys
from tlfeatures import load_dataset
from tlfeatures.dataset import stored_duplicates
stored_duplicates.KEPT_FROM = 2
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
load_dataset(sys.argv[1], near_duplicates=0.2)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_kill_while_it_is_written_leaves_what_was_there(tmp_path, kept, is_kept):
    file = tmp_path / "x.h5"
    shutil.copy(kept, file)
    if is_kept:
        shutil.copy(path_beside(kept), tmp_path)
    before = path_beside(file).read_bytes() if is_kept else None
    assert run(KILLED, file).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".x.h5.near-duplicates.*.new"))) == 1
    assert (path_beside(file).read_bytes() if is_kept else None) == before
    assert load(file, 0.2) == fresh(correlated(), 0.2)
    assert not list(tmp_path.glob(".x.h5.near-duplicates.*.new"))


def test_a_link_has_the_near_duplicates_of_its_file(tmp_path, kept, caplog):
    link = tmp_path / "link.h5"
    link.symlink_to(kept)
    assert load(link) == fresh(correlated())
    assert searched(caplog) == []


def test_a_small_file_is_searched_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_duplicates, "KEPT_FROM", 401)
    file = write(tmp_path / "x.h5", correlated())
    assert load(file) == fresh(correlated())
    assert not path_beside(file).exists()


def test_few_columns_have_no_near_duplicates(tmp_path):
    file = write(tmp_path / "x.h5", correlated(d=63))
    assert load(file) == set()
    assert not path_beside(file).exists()


def test_each_of_joined_files_has_its_own(tmp_path, caplog):
    X, other = correlated(), correlated(seed=3)
    files = [write(tmp_path / "x.h5", X), write(tmp_path / "y.h5", other)]
    name = "+".join(f"{file}:x.avg" for file in files)
    expected = fresh(X) | fresh(other)
    for _ in range(2):
        data = load_dataset(files, name, near_duplicates=LIMIT)
        pairs = {frozenset(data.ids[list(pair)].tolist()) for pair in data.copies}
        assert pairs == expected
    assert searched(caplog) == [400, 400]
    assert all(path_beside(file).is_file() for file in files)


def test_the_embedding_of_the_search_is_not_read_if_another_one_is_loaded(tmp_path):
    for number in range(8):
        write_image(tmp_path / "images" / "ab"[number % 2] / f"{number}.png", number % 6, 40)
    file = tmp_path / "x.h5"
    extract(tmp_path / "images", file, backbone="pixels", size=16, pools=["avg", "flatten"])
    load(file, embedding="grid8.avg")
    with mock.patch.object(
        PlainReader, "read", autospec=True, side_effect=PlainReader.read
    ) as read:
        load(file, embedding="grid8.avg")
        assert [call.args[1] for call in read.call_args_list] == ["grid8.avg"]
