"""A benchmark lives in a folder, and nothing in it is computed twice."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.model_selection import KFold, LeaveOneOut, PredefinedSplit

from tests.fakes import files_in
from tests.unit.data import run_benchmark
from tlfeatures import cross_validate, extract, load_dataset, make_head
from tlfeatures.benchmarking.benchmark_result import load_benchmark
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.cli import main
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.sources.folder_labels import LabelRow

HEADS = ["logreg", "knn", "dummy"]


@pytest.fixture
def file(two_embeddings_file):
    return two_embeddings_file


def files_of_entries(folder):
    return sorted((folder / "entries").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def test_a_second_run_computes_nothing(file, tmp_path, no_fits):
    first = run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2)
    written = files_in(tmp_path / "out")
    no_fits()
    again = run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2)
    assert (first.computed, again.computed) == (12, 0)
    assert again.to_dict() == json.loads(json.dumps(first.to_dict()))
    assert written == files_in(tmp_path / "out")


def test_each_entry_is_one_file_that_is_written_once(file, out):
    """Nothing is rewritten for an entry that is added, so that 100 cost 100 times one."""
    run_benchmark(file, cv=3, heads=["knn"], out=out)
    before = {path: path.stat() for path in [*files_of_entries(out), out / "study.npz"]}
    assert len(before) == 3
    run_benchmark(file, cv=3, heads=HEADS, repeats=2, out=out)
    assert len(files_of_entries(out)) == 12
    for path, old in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (old.st_ino, old.st_mtime_ns)


def test_an_entry_is_on_the_disk_before_the_next_one_is_computed(file, out, monkeypatch):
    seen = []
    real = ResultStore.add

    def add(self, entry):
        real(self, entry)
        seen.append(len(files_of_entries(out)))
        assert not (out / "results.json").exists()

    monkeypatch.setattr(ResultStore, "add", add)
    run_benchmark(file, cv=3, heads=["knn", "dummy"], out=out)
    assert seen == [1, 2, 3, 4]


def test_entries_of_a_run_that_was_cut_off_are_ranked_by_the_next(file, out, no_fits):
    whole = run_benchmark(file, cv=3, heads=["knn"], command="tlfeatures a", out=out)
    (out / "results.json").unlink()  # it is written when a run ends
    with pytest.raises(ParameterError, match=r"is not complete; run `tlfeatures benchmark"):
        load_benchmark(out)
    no_fits()
    again = run_benchmark(file, cv=3, heads=["knn"], embeddings="grid8.avg", out=out)
    assert again.comparison == whole.comparison
    assert again.commands == ["tlfeatures a"]
    assert load_benchmark(out).to_dict() == json.loads(json.dumps(whole.to_dict()))


@pytest.mark.slow
def test_what_is_added_is_computed_and_ranked_with_the_rest(file, tmp_path):
    options = {"out": tmp_path / "out", "cv": 3}
    run_benchmark(file, heads=["logreg"], **options)
    result = run_benchmark(file, heads=["logreg", "ridge"], repeats=2, **options)
    assert result.computed == 6
    assert {rank.head for rank in result.comparison.ranking} == {"logreg", "ridge"}
    tuned = run_benchmark(file, heads=["logreg"], tune=True, **options)
    assert tuned.computed == 2
    assert "logreg (tuned)" in {rank.label for rank in tuned.comparison.ranking}


def test_the_same_asked_in_other_words_is_not_computed_again(file, tmp_path):
    options = {"heads": HEADS, "out": tmp_path / "out"}
    first = run_benchmark(file, **options)
    again = run_benchmark(file, cv=5, split="cv", **options)
    assert again.computed == 0
    assert again.to_dict() == first.to_dict()
    scored = run_benchmark(file, cv=5, scoring="f1_macro", **options)  # in place of what was there
    assert len(scored.entries) == len(first.entries)
    for ours, theirs in zip(
        sorted(first.comparison.ranking, key=str), sorted(scored.comparison.ranking, key=str),
        strict=True,
    ):  # fmt: skip
        assert (ours.repeats, theirs.repeats) == (1, 1)


def test_another_seed_or_other_labels_are_another_study(file, tmp_path):
    run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out", random_state=1)
    labels = {
        id_: (id_[-5] in "02468" and "even") or "odd" for id_ in load_dataset(file, "grid8.avg").ids
    }
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out", labels=labels)


def test_results_are_plain_data(file, tmp_path):
    result = run_benchmark(file, heads=HEADS, embeddings="grid8.flatten", out=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    assert facts == json.loads(json.dumps(result.to_dict()))
    assert (facts["images"], facts["split"], facts["classes"]) == (24, "cv", ["blue", "red"])
    for entry in facts["heads"]:
        assert {"head", "embedding", "repeat", "params", "scores", "fit_seconds"} <= set(entry)
        low, high = entry["scores"]["accuracy"]["interval"]
        assert 0 <= low <= high <= 1
        assert len(entry["scores"]["accuracy"]["folds"]) == 5


def test_arrays_of_an_entry_are_those_of_cross_validation_to_the_last_bit(file, out):
    run_benchmark(file, heads=["knn"], embeddings="grid8.flatten", out=out)
    alone = cross_validate(make_head("knn"), load_dataset(file, "grid8.flatten"))
    (entry,) = load_benchmark(out).entries
    for name in ("fold", "predicted", "probabilities"):
        np.testing.assert_array_equal(getattr(entry, name), getattr(alone, name))
    (path,) = files_of_entries(out)
    with np.load(path) as stored:  # any program that knows NumPy's files opens it
        np.testing.assert_array_equal(stored["predicted"], alone.predicted)
        assert json.loads(stored["facts.json"])["entry"]["head"] == "knn"


def test_parameters_of_any_kind_make_another_entry(file, tmp_path):
    name = "sklearn.neural_network:MLPClassifier"
    options = {"heads": [name], "embeddings": "grid8.avg", "out": tmp_path / "out"}
    for sizes in ((3,), (4,)):
        result = run_benchmark(file, params={"hidden_layer_sizes": sizes, "max_iter": 5}, **options)
        assert result.computed == 1


def test_other_embeddings_of_the_same_name_are_not_mixed(photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=24, pools=["flatten"])
    extract(photos, tmp_path / "c.h5", backbone="pixels", size=16, pools=["flatten"])
    for each in ("b.h5", "c.h5"):
        result = run_benchmark(
            tmp_path / each, heads=["knn"], near_duplicates=None, out=tmp_path / "out"
        )
    names = {rank.embedding: rank.repeats for rank in result.comparison.ranking}
    assert names == {"b.h5:grid8.flatten": 1, "c.h5:grid8.flatten": 1}


def test_an_entry_that_is_lost_is_computed_again(file, out):
    first = run_benchmark(file, cv=3, heads=HEADS, embeddings="grid8.avg", out=out)
    before = files_in(out)
    lost = files_of_entries(out)[1]
    lost.unlink()
    with pytest.raises(FormatError, match=r"lacks an entry of knn that results\.json names; run"):
        load_benchmark(out)
    again = run_benchmark(file, cv=3, heads=HEADS, embeddings="grid8.avg", out=out)
    assert again.computed == 1
    assert files_in(out).keys() == before.keys()
    assert {e.facts["key"] for e in first.entries} == {e.facts["key"] for e in again.entries}
    assert load_benchmark(out).comparison.ranking


def test_a_folder_is_read_as_it_was_written(file, tmp_path):
    made = run_benchmark(
        file, cv=3, heads=HEADS, out=tmp_path / "out", repeats=2, command="tlfeatures x"
    )
    read = load_benchmark(tmp_path / "out")
    assert read.to_dict() == json.loads((tmp_path / "out" / "results.json").read_text())
    assert read.comparison == made.comparison
    assert read.commands == ["tlfeatures x"]
    assert read.study == made.study
    for ours, theirs in zip(read.entries, made.entries, strict=True):
        for name in ("fold", "predicted", "probabilities"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    "cv", [KFold(3, shuffle=True), PredefinedSplit([-1, 0, 1] * 8), LeaveOneOut()]
)
def test_a_folder_has_the_folds_also_those_given_in_python(cv, file, out):
    data = load_dataset(file, "grid8.avg")
    cv = [(train[1:], test) for train, test in cv.split(data.X)]  # not all others are trained on
    made = run_benchmark(
        file, heads=["dummy"], embeddings="grid8.avg", cv=cv, near_duplicates=None, out=out
    )
    read = load_benchmark(out)
    assert read.study == made.study
    for ours, given in zip(read.study.folds, cv, strict=True):
        for rows, expected in zip(ours, given, strict=True):
            assert rows.tolist() == expected.tolist()


def test_a_folder_has_all_images_with_groups_and_splits_also_given_in_python(file, out):
    data = load_dataset(file, "grid8.avg")
    parts = ["train"] * 12 + ["val"] * 6 + ["test"] * 6
    labels = {
        id_: LabelRow("ab"[row % 2], group=f"site {row}", split=parts[row])
        for row, id_ in enumerate(data.ids.tolist())
    }
    made = run_benchmark(file, heads=["dummy"], labels=labels, near_duplicates=None, out=out)
    read = load_benchmark(out)
    assert read.study == made.study
    assert (read.study.facts["images"], read.study.facts["tested"]) == (24, 6)
    assert read.study.ids.tolist() == data.ids.tolist()
    assert read.study.split.tolist() == parts
    assert read.study.groups[3] == "site 3"
    assert (read.entries[0].fold >= 0).sum() == 6


def test_a_damaged_folder_is_one_line(file, tmp_path):
    run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    (tmp_path / "out" / "results.json").write_text('{"format": "x", "format_version": 9}')
    with pytest.raises(FormatError, match="format x version 9"):
        run_benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="is a file"):
        run_benchmark(file, heads=["dummy"], out=file)


def test_a_folder_without_a_benchmark_is_said(tmp_path):
    with pytest.raises(ParameterError, match="contains no benchmark; expected a folder that"):
        load_benchmark(tmp_path)


def test_the_command_line_is_kept(file, tmp_path):
    arguments = ["benchmark", str(file), "--heads", "dummy", "--n-jobs", "1"]
    arguments += ["-o", str(tmp_path / "a b")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert CliRunner().invoke(main, arguments).exit_code == 0
    expected = f"tlfeatures benchmark {file} --heads dummy --n-jobs 1 -o '{tmp_path}/a b'"
    assert load_benchmark(tmp_path / "a b").commands == [expected]
