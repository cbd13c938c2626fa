"""A page holds what its benchmark says, leaves out what it can't know, and says so."""

import json
import logging
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin

from tests.fakes import write_image
from tlfeatures import benchmark, extract, fit, load_benchmark, load_dataset, plot, report
from tlfeatures.analyses import Analyses
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, FormatError, ParameterError
from tlfeatures.reporting import FIGURES, write_report


class Labels(ClassifierMixin, BaseEstimator):
    """Gives no probabilities, and is often wrong."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(np.arange(len(X)) % 3 == 0).astype(int)]


HEADS = ["logreg", "mlp", "dummy"]
PARTS = ["heads", "errors", "probabilities", "more-images", "epochs", "map", "audit", "made"]


@pytest.fixture(scope="module")
def whole(_photos, tmp_path_factory):
    """A benchmark with two copies of an image in it, and a page of it."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(_photos, folder / "photos")
    shutil.copy(folder / "photos/red/red00.png", folder / "photos/red/again.png")
    extract(
        folder / "photos",
        folder / "a.h5",
        backbone="pixels",
        size=16,
        pools=["avg", "flatten"],
        command="tlfeatures extract photos",
    )
    benchmark(
        folder / "a.h5", heads=HEADS, out=folder / "out", cv=3, command="tlfeatures benchmark a.h5"
    )
    report(folder / "out", folder / "report.html", n_jobs=1)
    return folder


@pytest.fixture
def made(whole, tmp_path):
    """A copy that a test may spoil; it knows nothing of the first one."""
    copy = shutil.copytree(whole, tmp_path / "copy")
    results = copy / "out" / "results.json"
    results.write_text(results.read_text().replace(str(whole), str(copy)))
    return copy


def sections(html):
    return re.findall(r'<section id="([\w-]+)"', html)


def test_the_page_answers_first(whole):
    html = (whole / "report.html").read_text()
    best = load_benchmark(whole / "out").comparison.ranking[0]
    low, high = best.scores["accuracy"]["interval"]
    text = re.sub(r"<[^>]+>", "", html[html.index("<h1") : html.index("<nav")])
    assert text.startswith("blue or red")
    assert f"{100 * best.scores['accuracy']['score']:.1f} %" in text
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in text
    assert "mean colours (no network) at 16 × 16" in text
    assert "25 images, 3-fold cross-validation" in text
    assert "right on 52.0 % (red)" in text


def test_the_page_has_every_section_and_no_address(whole):
    html = (whole / "report.html").read_text()
    assert sections(html) == PARTS
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=\"(?!data:)", html)
    assert "built-in method" not in html
    assert "{{" not in html


def test_the_page_says_how_it_was_made(whole):
    html = (whole / "report.html").read_text()
    for text in ("tlfeatures extract photos", "tlfeatures benchmark a.h5", "scikit-learn 1."):
        assert text in html
    assert "1 pairs" not in html
    assert "1 pair of the same or nearly the same image" in html


def album(html):
    return json.loads(re.search(r'id="album">(.*?)</script>', html, re.DOTALL)[1])


def test_the_album_says_of_each_image_what_the_benchmark_says(whole):
    shown = album((whole / "report.html").read_text())
    made = Analyses(load_benchmark(whole / "out"))
    predictions = made.predictions(made.rank())
    assert sorted(shown["ids"]) == sorted(predictions.ids.tolist())
    place = {id_: row for row, id_ in enumerate(predictions.ids.tolist())}
    for at, id_ in enumerate(shown["ids"]):
        row = place[id_]
        assert shown["label"][at] == predictions.y[row]
        assert shown["predicted"][at] == predictions.predicted[row]
        assert shown["given"][at] == pytest.approx(predictions.given[row], abs=6e-4)
        assert shown["confidence"][at] == pytest.approx(predictions.confidence[row], abs=6e-4)
        assert shown["pictures"][at].startswith("data:image/webp;base64,")


def test_each_point_of_the_map_is_its_image(whole):
    html = (whole / "report.html").read_text()
    points = json.loads(re.search(r'id="points">(.*?)</script>', html, re.DOTALL)[1])
    shown, data = album(html), load_dataset(whole / "a.h5", "grid8.avg")
    for code, name in enumerate(data.classes):
        ids = [shown["ids"][place] for place in points[f"map-{code}"]]
        assert ids == data.ids[data.y == name].tolist()


def test_what_was_computed_once_is_kept(whole, made, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("was computed again")

    for name in ("measure_curve", "training_curve", "audit"):
        monkeypatch.setattr(f"tlfeatures.analyses.{name}", refuse)
    found = report(made / "out", made / "again.html")
    assert set(found.sections) >= {"learning_curve", "epochs", "audit", "map"}
    first = (whole / "report.html").read_text().replace(str(whole), str(made))
    assert (made / "again.html").read_text() == first


def test_without_its_file_the_page_has_what_the_folder_knows(made, caplog):
    (made / "a.h5").unlink()
    (made / "out" / "analyses.json").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        found = report(made / "out", made / "again.html")
    assert sections((made / "again.html").read_text()) == [
        "heads", "errors", "probabilities", "audit", "made",
    ]  # fmt: skip  # the audit's section has the copies
    assert found.images == 0
    for name in ("map", "audit", "learning curve", "epochs", "images"):
        assert f"the page has no {name}" in caplog.text
    assert "isn't there; run this where the benchmark was run" in caplog.text


def test_a_file_that_holds_something_else_by_now_is_not_mixed_in(made, caplog):
    write_image(made / "photos" / "red" / "new.png", 1)
    extract(made / "photos", made / "a.h5")
    (made / "out" / "analyses.json").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        report(made / "out", made / "again.html")
    assert "no longer what the benchmark was computed from" in caplog.text
    assert "map" not in sections((made / "again.html").read_text())


def test_the_file_is_found_beside_the_folder(made, tmp_path, monkeypatch):
    """A benchmark that was run with a relative path, moved somewhere else as a whole."""
    path = made / "out" / "results.json"
    path.write_text(path.read_text().replace(str(made), "elsewhere"))
    monkeypatch.chdir(tmp_path)
    made_again = Analyses(load_benchmark(made / "out"))
    assert made_again.dataset(made_again.rank()).X.shape[0] == 25


def test_images_that_changed_are_not_shown(made, caplog):
    write_image(made / "photos" / "red" / "red01.png", 5)
    (made / "photos" / "red" / "red02.png").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        found = report(made / "out", made / "again.html", images=made / "photos")
    assert found.images == 23
    assert "2 of 25 images" in caplog.text


def test_pictures_are_small(whole):
    import base64
    import io

    for url in album((whole / "report.html").read_text())["pictures"]:
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            assert max(image.size) <= 96
            assert image.format == "WEBP"


@pytest.mark.parametrize("part", ["map", "audit", "learning-curve", "epochs"])
def test_a_section_can_be_left_out(made, part):
    report(made / "out", made / "again.html", without=[part])
    left = {"learning-curve": "more-images"}.get(part, part)
    found = sections((made / "again.html").read_text())
    assert (left in found) == (part == "audit")  # its section still has the copies
    assert "Findings of the audit" not in (made / "again.html").read_text() or part != "audit"


def test_one_head_on_one_embedding_has_no_ranking(made):
    benchmark(made / "a.h5", heads="logreg", embeddings="grid8.avg", cv=3, out=made / "one")
    report(made / "one", made / "one.html", without=["learning-curve", "audit"])
    html = (made / "one.html").read_text()
    assert 'id="fig-ranking"' not in html
    assert 'id="fig-heat-map"' not in html
    assert 'id="epochs"' not in html
    assert "the best of" not in html


def test_a_head_without_probabilities_has_a_page(made):
    benchmark(made / "a.h5", heads="tests.unit.test_report:Labels", out=made / "nb", cv=3)
    found = report(made / "nb", made / "nb.html", without=["audit"])
    assert "probabilities" not in found.sections
    html = (made / "nb.html").read_text()
    assert "<h3>Mistakes</h3>" in html
    assert "The least certain images" not in html
    assert set(album(html)["confidence"]) == {None}


def test_a_head_of_others_is_not_fitted_again(made, caplog):
    benchmark(made / "a.h5", heads="sklearn.naive_bayes:GaussianNB", out=made / "nb", cv=3)
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        assert "learning_curve" not in report(made / "nb", made / "nb.html").sections
    assert "GaussianNB is no head of this package" in caplog.text


def test_a_given_split_has_a_page(made):
    for part in ("train", "val"):
        for label in ("blue", "red"):
            for number in range(8):
                seed = 100 * (label == "red") + 10 * (part == "val") + number
                write_image(made / "split" / part / label / f"{number}.png", seed)
    extract(made / "split", made / "s.h5", backbone="pixels", size=16)
    benchmark(made / "s.h5", heads=["centroid", "mlp"], out=made / "s")
    found = report(made / "s", made / "s.html", without=["learning-curve"])
    assert {"map", "epochs"} <= set(found.sections)
    html = (made / "s.html").read_text()
    assert "fitted on train, scored on val" in html
    assert sum(code < 0 for code in album(html)["predicted"]) == 16  # trained on, never tested


def test_the_looked_at_head_can_be_chosen(made):
    report(made / "out", made / "again.html", head="dummy", embedding="grid8.flatten",
           without=["learning-curve", "audit", "map"])  # fmt: skip
    html = (made / "again.html").read_text()
    assert "guessing by class shares on grid8.flatten" in html
    assert "This is not the best head of the benchmark" in html


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "svm"}, "no head of this benchmark named 'rbf-svm'; there are"),
        ({"embedding": "fc2.none"}, "no embedding of this benchmark named 'fc2.none'; there are"),
        ({"without": ["mapp"]}, "no section to leave out 'mapp'; there are: map"),
        ({"map": "umap"}, "no map 'umap'; there are"),
        ({"images": "nowhere"}, "nowhere is no folder"),
    ],
)
def test_what_the_page_cannot_be_is_said_before_the_work(made, options, said):
    with pytest.raises(ParameterError, match=said):
        report(made / "out", made / "again.html", **options)
    assert not (made / "again.html").exists()


@pytest.mark.parametrize("name", ["page.txt", "no/folder/page.html", "photos"])
def test_a_page_that_cannot_be_written_is_said(made, name):
    with pytest.raises(ParameterError, match=r"expected a name ending in \.html|no folder"):
        report(made / "out", made / name)


def test_a_heads_name_from_the_folder_is_never_imported(made):
    """The folder may come from anywhere: only this package's own heads are fitted again."""
    path = made / "out" / "results.json"
    path.write_text(path.read_text().replace('"logreg"', '"os:abort"'))
    table = made / "out" / "predictions.csv"
    table.write_text(table.read_text().replace('"logreg"', '"os:abort"'))
    analyses = Analyses(load_benchmark(made / "out"))
    with pytest.raises(ParameterError, match="os:abort is no head of this package"):
        analyses.learning_curve(analyses.rank("os:abort"))


def test_an_analysis_says_what_its_file_lacks(made):
    (made / "out" / "analyses.json").unlink()
    facts = json.loads((made / "out" / "results.json").read_text())
    facts["heads"] = [{**each, "matrix": "0" * 16} for each in facts["heads"]]
    (made / "out" / "results.json").write_text(json.dumps(facts))
    analyses = Analyses(load_benchmark(made / "out"))
    with pytest.raises(DatasetError, match="no longer what the benchmark was computed from"):
        analyses.map(analyses.rank())


def test_the_folds_are_those_of_the_benchmark(whole):
    """The last epoch's accuracy is the benchmark's, fold by fold."""
    analyses = Analyses(load_benchmark(whole / "out"))
    rank = analyses.rank("mlp")
    curve = analyses.training(rank)
    folds = analyses.entry(rank).facts["scores"]["accuracy"]["folds"]
    last = [row[np.isfinite(row)][-1] for row in curve.validation_accuracy]
    assert np.allclose(last, folds)


def test_fit_has_a_page_of_its_own(made):
    made_by_fit = fit(made / "a.h5", ["logreg", "knn"], embedding="grid8.avg", command="tl fit")
    datasets = {(made_by_fit.file, "grid8.avg"): made_by_fit.data}
    write_report(made_by_fit.as_benchmark(), made / "fit.html", datasets=datasets)
    html = (made / "fit.html").read_text()
    assert sections(html) == [name for name in PARTS if name != "epochs"]
    assert "tl fit" in html
    data, best = made_by_fit.data, made_by_fit.heads[0].evaluation
    right = best.classes[best.predicted] == data.y
    assert f"{100 * right.mean():.1f} %" in html


# ---- figures


@pytest.mark.parametrize("what", FIGURES)
def test_every_figure_is_drawn(whole, tmp_path, what):
    plot(whole / "out", what, tmp_path / "a.svg", n_jobs=1)
    assert (tmp_path / "a.svg").read_text().count("<text") >= 2


def test_a_figure_is_of_the_kind_its_name_says(whole, tmp_path):
    plot(whole / "out", "confusion", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
    with pytest.raises(ParameterError, match=r"expected a name ending in \.png or"):
        plot(whole / "out", "confusion", tmp_path / "a.bmp")
    with pytest.raises(ParameterError, match="there is no figure 'ruc'; there are: roc"):
        plot(whole / "out", "ruc", tmp_path / "a.png")


def test_epochs_of_a_head_that_has_none(whole, tmp_path):
    with pytest.raises(ParameterError, match="logreg doesn't train in epochs; mlp does"):
        plot(whole / "out", "loss", tmp_path / "a.png", head="logreg")


# ---- commands


def test_the_commands(made):
    def run(*arguments):
        return CliRunner().invoke(main, list(map(str, arguments)))

    done = run("report", made / "out", "-o", made / "c.html", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["bytes"] == (made / "c.html").stat().st_size
    assert said["images"] == 25
    assert run("report", made / "out", "-o", made / "c.html").stdout.count("open it in any") == 1
    assert run("plot", made / "out", "--what", "roc", "-o", made / "c.png").exit_code == 0
    options = ["--heads", "dummy", "--report", made / "d.html"]
    assert run("benchmark", made / "a.h5", *options).exit_code == 0
    assert run("fit", made / "a.h5", "--embedding", "grid8.avg", *options, "--json").exit_code == 0
    assert "guessing by class shares" in (made / "d.html").read_text()


def test_a_wrong_page_is_said_before_the_work(made, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("has begun")

    monkeypatch.setattr("tlfeatures.benchmarking.benchmark", refuse)
    monkeypatch.setattr("tlfeatures.fitting.fit", refuse)
    for command in ("benchmark", "fit"):
        arguments = [command, str(made / "a.h5"), "--report", str(made / "page.pdf")]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2
        assert "expected a name ending in .html" in done.stderr


# ---- folders that were added to, cut off, or made elsewhere


def test_a_folder_added_to_from_another_file_has_a_page_with_both(made):
    benchmark(made / "a.h5", heads="centroid", embeddings="grid8.avg", cv=3, out=made / "two")
    shutil.copy(made / "a.h5", made / "b.h5")
    benchmark(
        made / "b.h5", heads="knn", embeddings="grid8.flatten", scoring="f1_weighted", cv=3,
        out=made / "two",
    )  # fmt: skip
    shown = report(made / "two", made / "two.html", without=["audit"])
    assert {"map", "learning_curve"} <= set(shown.sections)
    html = (made / "two.html").read_text()
    assert f"Spec of {made / 'a.h5'}" in html
    assert f"Spec of {made / 'b.h5'}" in html
    assert "f1 weighted" in html


def test_results_found_again_by_another_path_are_of_that_path(made, monkeypatch):
    monkeypatch.chdir(made)
    benchmark("a.h5", heads="centroid", cv=3, out="rel")
    monkeypatch.chdir(made.parent)
    again = benchmark(f"{made.name}/a.h5", heads="centroid", cv=3, out=made / "rel")
    assert again.computed == 0
    assert {entry.facts["file"] for entry in again.entries} == {f"{made.name}/a.h5"}
    assert set(again.study.facts["files"]) == {f"{made.name}/a.h5"}
    assert "map" in report(made / "rel", made / "rel.html", without=["audit"]).sections


def test_both_ways_to_a_page_of_a_split_say_the_same(made):
    for part, reds in (("train", 12), ("val", 3)):
        for label, count in (("blue", 9), ("red", reds)):
            for number in range(count):
                seed = 100 * (label == "red") + 20 * (part == "val") + number
                write_image(made / "uneven" / part / label / f"{number}.png", seed)
    extract(made / "uneven", made / "u.h5", backbone="pixels", size=16)
    in_memory = benchmark(made / "u.h5", heads="centroid", out=made / "u")
    write_report(in_memory, made / "memory.html", without=["learning-curve", "audit"])
    report(made / "u", made / "folder.html", without=["learning-curve", "audit"])
    html = (made / "folder.html").read_text()
    assert html == (made / "memory.html").read_text()
    assert "right on 75.0 % (blue)" in html  # 9 of 12 in val; in all, red has more


def test_labels_given_in_python_are_known_from_the_folder(made):
    labels = {id_: id_[:1] for id_ in load_dataset(made / "a.h5", "grid8.avg").ids.tolist()}
    benchmark(made / "a.h5", heads="centroid", labels=labels, cv=3, out=made / "py")
    assert {"map", "audit"} <= set(report(made / "py", made / "py.html").sections)


def test_predictions_that_lack_rows_are_said(made):
    path = made / "out" / "predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:30]))
    with pytest.raises(FormatError, match=r"lacks rows of what results\.json ranks; run the"):
        report(made / "out", made / "again.html")


@pytest.mark.parametrize("text", ["[1]", "null", '{"kept": {}}', "", '{"sha256": "0", "kept": {}}'])
def test_damaged_analyses_are_computed_again(made, text):
    path = made / "out" / "analyses.json"
    path.write_text(text)
    report(made / "out", made / "again.html", without=["audit", "learning-curve"])
    assert json.loads(path.read_text())["kept"]


def test_folds_given_in_python_are_not_guessed(made, caplog):
    data = load_dataset(made / "a.h5", "grid8.avg")
    rows = np.arange(len(data.y))
    folds = [(rows[rows % 3 == (k + 1) % 3], rows[rows % 3 == k]) for k in range(3)]
    benchmark(made / "a.h5", heads="mlp", embeddings="grid8.avg", near_duplicates=None, cv=folds,
              out=made / "own")  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        shown = report(made / "own", made / "own.html", without=["audit", "learning-curve"])
    assert "epochs" not in shown.sections
    assert "folds were given in Python" in caplog.text


def test_epochs_are_of_the_embedding_that_was_asked_for(whole, tmp_path):
    for name in ("grid8.avg", "grid8.flatten"):
        plot(whole / "out", "loss", tmp_path / "a.svg", embedding=name)
        assert f"mlp on {name}" in (tmp_path / "a.svg").read_text()


def test_a_colour_as_a_name_stays_text(made):
    labels = {id_: "#1f2328" if id_.startswith("red") else "#ffffff"
              for id_ in load_dataset(made / "a.h5", "grid8.avg").ids.tolist()}  # fmt: skip
    benchmark(made / "a.h5", heads="centroid", labels=labels, cv=3, out=made / "c")
    report(made / "c", made / "c.html", without=["audit", "learning-curve"])
    html = (made / "c.html").read_text()
    assert "#1f2328</text>" in html
    assert "var(--ink)</text>" not in html


def test_labels_that_were_not_judged_are_not_called_right(made):
    random = np.random.default_rng(0).permutation(25)
    ids = load_dataset(made / "a.h5", "grid8.avg").ids.tolist()
    labels = {id_: "xy"[int(k) % 2] for id_, k in zip(ids, random, strict=True)}
    benchmark(made / "a.h5", heads="centroid", labels=labels, cv=3, out=made / "r")
    report(made / "r", made / "r.html", without=["learning-curve"])
    html = (made / "r.html").read_text()
    assert "Labels were not judged" in html
    assert "no probable label errors" not in html
    assert "That is not surely beaten here" in html


@pytest.mark.parametrize(
    ("name", "value"),
    [("images", {}), ("classes", "ab"), ("copy_pairs", None), ("files", [1]), ("ranking", []),
     ("verdict", True), ("scoring", 3), ("folds", [])],
)  # fmt: skip
def test_a_damaged_benchmark_is_one_line(made, name, value):
    path = made / "out" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(FormatError, match=f"its {name} is|ranks nothing|damaged"):
        report(made / "out", made / "again.html")


@pytest.mark.parametrize(
    ("name", "value"),
    [("scores", []), ("p", "0.1"), ("label", None), ("keys", {}), ("fit_seconds", "x")],
)
def test_a_damaged_rank_is_one_line(made, name, value):
    path = made / "out" / "results.json"
    facts = json.loads(path.read_text())
    facts["ranking"][0][name] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match=f"its {name} is"):
        report(made / "out", made / "again.html")
