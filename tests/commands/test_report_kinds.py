"""Pages of benchmarks of other kinds: of other heads, a split, two files, labels from Python."""

import logging
import shutil

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from tests.commands.pages import SECTIONS, album, benchmark, page_of, sections, write_split
from tlfeatures import extract, fit, load_dataset, report


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
    assert "The least certain images" not in html
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
    assert "GaussianNB is no head of this package" in caplog.text


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
    assert "fitted on train, scored on val" in html
    assert sum(code < 0 for code in album(html)["predicted"]) == 16  # trained on, never tested


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
    assert "(blue) would be right for 75.0 %" in html  # 9 of 12 in val; in all, red has more


def test_fit_has_a_page_of_its_own(page_copy):
    made = fit(page_copy / "a.h5", ["logreg", "knn"], embedding="grid8.avg", command="tl fit", cv=3)
    report(made.benchmark, page_copy / "fit.html", data=made.data, n_jobs=1)
    html = (page_copy / "fit.html").read_text()
    assert sections(html) == [name for name in SECTIONS if name != "epochs"]
    assert "tl fit" in html
    best = made.benchmark.entries_of(made.ranking[0])[0]
    right = np.array(made.data.classes)[best.predicted] == made.data.y
    assert f"{100 * right.mean():.1f} %" in html


def test_a_folder_added_to_from_another_file_has_a_page_with_both(page_copy):
    a, b, out = page_copy / "a.h5", page_copy / "b.h5", page_copy / "two"
    benchmark(a, heads="centroid", embeddings="grid8.avg", out=out)
    shutil.copy(a, b)
    benchmark(b, heads="knn", embeddings="grid8.flatten", scoring="f1_weighted", out=out)
    made, html = page_of(out, ["map", "learning-curve"])
    assert {"map", "learning_curve"} <= set(made.sections)
    assert f"Spec of {a}" in html
    assert f"Spec of {b}" in html
    assert "f1 weighted" in html


def test_labels_given_in_python_are_known_from_the_folder(page_copy):
    labels = {id_: id_[:1] for id_ in load_dataset(page_copy / "a.h5", "grid8.avg").ids.tolist()}
    benchmark(
        page_copy / "a.h5", heads="centroid", embeddings="grid8.avg", labels=labels,
        out=page_copy / "py",
    )  # fmt: skip
    made, _ = page_of(page_copy / "py", ["map", "audit"])
    assert {"map", "audit"} <= set(made.sections)


def test_folds_given_in_python_are_not_guessed(page_copy, caplog):
    data = load_dataset(page_copy / "a.h5", "grid8.avg")
    rows = np.arange(len(data.y))
    folds = [(rows[rows % 3 == (k + 1) % 3], rows[rows % 3 == k]) for k in range(3)]
    benchmark(
        page_copy / "a.h5", heads="mlp", params={"steps": 20}, embeddings="grid8.avg",
        near_duplicates=None, cv=folds, out=page_copy / "own",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        made, _ = page_of(page_copy / "own", ["epochs"])
    assert "epochs" not in made.sections
    assert "folds were given in Python" in caplog.text


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
    assert "The head is not surely better than that" in html
