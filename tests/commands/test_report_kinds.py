"""Pages of benchmarks of other kinds: of other heads, a split, two files, labels from Python."""

import logging
import shutil

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from tests.commands.pages import SECTIONS, album, benchmark, page_of, sections, write_split
from tlfeatures import extract, fit, load_benchmark, load_dataset, report
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.reports.benchmark_analyses import Analyses


class Labels(ClassifierMixin, BaseEstimator):
    """Gives no probabilities, and is often wrong."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(np.arange(len(X)) % 3 == 0).astype(int)]


def test_a_head_without_probabilities_has_a_page(page_copy):
    benchmark(
        page_copy / "a.h5",
        heads=f"{__name__}:Labels",
        embeddings="grid8.avg",
        out=page_copy / "labels",
    )
    made, html = page_of(page_copy / "labels")
    assert "probabilities" not in made.sections
    assert "<h3>Mistakes</h3>" in html
    assert "The least certain predictions" not in html
    assert set(album(html)["confidence"]) == {None}


def test_names_that_are_markup_stay_text(photos, tmp_path):
    """In sentences, in figures, and in the data of the page's script."""
    named = photos / "<i>red"
    (photos / "red").rename(named)
    (named / "red00.png").rename(named / "<b>.png")
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16)
    benchmark(tmp_path / "a.h5", heads="logreg", out=tmp_path / "out")
    _, html = page_of(tmp_path / "out", ["map"])
    assert "&lt;i&gt;red" in html
    assert "<i>red" not in html
    assert "<b>.png" not in html


@pytest.mark.slow
def test_a_head_of_others_is_not_fitted_again(page_copy, caplog):
    benchmark(
        page_copy / "a.h5",
        heads="sklearn.naive_bayes:GaussianNB",
        embeddings="grid8.avg",
        out=page_copy / "bayes",
    )
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        made, _ = page_of(page_copy / "bayes", ["learning-curve"])
    assert "learning_curve" not in made.sections
    assert "GaussianNB is not a head of this package" in caplog.text


@pytest.mark.slow
def test_a_given_split_has_a_page(page_copy):
    counts = {(part, label): 8 for part in ("train", "val") for label in ("blue", "red")}
    write_split(page_copy / "split", counts)
    extract(page_copy / "split", page_copy / "s.h5", backbone="pixels", size=16)
    benchmark(
        page_copy / "s.h5",
        heads=["centroid", "mlp"],
        params={"steps": 20},
        cv=None,
        out=page_copy / "s",
    )
    made, html = page_of(page_copy / "s", ["map", "epochs"])
    assert {"map", "epochs"} <= set(made.sections)
    assert "fitted on train, tested on val" in html
    assert sum(code < 0 for code in album(html)["predicted"]) == 16  # trained on, never tested


@pytest.mark.slow
def test_both_ways_to_a_page_of_a_split_say_the_same(page_copy):
    write_split(
        page_copy / "uneven",
        {("train", "blue"): 9, ("train", "red"): 12, ("val", "blue"): 9, ("val", "red"): 3},
    )
    extract(page_copy / "uneven", page_copy / "u.h5", backbone="pixels", size=16)
    in_memory = benchmark(page_copy / "u.h5", heads="centroid", cv=None, out=page_copy / "u")
    report(in_memory, page_copy / "memory.html", without=["learning-curve", "audit"])
    _, html = page_of(page_copy / "u", ["images", "map"])
    assert html == (page_copy / "memory.html").read_text()
    assert "(blue) would give 75.0 %" in html  # 9 of 12 in val; in all, red has more


@pytest.mark.slow
def test_fit_has_a_page_of_its_own(page_copy):
    made = fit(page_copy / "a.h5", ["logreg", "knn"], embedding="grid8.avg", command="tl fit", cv=3)
    report(made.benchmark, page_copy / "fit.html", data=made.data, n_jobs=1)
    html = (page_copy / "fit.html").read_text()
    assert sections(html) == [name for name in SECTIONS if name != "epochs"]
    assert "tl fit" in html
    best = made.benchmark.entries_of(made.ranking[0])[0]
    right = np.array(made.data.classes)[best.predicted] == made.data.y
    assert f"{100 * right.mean():.1f} %" in html


@pytest.mark.slow
def test_a_folder_added_to_from_another_file_has_a_page_with_both(page_copy):
    a, b, out = page_copy / "a.h5", page_copy / "b.h5", page_copy / "two"
    benchmark(a, heads="centroid", embeddings="grid8.avg", out=out)
    shutil.copy(a, b)
    benchmark(b, heads="knn", embeddings="grid8.flatten", scoring="f1_weighted", out=out)
    made, html = page_of(out, ["map", "learning-curve"])
    assert {"map", "learning_curve"} <= set(made.sections)
    assert f"Embeddings in {a}" in html
    assert f"Embeddings in {b}" in html
    assert "f1 weighted" in html


@pytest.mark.slow
def test_a_folder_keeps_what_was_given_in_python(page_copy):
    """Its page has the labels, groups and folds, as a page of the datasets in memory has."""
    data = load_dataset(page_copy / "a.h5", "grid8.avg", near_duplicates=None)
    labels = {
        id_: LabelRow(id_[:1], group=f"site {row // 2}")
        for row, id_ in enumerate(data.ids.tolist())
    }
    group = np.arange(len(data.y)) // 2
    folds = [  # each leaves three images out, of training too
        (np.flatnonzero(group % 4 == (k + 1) % 4), np.flatnonzero(group % 4 == k)) for k in range(3)
    ]
    options = {"embeddings": "grid8.avg", "labels": labels, "near_duplicates": None, "cv": folds}
    options |= {"heads": ["mlp", "centroid"], "params": {"steps": 20}}
    result = benchmark(page_copy / "a.h5", out=page_copy / "own", **options)
    only = ["map", "audit", "learning-curve", "epochs"]
    written, html = page_of(page_copy / "own", only)
    assert {"map", "audit", "learning_curve", "epochs"} <= set(written.sections)
    (page_copy / "own" / "analyses.json").unlink()
    given = load_dataset(page_copy / "a.h5", "grid8.avg", labels=labels, near_duplicates=None)
    report(result, page_copy / "memory.html", data=given, without=["images"], n_jobs=1)
    assert html == (page_copy / "memory.html").read_text()
    analyses = Analyses(load_benchmark(page_copy / "own"), n_jobs=1)
    assert analyses.dataset(analyses.rank()).groups.tolist() == given.groups.tolist()
    curve = analyses.training(analyses.rank("mlp"))
    accuracies = analyses.entry(analyses.rank("mlp")).facts["scores"]["accuracy"]["folds"]
    np.testing.assert_allclose(curve.validation_accuracy[:, -1], accuracies)


def test_a_colour_as_a_name_stays_text(page_copy):
    labels = {id_: "#1f2328" if id_.startswith("red") else "#ffffff"
              for id_ in load_dataset(page_copy / "a.h5", "grid8.avg").ids.tolist()}  # fmt: skip
    benchmark(
        page_copy / "a.h5", heads="centroid", embeddings="grid8.avg", labels=labels,
        out=page_copy / "c",
    )  # fmt: skip
    _, html = page_of(page_copy / "c", ["map"])
    assert "#1f2328</text>" in html
    assert "var(--ink)</text>" not in html


def test_labels_that_were_not_judged_are_not_called_right(page_copy):
    random = np.random.default_rng(0).permutation(25)
    ids = load_dataset(page_copy / "a.h5", "grid8.avg").ids.tolist()
    labels = {id_: "xy"[int(k) % 2] for id_, k in zip(ids, random, strict=True)}
    benchmark(
        page_copy / "a.h5", heads="centroid", embeddings="grid8.avg", labels=labels,
        out=page_copy / "r",
    )  # fmt: skip
    _, html = page_of(page_copy / "r", ["audit"])
    assert "Labels were not judged" in html
    assert "no probable label errors" not in html
    assert "<strong>No better than guessing. centroid labels about" in html  # in bold
