"""A page of a benchmark says what the benchmark says, and has the sections that are asked for."""

import base64
import io
import json
import logging
import re

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.commands.pages import SECTIONS, album, benchmark, page_of, sections
from tests.fakes import write_image
from tlfeatures import load_benchmark, load_dataset, report
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.reports.benchmark_analyses import Analyses
from tlfeatures.reports.page import contents
from tlfeatures.reports.page.contents import OPTIONAL


@pytest.fixture
def html(page_folder):
    return (page_folder / "report.html").read_text()


# ---- what the page says


def test_the_page_answers_first(page_folder, html):
    best = load_benchmark(page_folder / "out").comparison.corrected("accuracy")
    low, high = best.interval
    text = re.sub(r"<[^>]+>", "", html[html.index("<h1") : html.index("<nav")])
    assert text.startswith("blue or red")
    assert f"{100 * best.score:.1f} % of images are classified correctly" in text
    assert "the best of 6 heads" in text
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in text
    assert "mean colours (no network) at 16 × 16" in text
    assert "25 tested images, 3-fold cross-validation" in text
    assert "always predicting the largest class (red) would give 52.0 %" in text


def test_the_page_has_every_section_and_no_address(html):
    assert sections(html) == SECTIONS
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=\"(?!data:)", html)
    assert "built-in method" not in html
    assert "{{" not in html


def test_the_page_says_how_it_was_made(html):
    for text in ("tlfeatures extract photos", "tlfeatures benchmark a.h5", "scikit-learn 1."):
        assert text in html
    assert "1 pairs" not in html
    assert "1 pair of the same or nearly the same photograph" in html


def test_the_album_says_of_each_image_what_the_benchmark_says(page_folder, html):
    shown = album(html)
    analyses = Analyses(load_benchmark(page_folder / "out"))
    predictions = analyses.predictions(analyses.rank())
    assert sorted(shown["ids"]) == sorted(predictions.ids.tolist())
    place = {id_: row for row, id_ in enumerate(predictions.ids.tolist())}
    for at, id_ in enumerate(shown["ids"]):
        row = place[id_]
        assert shown["label"][at] == predictions.y[row]
        assert shown["predicted"][at] == predictions.predicted[row]
        assert shown["given"][at] == pytest.approx(predictions.given[row], abs=6e-4)
        assert shown["confidence"][at] == pytest.approx(predictions.confidence[row], abs=6e-4)
        assert shown["pictures"][at].startswith("data:image/webp;base64,")


def test_each_point_of_the_map_is_its_image(page_folder, html):
    points = json.loads(re.search(r'id="points">(.*?)</script>', html, re.DOTALL)[1])
    shown, data = album(html), load_dataset(page_folder / "a.h5", "grid8.avg")
    for code, name in enumerate(data.classes):
        ids = [shown["ids"][place] for place in points[f"map-{code}"]]
        assert ids == data.ids[data.y == name].tolist()


def test_pictures_are_small(html):
    pictures = album(html)["pictures"]
    assert len(pictures) == 25
    for url in pictures:
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            assert max(image.size) <= 96
            assert image.format == "WEBP"


@pytest.mark.slow
def test_pictures_are_not_more_than_there_is_room_for(page_copy, monkeypatch):
    monkeypatch.setattr(contents, "MOST_PICTURES", 5)
    made, html = page_of(page_copy / "out", ["images"])
    assert made.images == 5
    assert "The page has pictures of 5 of the images, mistakes first." in html
    monkeypatch.setattr(contents, "MOST_PICTURES", 2000)
    monkeypatch.setattr(contents, "MOST_BYTES", 1000)  # the other parts alone are larger
    made, html = page_of(page_copy / "out", ["images"])
    assert made.images == 0
    assert "The page has no pictures" in html


def test_images_that_changed_are_not_shown(page_copy, caplog):
    write_image(page_copy / "photos" / "red" / "red01.png", 5)
    (page_copy / "photos" / "red" / "red02.png").unlink()
    with caplog.at_level(logging.WARNING, logger="tlfeatures"):
        made, _ = page_of(page_copy / "out", ["images"], images=page_copy / "photos")
    assert made.images == 23
    assert "2 of 25 images" in caplog.text


# ---- what is asked for


@pytest.mark.parametrize("without", [["map", "learning-curve", "images"], ["audit", "epochs"]])
@pytest.mark.slow
def test_sections_can_be_left_out(page_copy, without):
    made, html = page_of(page_copy / "out", set(OPTIONAL) - set(without))
    ids = {"learning-curve": "more-images"}
    # The section of the audit still has the copies.
    left_out = {ids.get(name, name) for name in without} - {"audit"}
    assert sections(html) == [name for name in SECTIONS if name not in left_out]
    assert ("The audit found no copies in two classes" in html) == ("audit" not in without)
    assert made.images == (0 if "images" in without else 25)


@pytest.mark.slow
def test_the_head_in_detail_can_be_chosen(page_copy):
    _, html = page_of(page_copy / "out", head="dummy", embedding="grid8.flatten")
    assert "prediction of the most frequent class on grid8.flatten" in html
    assert "This is not the best head of the benchmark" in html


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "svm"}, "no head of this benchmark named 'rbf-svm'; there are"),
        ({"embedding": "fc2.none"}, "no embedding of this benchmark named 'fc2.none'; there are"),
        ({"without": ["mapp"]}, "no section to leave out 'mapp'; there are: map"),
        ({"map": "umap"}, "no map 'umap'; there are"),
        ({"images": "nowhere"}, "nowhere, which is not a folder"),
    ],
)
def test_what_the_page_cannot_be_is_said_before_the_work(page_folder, tmp_path, options, said):
    with pytest.raises(ParameterError, match=said):
        report(page_folder / "out", tmp_path / "page.html", **options)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["page.txt", "no/folder/page.html", "photos"])
def test_a_page_that_cannot_be_written_is_said(page_folder, name):
    with pytest.raises(ParameterError, match=r"name ending in \.html|folder that does not exist"):
        report(page_folder / "out", page_folder / name)


# ---- commands


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_the_command_writes_a_page(page_copy):
    folder, page = page_copy / "dummy", page_copy / "c.html"
    benchmark(page_copy / "a.h5", heads="dummy", embeddings="grid8.avg", out=folder)
    without = [word for name in OPTIONAL if name != "images" for word in ("--without", name)]
    done = run("report", folder, "-o", page, *without, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["bytes"] == page.stat().st_size
    assert said["images"] == 25
    done = run("report", folder, "-o", page, *without)
    assert done.stdout.count("Open the page in any") == 1


@pytest.mark.parametrize("command", ["benchmark", "fit"])
@pytest.mark.slow
def test_a_benchmark_and_a_fit_write_a_page(page_copy, command):
    options = ["--heads", "dummy", "--report", page_copy / "d.html", "--n-jobs", 1, "--cv", 3]
    embedding = ["--embeddings" if command == "benchmark" else "--embedding", "grid8.avg"]
    done = run(command, page_copy / "a.h5", *embedding, *options)
    assert done.exit_code == 0, done.output
    assert "prediction of the most frequent class" in (page_copy / "d.html").read_text()


@pytest.mark.parametrize("command", ["benchmark", "fit"])
def test_a_wrong_page_is_said_before_the_work(page_folder, tmp_path, command):
    done = run(
        command, page_folder / "a.h5", "-o", tmp_path / "out", "--report", tmp_path / "page.pdf"
    )
    assert done.exit_code == 2
    assert "expected a name ending in .html" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_another_benchmark_has_its_own_head(page_copy):
    """One head on one embedding has no ranking."""
    benchmark(page_copy / "a.h5", heads="centroid", embeddings="grid8.avg", out=page_copy / "one")
    _, html = page_of(page_copy / "one", ["epochs"])
    assert 'id="fig-confusion"' in html
    assert 'id="fig-ranking"' not in html
    assert 'id="fig-heat-map"' not in html
    assert 'id="epochs"' not in html
    assert "the best of" not in html
