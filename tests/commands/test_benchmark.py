"""A benchmark: every head on every embedding, on the same folds."""

import json
import shutil
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import KFold

from tests.fakes import write_image
from tests.unit.data import dataset, run_benchmark
from tlfeatures import extract, fit, load_benchmark, load_dataset
from tlfeatures.benchmarking.study import Study, sources_of
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.backbones.table import BACKBONES
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.reports.benchmark_analyses import Analyses

HEADS = ["logreg", "knn", "dummy"]


@pytest.fixture
def file(two_embeddings_file):
    return two_embeddings_file


def test_every_head_on_every_embedding(file):
    result = run_benchmark(file, cv=3, heads=HEADS)
    found = {(rank.head, rank.embedding) for rank in result.comparison.ranking}
    assert found == {(head, name) for head in HEADS for name in ("grid8.avg", "grid8.flatten")}
    assert result.computed == 6


def test_the_folds_are_the_same_for_every_embedding(file, tmp_path):
    result = run_benchmark(file, cv=3, heads=["knn"], out=tmp_path / "out", repeats=2)
    for repeat in range(2):
        one, two = (e.fold for e in result.entries if e.facts["repeat"] == repeat)
        np.testing.assert_array_equal(one, two)
    first, second = (e.fold for e in result.entries if e.facts["embedding"] == "grid8.avg")
    assert (first != second).any()


def test_copies_found_in_one_embedding_count_in_all(photos, tmp_path):
    shutil.copy(photos / "red" / "red00.png", photos / "red" / "copy.png")
    extract(photos, tmp_path / "x.h5", backbone="pixels", size=16, pools=["avg", "flatten"])
    result = run_benchmark(tmp_path / "x.h5", heads=["dummy"])
    assert result.study.facts["copies"] >= 1
    place = {id_: row for row, id_ in enumerate(result.study.ids.tolist())}
    for entry in result.entries:
        assert entry.fold[place["red/copy.png"]] == entry.fold[place["red/red00.png"]]


def test_several_files_of_the_same_images(file, photos, tmp_path, caplog):
    other = tmp_path / "b.h5"
    (photos / "red" / "red03.png").unlink()
    extract(photos, other, backbone="pixels", size=8, pools=["flatten"])
    result = run_benchmark([file, other], cv=3, heads=["logreg"])
    assert "23 of 24 images are in every file" in caplog.text
    names = {rank.embedding for rank in result.comparison.ranking}
    assert names == {"a.h5:grid8.avg", "a.h5:grid8.flatten", "b.h5:grid8.flatten"}
    with pytest.raises(ParameterError, match=r"no embedding of .* 'grid4.avg'"):
        run_benchmark([file, other], cv=3, embeddings="grid4.avg")


def test_files_without_a_common_image_are_refused(file, tmp_path):
    for label in ("one", "two"):
        for number in range(3):
            write_image(tmp_path / "others" / label / f"{number}.png", number + 10)
    extract(tmp_path / "others", tmp_path / "o.h5", backbone="pixels", size=16)
    with pytest.raises(DatasetError, match="no image in common"):
        run_benchmark([file, tmp_path / "o.h5"])


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
    result = run_benchmark(tmp_path / "s.h5", heads=["logreg", "dummy"])
    assert (result.study.facts["split"], result.study.facts["tested"]) == ("val", 12)
    with pytest.raises(ParameterError, match="use --split cv or --repeats 1"):
        run_benchmark(tmp_path / "s.h5", repeats=2)


def test_any_head_and_a_further_score(file, tmp_path):
    trees = "sklearn.ensemble:ExtraTreesClassifier"
    options = {"heads": ["dummy", trees], "params": {"n_estimators": 10}}
    options |= {"scoring": "matthews_corrcoef", "out": tmp_path / "o"}
    result = run_benchmark(file, **options)
    assert result.comparison.ranking[0].head == trees
    score = result.comparison.ranking[0].scores["matthews_corrcoef"]
    assert (score["score"] > 0.5, score["interval"]) == (True, None)
    again = run_benchmark(file, **options)
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
        result = run_benchmark(
            file, heads=["tests.commands.test_benchmark:Blind"], embeddings="grid8.avg",
            out=tmp_path / "o",
        )  # fmt: skip
        (entry,) = result.entries
        assert np.isnan(entry.probabilities).all()
        assert entry.facts["scores"]["log_loss"]["interval"] is None
        assert entry.facts["scores"]["accuracy"]["interval"] is not None


def test_a_splitter_has_no_repeats_and_groups_hold_for_it(file):
    with pytest.raises(ParameterError, match="would give the same folds again"):
        run_benchmark(file, cv=KFold(3), repeats=2)
    with pytest.raises(ParameterError, match="heads is empty"):
        run_benchmark(file, heads=[])


def test_a_head_that_can_not_be_fitted_loses_nothing(file, tmp_path, caplog):
    bad = "sklearn.naive_bayes:MultinomialNB"  # refuses what is below 0
    result = run_benchmark(
        file, cv=3, heads=["knn", bad], embeddings="grid8.avg", out=tmp_path / "out"
    )
    assert [rank.head for rank in result.comparison.ranking] == ["knn"]
    assert f"{bad} is left out: " in caplog.text
    with pytest.raises(ParameterError, match="can't be fitted"):
        run_benchmark(file, cv=3, heads=[bad])


def test_wrong_names_are_said_before_anything_is_computed(file, tmp_path):
    with pytest.raises(ParameterError, match="no head 'logrec'"):
        run_benchmark(file, heads=["logrec"], out=tmp_path / "out")
    with pytest.raises(ParameterError, match="repeats must be a whole number of 1 or more"):
        run_benchmark(file, repeats=0)
    assert not (tmp_path / "out").exists()


def test_progress_counts_folds_and_the_ranking_to_the_end(file, tmp_path):
    seen = []

    def show(*counts):
        seen.append((*counts, (tmp_path / "out" / "results.json").exists()))

    run_benchmark(file, heads=["knn"], tune=True, cv=3, out=tmp_path / "out", progress=show)
    assert seen[-1] == (24 + 1, 24 + 1, True)
    assert (24, 24 + 1, False) in seen  # the folds are done, and the ranking isn't
    assert [done for done, *_ in seen] == sorted(done for done, *_ in seen)


def test_a_rank_names_its_entries(file):
    result = run_benchmark(file, cv=3, heads=HEADS, repeats=2)
    heads = {entry.facts["key"]: entry.facts["head"] for entry in result.entries}
    for rank in result.comparison.ranking:
        assert [heads[key] for key in rank.keys] == [rank.head] * 2


def test_results_say_where_they_came_from(file, tmp_path):
    facts = run_benchmark(file, heads="dummy", near_duplicates=None).to_dict()
    (found,) = facts["files"].values()
    assert found["spec"]["backbone"] == "pixels"
    assert found["provenance"]["source"] == str(tmp_path / "photos")
    assert (facts["labels"], facts["groups_from"], found["near_duplicates"]) == (None, None, None)


def test_each_file_has_its_own_limit_of_near_duplicates(file, photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=24, pools=["flatten"])
    for given, expected in (("auto", BACKBONES["pixels"].near_duplicate), (0.99, 0.99)):
        result = run_benchmark([file, tmp_path / "b.h5"], heads="dummy", near_duplicates=given)
        limits = [about["near_duplicates"] for about in result.to_dict()["files"].values()]
        assert limits == [expected, expected]


def test_labels_and_groups_say_whether_they_were_given_in_python(file, tmp_path):
    data = load_dataset(file, "grid8.avg")
    table = tmp_path / "labels.csv"
    rows = (f"{id_},{label}\n" for id_, label in zip(data.ids, data.y, strict=True))
    table.write_text("".join(["id,label\n", *rows]))
    labels = dict(zip(data.ids.tolist(), data.y.tolist(), strict=True))
    for given, said in ((table, str(table)), (labels, "given in Python")):
        facts = run_benchmark(
            file, heads="dummy", cv=2, labels=given, groups=r"(\d)\.png"
        ).to_dict()
        assert (facts["labels"], facts["groups_from"]) == (said, r"(\d)\.png")


def test_a_dataset_without_a_file_is_described_by_its_spec():
    data = replace(dataset(), near_duplicates=0.3)
    sources = sources_of([data], None, np.array(["a"] * 60))
    study = Study.of(data, "cv", make_folds(data)[1], 0, sources)
    assert study.facts["files"]["x.h5"] == {
        "spec": data.spec.to_dict(),
        "provenance": {},
        "near_duplicates": 0.3,
        "images_per_second": None,
    }
    assert study.facts["groups_from"] == "given in Python"


def test_the_command_prints_a_ranking_and_json(file, tmp_path):
    def invoke(*arguments):
        result = CliRunner().invoke(main, ["benchmark", str(file), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    options = ["--heads", "logreg,dummy", "--embedding", "grid8.flatten", "--n-jobs", "1"]
    text = invoke(*options, "-o", str(tmp_path / "out"), "--groups", r"(\d)\.png", "--cv", "3")
    assert "10 groups kept together" in text
    assert text.index("\n*  logreg") < text.index("dummy")
    assert "[95 %]: " in text
    facts = json.loads(invoke(*options, "--json", "--near-duplicates", "off", "--tune"))
    assert [rank["head"] for rank in facts["ranking"]] == ["logreg", "dummy"]
    assert facts["heads"][0]["chosen"][0].keys() == {"C"}


def test_heads_without_the_score_that_ranks_are_no_ranking(file, tmp_path):
    """As `fit` says it: the order of the names would rank them."""
    data = load_dataset(file, "grid8.avg")
    labels = dict(zip(data.ids.tolist(), data.y.tolist(), strict=True))
    rows = [
        LabelRow(label, split="val" if label == "red" and number % 2 else "train")
        for number, label in enumerate(labels.values())
    ]
    options = {"labels": dict(zip(labels, rows, strict=True)), "near_duplicates": None}
    options |= {"heads": ["logreg", "centroid"], "scoring": "roc_auc"}
    for call, one in ((run_benchmark, "embeddings"), (fit, "embedding")):
        with pytest.raises(ParameterError, match="roc_auc is not defined for any of the heads"):
            call(file, **{one: "grid8.avg"}, **options)


def test_repeats_may_have_been_given_different_scores(file, tmp_path):
    options = {"heads": ["logreg", "centroid"], "embeddings": "grid8.avg", "out": tmp_path / "out"}
    run_benchmark(file, repeats=2, **options)
    more = run_benchmark(file, scoring=["accuracy", "f1_weighted"], **options)
    for rank in more.comparison.ranking:
        found = rank.scores["f1_weighted"]
        assert (found["score"], found["interval"]) == (None, None)
        assert "was computed without this score" in found["reason"]
    assert load_benchmark(tmp_path / "out").comparison.ranking == more.comparison.ranking


@pytest.mark.parametrize("first", ["NFC", "NFD"])
def test_files_of_systems_that_write_names_in_other_forms_have_the_same_images(
    photos, tmp_path, first
):
    files = []
    for form in (first, "NFD" if first == "NFC" else "NFC"):
        folder = tmp_path / form
        for path in photos.glob("*/*"):
            name = unicodedata.normalize(form, f"é{path.name}")
            target = folder / path.parent.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        files.append(tmp_path / f"{form}.h5")
        extract(folder, files[-1], backbone="pixels", size=16 if form == "NFC" else 24)
    out = tmp_path / "out"
    result = run_benchmark(files, heads=["centroid"], out=out)
    assert result.study.facts["images"] == 24
    assert len(result.comparison.ranking) == 2
    analyses = Analyses(load_benchmark(out), n_jobs=1)
    for rank in result.comparison.ranking:
        assert analyses.dataset(rank).ids.tolist() == result.study.ids.tolist()
