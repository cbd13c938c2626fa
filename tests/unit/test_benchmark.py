"""A benchmark lives in a folder, and nothing in it is computed twice."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline

from tlfeatures import (
    benchmark,
    benchmarking,
    cross_validate,
    extract,
    load_dataset,
    make_head,
    results,
)
from tlfeatures.benchmarking import load_benchmark
from tlfeatures.cli import main
from tlfeatures.coordinates import PrincipalCoordinates
from tlfeatures.errors import DatasetError, FormatError, ParameterError
from tlfeatures.heads import with_new_params

HEADS = ["logreg", "knn", "dummy"]


@pytest.fixture
def file(photos, tmp_path):
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    return tmp_path / "a.h5"


@pytest.fixture
def no_fits(monkeypatch):
    """From now on, fitting is an error."""
    import sys

    def refuse(*arguments, **options):
        raise AssertionError("was computed again")

    return lambda: monkeypatch.setattr(
        sys.modules["tlfeatures.benchmarking"], "cross_validate_heads", refuse
    )


def test_every_head_on_every_embedding(file):
    result = benchmark(file, heads=HEADS)
    found = {(rank.head, rank.embedding) for rank in result.comparison.ranking}
    assert found == {(head, name) for head in HEADS for name in ("grid8.avg", "grid8.flatten")}
    assert result.computed == 6


def test_a_second_run_computes_nothing(file, tmp_path, no_fits):
    first = benchmark(file, heads=HEADS, out=tmp_path / "out", repeats=2)
    written = [
        (tmp_path / "out" / name).read_bytes() for name in ("results.json", "predictions.csv")
    ]
    no_fits()
    again = benchmark(file, heads=HEADS, out=tmp_path / "out", repeats=2)
    assert (first.computed, again.computed) == (12, 0)
    assert again.to_dict() == json.loads(json.dumps(first.to_dict()))
    assert written == [
        (tmp_path / "out" / name).read_bytes() for name in ("results.json", "predictions.csv")
    ]


def test_what_is_added_is_computed_and_ranked_with_the_rest(file, tmp_path):
    benchmark(file, heads=["logreg"], out=tmp_path / "out")
    result = benchmark(file, heads=["logreg", "ridge"], out=tmp_path / "out", repeats=2)
    assert result.computed == 6
    assert {rank.head for rank in result.comparison.ranking} == {"logreg", "ridge"}
    tuned = benchmark(file, heads=["logreg"], out=tmp_path / "out", tune=True)
    assert tuned.computed == 2
    assert "logreg (tuned)" in {rank.label for rank in tuned.comparison.ranking}


def test_another_seed_or_other_labels_are_another_study(file, tmp_path):
    benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        benchmark(file, heads=["dummy"], out=tmp_path / "out", random_state=1)
    labels = {
        id_: (id_[-5] in "02468" and "even") or "odd" for id_ in load_dataset(file, "grid8.avg").ids
    }
    with pytest.raises(ParameterError, match="other images, labels, copies or folds"):
        benchmark(file, heads=["dummy"], out=tmp_path / "out", labels=labels)


def test_results_are_plain_data(file, tmp_path):
    result = benchmark(file, heads=HEADS, embeddings="grid8.flatten", out=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    assert facts == json.loads(json.dumps(result.to_dict()))
    assert (facts["images"], facts["split"], facts["classes"]) == (24, "cv", ["blue", "red"])
    for entry in facts["heads"]:
        assert {"head", "embedding", "repeat", "params", "scores", "fit_seconds"} <= set(entry)
        low, high = entry["scores"]["accuracy"]["interval"]
        assert 0 <= low <= high <= 1
        assert len(entry["scores"]["accuracy"]["folds"]) == 5
    alone = cross_validate(make_head("knn"), load_dataset(file, "grid8.flatten"))
    with (tmp_path / "out" / "predictions.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["head"] == "knn"]
    assert [row["id"] for row in rows] == load_dataset(file, "grid8.flatten").ids.tolist()
    assert [int(row["fold"]) for row in rows] == alone.fold.tolist()
    table = np.array([[float(row["p_blue"]), float(row["p_red"])] for row in rows])
    np.testing.assert_array_equal(table, alone.probabilities)
    assert {row["label"] for row in rows} == {"blue", "red"}


def test_the_folds_are_the_same_for_every_embedding(file, tmp_path):
    result = benchmark(file, heads=["knn"], out=tmp_path / "out", repeats=2)
    for repeat in range(2):
        one, two = (e.fold for e in result.entries if e.facts["repeat"] == repeat)
        np.testing.assert_array_equal(one, two)
    first, second = (e.fold for e in result.entries if e.facts["embedding"] == "grid8.avg")
    assert (first != second).any()


def test_copies_found_in_one_embedding_count_in_all(photos, tmp_path):
    shutil.copy(photos / "red" / "red00.png", photos / "red" / "copy.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    result = benchmark(tmp_path / "x.h5", heads=["dummy"])
    assert result.study.facts["copies"] >= 1
    place = {id_: row for row, id_ in enumerate(result.study.ids.tolist())}
    for entry in result.entries:
        assert entry.fold[place["red/copy.png"]] == entry.fold[place["red/red00.png"]]


def test_several_files_of_the_same_images(file, photos, tmp_path, caplog):
    other = tmp_path / "b.h5"
    (photos / "red" / "red03.png").unlink()
    extract(photos, other, backbone="pixels", size=8, pools=["flatten"])
    result = benchmark([file, other], heads=["logreg"])
    assert "23 of 24 images are in every file" in caplog.text
    names = {rank.embedding for rank in result.comparison.ranking}
    assert names == {"grid8.avg", "a.h5:grid8.flatten", "b.h5:grid8.flatten"}
    with pytest.raises(ParameterError, match=r"no embedding of .* 'grid4.avg'"):
        benchmark([file, other], embeddings="grid4.avg")


def test_files_without_a_common_image_are_refused(file, tmp_path):
    from tests.fakes import write_image

    for label in ("one", "two"):
        for number in range(3):
            write_image(tmp_path / "others" / label / f"{number}.png", number + 10)
    extract(tmp_path / "others", tmp_path / "o.h5", backbone="pixels", size=16)
    with pytest.raises(DatasetError, match="no image in common"):
        benchmark([file, tmp_path / "o.h5"])


def test_a_given_split_has_no_repeats(photos, tmp_path):
    for part in ("train", "val"):
        shutil.copytree(photos, tmp_path / "s" / part)
    for image in (tmp_path / "s" / "val").rglob("*.png"):
        if int(image.stem[-1]) % 2:
            image.unlink()
    for image in (tmp_path / "s" / "train").rglob("*.png"):
        if not int(image.stem[-1]) % 2:
            image.unlink()
    extract(tmp_path / "s", tmp_path / "s.h5", backbone="pixels", size=16)
    result = benchmark(tmp_path / "s.h5", heads=["logreg", "dummy"])
    assert (result.study.facts["split"], result.study.facts["tested"]) == ("val", 12)
    with pytest.raises(ParameterError, match="--split cv, or --repeats 1"):
        benchmark(tmp_path / "s.h5", repeats=2)


def test_any_head_and_a_further_score(file, tmp_path):
    trees = "sklearn.ensemble:ExtraTreesClassifier"
    result = benchmark(
        file, heads=["dummy", trees], scoring="matthews_corrcoef", out=tmp_path / "o"
    )
    assert result.comparison.ranking[0].head == trees
    score = result.comparison.ranking[0].scores["matthews_corrcoef"]
    assert (score["score"] > 0.5, score["interval"]) == (True, None)
    again = benchmark(file, heads=["dummy", trees], scoring="matthews_corrcoef", out=tmp_path / "o")
    assert again.computed == 0


class Blind(ClassifierMixin, BaseEstimator):
    """Has labels, and neither probabilities nor decisions."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(X[:, 0] > 0).astype(int)]


def test_a_head_without_probabilities_is_ranked_too(file, tmp_path):
    for _ in range(2):  # computed, and read again
        result = benchmark(
            file, heads=["tests.unit.test_benchmark:Blind"], embeddings="grid8.avg",
            out=tmp_path / "o", n_jobs=1,
        )  # fmt: skip
        (entry,) = result.entries
        assert np.isnan(entry.probabilities).all()
        assert entry.facts["scores"]["log_loss"]["interval"] is None
        assert entry.facts["scores"]["accuracy"]["interval"] is not None


def test_a_damaged_folder_is_one_line(file, tmp_path):
    benchmark(file, heads=["dummy"], out=tmp_path / "out")
    (tmp_path / "out" / "predictions.csv").write_text("key\n1\n")
    with pytest.raises(FormatError, match="damaged benchmark"):
        benchmark(file, heads=["dummy", "knn"], out=tmp_path / "out")
    (tmp_path / "out" / "results.json").write_text('{"format": "x", "format_version": 9}')
    with pytest.raises(FormatError, match="format x version 9"):
        benchmark(file, heads=["dummy"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="is a file"):
        benchmark(file, heads=["dummy"], out=file)


def test_the_same_asked_in_other_words_is_not_computed_again(file, tmp_path, no_fits):
    options = {"heads": HEADS, "out": tmp_path / "out"}
    first = benchmark(file, **options)
    again = benchmark(file, cv=5, split="cv", **options)
    assert again.computed == 0
    assert again.to_dict() == first.to_dict()
    scored = benchmark(file, cv=5, scoring="f1_macro", **options)  # in place of what was there
    assert len(scored.entries) == len(first.entries)
    for ours, theirs in zip(
        sorted(first.comparison.ranking, key=str), sorted(scored.comparison.ranking, key=str),
        strict=True,
    ):  # fmt: skip
        assert (ours.repeats, theirs.repeats) == (1, 1)


def test_parameters_of_any_kind_make_another_entry(file, tmp_path):
    name = "sklearn.neural_network:MLPClassifier"
    options = {"heads": [name], "embeddings": "grid8.avg", "out": tmp_path / "out"}
    for sizes in ((3,), (4,)):
        result = benchmark(file, params={"hidden_layer_sizes": sizes, "max_iter": 5}, **options)
        assert result.computed == 1


def test_other_embeddings_of_the_same_name_are_not_mixed(file, photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=24, pools=["flatten"])
    extract(photos, tmp_path / "c.h5", backbone="pixels", size=16, pools=["flatten"])
    for each in ("b.h5", "c.h5"):
        result = benchmark(
            tmp_path / each, heads=["knn"], near_duplicates=None, out=tmp_path / "out"
        )
    names = {rank.embedding: rank.repeats for rank in result.comparison.ranking}
    assert names == {"b.h5:grid8.flatten": 1, "c.h5:grid8.flatten": 1}


def test_a_splitter_has_no_repeats_and_groups_hold_for_it(file):
    with pytest.raises(ParameterError, match="would cut the same again"):
        benchmark(file, cv=KFold(3), repeats=2)
    with pytest.raises(ParameterError, match="no head"):
        benchmark(file, heads=[])


def test_a_head_that_can_not_be_fitted_loses_nothing(file, tmp_path, caplog):
    bad = "sklearn.naive_bayes:MultinomialNB"  # refuses what is below 0
    result = benchmark(file, heads=["knn", bad], embeddings="grid8.avg", out=tmp_path / "out")
    assert [rank.head for rank in result.comparison.ranking] == ["knn"]
    assert f"{bad} is left out: " in caplog.text
    with pytest.raises(ParameterError, match="can't be fitted"):
        benchmark(file, heads=[bad])


def test_rows_that_are_lost_are_computed_again(file, tmp_path, caplog):
    first = benchmark(file, heads=HEADS, embeddings="grid8.avg", out=tmp_path / "out")
    table = tmp_path / "out" / "predictions.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-3]))  # as a kill between two files may leave it
    again = benchmark(file, heads=HEADS, embeddings="grid8.avg", out=tmp_path / "out")
    assert "lacks rows of 1 entries" in caplog.text
    assert again.computed == 1
    assert table.read_text() == "".join(lines)
    assert len(first.entries) == len(again.entries)


def test_wrong_names_are_said_before_anything_is_computed(file, tmp_path):
    with pytest.raises(ParameterError, match="no head 'logrec'"):
        benchmark(file, heads=["logrec"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="repeats must be 1 or more"):
        benchmark(file, repeats=0)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_ranking_and_json(file, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, ["benchmark", str(file), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    options = ["--heads", "logreg,dummy", "--embedding", "grid8.flatten", "--n-jobs", "1"]
    text = run(*options, "-o", str(tmp_path / "out"), "--groups", r"(\d)\.png", "--cv", "3")
    assert "10 groups kept together" in text
    assert text.index("\n*  logreg") < text.index("dummy")
    assert "95 % intervals: " in text
    assert "Nadeau" in text
    facts = json.loads(run(*options, "--json", "--near-duplicates", "off", "--tune"))
    assert [rank["head"] for rank in facts["ranking"]] == ["logreg", "dummy"]
    assert facts["heads"][0]["chosen"][0].keys() == {"C"}


def test_progress_counts_folds_to_the_end(file):
    seen = []
    benchmark(file, heads=["logreg"], tune=True, n_jobs=1, progress=lambda *n: seen.append(n))
    assert seen[-1] == (40, 40)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_folder_is_read_as_it_was_written(file, tmp_path):
    made = benchmark(file, heads=HEADS, out=tmp_path / "out", repeats=2, command="tlfeatures x")
    read = load_benchmark(tmp_path / "out")
    assert read.to_dict() == json.loads((tmp_path / "out" / "results.json").read_text())
    assert read.comparison == made.comparison
    assert read.commands == ["tlfeatures x"]
    assert read.study.ids.tolist() == made.study.ids.tolist()
    assert read.study.y.tolist() == made.study.y.tolist()
    for ours, theirs in zip(read.entries, made.entries, strict=True):
        assert np.array_equal(ours.fold, theirs.fold)
        assert np.allclose(ours.probabilities, theirs.probabilities)


def test_a_rank_names_its_entries(file):
    result = benchmark(file, heads=HEADS, repeats=2)
    heads = {entry.facts["key"]: entry.facts["head"] for entry in result.entries}
    for rank in result.comparison.ranking:
        assert [heads[key] for key in rank.keys] == [rank.head] * 2


def test_results_say_where_they_came_from(file, tmp_path):
    facts = benchmark(file, heads="dummy", near_duplicates=None).to_dict()
    (found,) = facts["files"].values()
    assert found["spec"]["backbone"] == "pixels"
    assert found["provenance"]["source"] == str(tmp_path / "photos")
    assert (facts["labels"], facts["groups_from"], facts["near_duplicates"]) == (None, None, None)


def test_a_folder_without_a_benchmark_is_said(tmp_path):
    with pytest.raises(ParameterError, match="holds no benchmark; expected the folder that"):
        load_benchmark(tmp_path)


def test_a_folder_of_an_earlier_version_is_brought_up_to_date(file, tmp_path, no_fits):
    benchmark(file, heads=HEADS, out=tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    facts = json.loads(path.read_text())
    del facts["files"], facts["commands"], facts["copy_pairs"]
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="run its `tlfeatures benchmark"):
        load_benchmark(tmp_path / "out")
    no_fits()
    benchmark(file, heads=HEADS, out=tmp_path / "out")
    assert load_benchmark(tmp_path / "out").comparison.ranking


# ---- heads that have got parameters since


GROWN = ["mlp", "gradient-boosting"]
BOOSTING = {"max_iter": 5, "max_leaf_nodes": 8, "min_samples_leaf": 5}


@pytest.fixture
def grown(file, tmp_path, monkeypatch):
    """A folder of before mlp had scale and variants, and boosting early_stopping=False."""
    real = benchmarking._key

    def key(base, name, params, grid, seed, *rest):
        if name == "mlp":
            new = ("classifier__scale", "classifier__variants")
            params = {key: value for key, value in params.items() if key not in new}
        else:
            classifier = HistGradientBoostingClassifier(**BOOSTING, random_state=seed)
            steps = [("coordinates", PrincipalCoordinates(64)), ("classifier", classifier)]
            params = Pipeline(steps).get_params()
        return real(base, name, params, grid, seed, *rest)

    monkeypatch.setattr(benchmarking, "_key", key)
    run_grown(file, tmp_path)
    monkeypatch.undo()
    for name, value in (("scale", None), ("variants", "all"), ("early_stopping", False)):
        change_params(tmp_path / "out", lambda params, pair=(name, value): drop(params, *pair))
    return file


def run_grown(file, tmp_path, **options):
    defaults = {"heads": GROWN, "embeddings": "grid8.avg", "cv": 3, "n_jobs": 1}
    params = {"steps": 20, "max_iter": 5, **options.pop("params", {})}
    return benchmark(file, out=tmp_path / "out", params=params, **{**defaults, **options})


def drop(params, name, value):
    if name in params:
        assert params.pop(name) == value


def change_params(out, change):
    facts = json.loads((out / "results.json").read_text())
    for entry in facts["heads"]:
        change(entry["params"])
    (out / "results.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("stops", [None, "auto"])
def test_parameters_that_a_head_had_not_yet_are_its_defaults(grown, tmp_path, no_fits, stops):
    if stops is not None:  # as it was written, in place of nothing
        change_params(
            tmp_path / "out",
            lambda params: "max_iter" in params and params.update(early_stopping=stops),
        )
    more = run_grown(grown, tmp_path, repeats=2)
    assert more.computed == 2
    ranking = more.comparison.ranking
    assert sorted((rank.label, rank.repeats) for rank in ranking) == [
        ("gradient-boosting", 2),
        ("mlp", 2),
    ]
    no_fits()
    assert run_grown(grown, tmp_path, repeats=2).computed == 0
    assert load_benchmark(tmp_path / "out").comparison == more.comparison


def test_what_is_computed_again_with_them_takes_the_place_of_the_old(grown, tmp_path):
    keys = [entry.facts["key"] for entry in load_benchmark(tmp_path / "out").entries]
    for name in ("results.json", "predictions.csv"):
        path = tmp_path / "out" / name
        for key in keys:
            path.write_text(path.read_text().replace(key, key[::-1]))
    again = run_grown(grown, tmp_path)
    assert again.computed == 2
    assert sorted(rank.label for rank in again.comparison.ranking) == sorted(GROWN)


def test_a_folder_that_has_them_twice_already_is_mended(grown, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # as it went before old ones were known
        patch.setattr(results, "with_new_params", lambda name, params, rows: params)
        patch.setattr(benchmarking, "without_new_params", lambda name, head, rows: {})
        twice = run_grown(grown, tmp_path)
    assert len(twice.comparison.ranking) == 4
    once = run_grown(grown, tmp_path)
    assert once.computed == 0
    assert sorted((rank.head, rank.repeats) for rank in once.comparison.ranking) == [
        ("gradient-boosting", 1),
        ("mlp", 1),
    ]


def test_a_perceptron_with_turns_is_another_one(grown, tmp_path):
    run_grown(grown, tmp_path, params={"variants": "turns"})
    found = run_grown(grown, tmp_path, params={"scale": 2.0})
    assert found.computed == 1
    assert sorted(rank.label for rank in found.comparison.ranking) == [
        "gradient-boosting",
        "mlp scale=2.0 variants=all",
        "mlp scale=None variants=all",
        "mlp scale=None variants=turns",
    ]


def test_boosting_that_stopped_early_is_another_one():
    for rows, stops in ((10_000, False), (10_001, "auto")):
        assert with_new_params("gradient-boosting", {"early_stopping": "auto"}, rows) == {
            "early_stopping": stops
        }


def test_the_command_line_is_kept(file, tmp_path):
    arguments = ["benchmark", str(file), "--heads", "dummy", "-o", str(tmp_path / "a b")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert CliRunner().invoke(main, arguments).exit_code == 0
    expected = f"tlfeatures benchmark {file} --heads dummy -o '{tmp_path}/a b'"
    assert load_benchmark(tmp_path / "a b").commands == [expected]
