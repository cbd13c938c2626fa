"""`report_labels` and `predict --report`: one page of new images with their labels.

Promise: it says which labels need a check, shows these images first, and counts all of them.
Promise: its size is bounded for any number of images and any names.
"""

import base64
import html
import io
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import write_image
from tlfeatures import Model, Prediction, TlfeaturesError, load_dataset, make_head, report_labels
from tlfeatures.cli import main
from tlfeatures.reports.labels_page import contents

LIMIT = 5_000_000  # bytes


@pytest.fixture
def model(fitted_model):
    return Model.load(fitted_model)


def labelled(path, confidence=0.9, label="red", outlier=None):
    others = {"blue": "red", "red": "blue"}
    probabilities = {label: confidence, others[label]: 1 - confidence}
    distance = None if outlier is None else 1.5 if outlier else 0.5
    return Prediction(str(path), label, probabilities, None, outlier, distance, confidence)


def items(text):
    """What the page says of each image, without tags."""
    gallery = text.partition('<ul class="gallery">')[2].partition("</ul>")[0]
    parts = re.findall(r"<li.*?</li>", gallery, re.DOTALL)
    return [without_tags(part) for part in parts]


def words(text):
    return without_tags(text.partition("<body")[2].partition("<script>")[0])


def without_tags(text):
    text = re.sub("<[^>]*>", " ", re.sub("</?bdi>", "", text))
    return " ".join(html.unescape(text).split())


def test_the_command_writes_a_page(fitted_model, photos, tmp_path):
    (photos / "bad.jpg").write_text("text")
    Image.new("RGB", (20, 16), "yellow").save(photos / "yellow.png")
    arguments = ["predict", fitted_model, photos, "--report", tmp_path / "labels.html"]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 3
    assert "outlier" not in result.stdout.splitlines()[0]  # a column is added by --outliers alone
    text = (tmp_path / "labels.html").read_text()
    said = words(text)
    assert "Labels of 25 images" in said
    assert "13 red, 12 blue" in said
    assert "1 image is an outlier. 1 image could not be read." in said
    assert "bad.jpg: not an image" in said
    assert "m.model" in said
    assert "logistic regression" in said
    assert re.search(r"accuracy 100\.0 %, 95 % interval \d\d\.\d to 100\.0 %", said)
    assert "5-fold cross-validation, 24 images" in said
    shown = items(text)
    assert len(shown) == text.count("<img src=") == 25
    assert [item for item in shown if "outlier" in item] == [
        item for item in shown if "yellow.png" in item
    ]


def test_the_least_confident_images_come_first(model, photos, tmp_path):
    paths = sorted(photos.glob("red/*"))[:5]
    confidences = [0.9, 0.5, 0.7, 0.55, 0.99]
    predictions = [labelled(*each) for each in zip(paths, confidences, strict=True)]
    written = report_labels(predictions, tmp_path / "l.html", model=model, title="Moths of May")
    text = (tmp_path / "l.html").read_text()
    assert (written.images, written.shown, written.unreadable) == (5, 5, 0)
    assert written.bytes == (tmp_path / "l.html").stat().st_size
    assert [item.split()[1] for item in items(text)] == ["0.50", "0.55", "0.70", "0.90", "0.99"]
    assert "red 0.50 blue 0.50" in items(text)[0]
    assert "Moths of May" in words(text)
    assert "2 of 5 images have a confidence below 0.6. The median confidence is 0.70" in words(text)


def test_python_and_the_command_write_the_same_page(fitted_model, photos, tmp_path):
    predictions = Model.load(fitted_model).predict(photos, outliers=True)
    report_labels(predictions, tmp_path / "a.html", model=fitted_model)
    arguments = ["predict", fitted_model, photos, "--report", tmp_path / "b.html"]
    CliRunner().invoke(main, [str(each) for each in arguments])
    first, second = ((tmp_path / f"{name}.html").read_text() for name in "ab")
    assert re.sub("[0-9:-]+ UTC", "", first) == re.sub("[0-9:-]+ UTC", "", second)


def test_images_without_a_label_are_said_to_have_none(model, photos, tmp_path):
    predictions = model.iter_predict(photos, min_confidence=1)
    report_labels(predictions, tmp_path / "l.html", model=model)
    text = (tmp_path / "l.html").read_text()
    assert "No image has a label." in words(text)
    assert "24 images got no label, because no class was probable enough" in words(text)
    assert all(item.startswith("no label") for item in items(text))
    assert re.match(r"no label (red|blue) 0\.\d\d, (red|blue) 0\.\d\d", items(text)[0])


def test_of_many_images_the_doubtful_ones_and_outliers_are_shown(model, tmp_path):
    """100,000 images, of which 100 are outliers that the model is very sure of."""
    predictions = (
        labelled(
            f"/nowhere/{number:06d}.jpg",
            confidence=0.999 if number % 1000 == 0 else 0.5 + number / 250_000,
            outlier=number % 1000 == 0,
        )
        for number in range(100_000)
    )
    written = report_labels(predictions, tmp_path / "l.html", model=model)
    assert (written.images, written.shown) == (100_000, 2000)
    assert written.bytes < LIMIT
    text = (tmp_path / "l.html").read_text()
    assert (
        "The page shows 2,000 images of 100,000: outliers and the images with the least"
        in words(text)
    )
    assert "100,000 red" in words(text)
    assert "24,975 of 100,000 images have a confidence below 0.6" in words(text)
    shown = items(text)
    assert len(shown) == 2000
    assert sum("outlier" in item for item in shown) == 100
    assert shown[0].endswith("000001.jpg")
    numbers = [int(item[-10:-4]) for item in shown if "outlier" not in item]
    assert max(numbers) <= 1902  # the least confident of all others


@pytest.mark.slow
def test_pictures_become_smaller_before_images_are_left_out(model, tmp_path):
    for number in range(300):
        write_image(tmp_path / "in" / f"{number}.png", number, side=250)  # noise, the largest files
    predictions = [labelled(path) for path in sorted((tmp_path / "in").iterdir())]
    written = report_labels(predictions, tmp_path / "l.html", model=model)
    text = (tmp_path / "l.html").read_text()
    assert written.bytes < LIMIT
    assert written.shown == text.count("<img src=") == 300


def test_outliers_stay_where_pictures_fill_the_page(model, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "BUDGET", 40_000)
    for number in range(20):
        write_image(tmp_path / "in" / f"{number:02d}.png", number, side=120)
    paths = sorted((tmp_path / "in").iterdir())
    predictions = [labelled(path, 0.6 + n / 100, outlier=n > 17) for n, path in enumerate(paths)]
    written = report_labels(predictions, tmp_path / "l.html", model=model)
    shown = items((tmp_path / "l.html").read_text())
    assert 2 < written.shown == len(shown) < 20
    assert [name in " ".join(shown) for name in ("00.png", "17.png", "18.png", "19.png")] == [
        *(True, False, True, True)
    ]
    assert "outlier" in shown[-1]


def test_a_picture_is_larger_if_there_are_few(model, photos, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    report_labels([labelled(tmp_path / "large.png")], tmp_path / "l.html", model=model)
    data = re.search('src="data:image/webp;base64,([^"]*)"', (tmp_path / "l.html").read_text())[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (224, 168)


def test_many_unreadable_images_and_long_names_fit(model, tmp_path):
    many = [Prediction(f"/x/{number}.jpg", error="no such file") for number in range(5000)]
    name = 1300 * '<&"'
    long = [labelled(f"/x/{number}{name}.jpg", 0.6) for number in range(3000)]
    written = report_labels([*many, *long], tmp_path / "l.html", model=model)
    assert written.bytes < LIMIT
    assert written.unreadable == 5000
    said = words((tmp_path / "l.html").read_text())
    assert "5,000 images could not be read and have no label. These are the first 200:" in said
    assert f"The page shows {written.shown} images of 3,000" in said


def test_an_image_that_is_given_twice_is_shown_once(model, photos, tmp_path):
    same = [labelled(photos / "red" / "red00.png")] * 50
    assert report_labels(same, tmp_path / "l.html", model=model).shown == 1
    assert (tmp_path / "l.html").read_text().count("<img src=") == 1


def test_an_image_that_is_gone_is_listed_without_a_picture(model, photos, tmp_path):
    predictions = model.predict(photos)
    (photos / "red" / "red00.png").unlink()
    report_labels(predictions, tmp_path / "l.html", model=model)
    text = (tmp_path / "l.html").read_text()
    assert len(items(text)) == 24
    assert text.count("<img src=") == 23


def test_the_labels_of_an_embeddings_file_have_pictures_of_its_images(
    fitted_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "red" / "red00.png", 5)  # another image with the name of one of them
    arguments = ["predict", fitted_folder / "m.model", fitted_folder / "photos.h5"]
    for name in ("a.html", "b.html"):
        result = CliRunner().invoke(main, [*map(str, arguments), "--report", name])
        assert result.exit_code == 0, result.output
        text = (tmp_path / name).read_text()
        assert len(items(text)) == text.count("<img src=") == 24
        assert "red/red00.png" in words(text)


def test_what_is_left_out_of_a_folder_is_said_once(fitted_model, photos, tmp_path):
    (photos / "notes.txt").write_text("text")
    arguments = ["predict", fitted_model, photos, "--report", tmp_path / "l.html"]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.stderr.count(".txt") == 1


def test_a_part_of_an_image_has_a_picture_of_this_part(fitted_model, tmp_path):
    """The left half is red and the right one is blue; a table has a box of each."""
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[:, :80, 0] = pixels[:, 80:, 2] = 220
    Image.fromarray(pixels).save(tmp_path / "both.png")
    rows = ["path,x,y,width,height", "both.png,0,0,80,80", "both.png,80,0,80,80"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    arguments = ["predict", fitted_model, tmp_path / "boxes.csv", "--report", tmp_path / "l.html"]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "l.html").read_text()
    shown = items(text)
    pictures = re.findall('src="data:image/webp;base64,([^"]*)"', text)
    assert len(shown) == len(pictures) == 2
    for item, data in zip(shown, pictures, strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        assert picture.size == (80, 80)
        red, _, blue = picture.getpixel((40, 40))
        assert (red > blue) == ("both.png#box=0,0,80,80" in item)


def test_nothing_readable_is_a_page_that_says_so(model, tmp_path):
    (tmp_path / "bad.png").write_text("text")
    written = report_labels(model.predict(tmp_path / "bad.png"), tmp_path / "l.html", model=model)
    assert (written.images, written.shown, written.unreadable) == (0, 0, 1)
    assert "No image could be read." in words((tmp_path / "l.html").read_text())


def test_a_model_without_scores_and_detector_says_so(flatten_file, photos, tmp_path):
    data = load_dataset(flatten_file)
    plain = Model.fit(make_head("logreg"), data)
    report_labels(plain.predict(photos), tmp_path / "l.html", model=plain)
    said = words((tmp_path / "l.html").read_text())
    assert "accuracy not measured when the model was trained" in said


def test_the_page_is_refused_before_anything_is_computed(model, tmp_path):
    def predictions():
        pytest.fail("was computed")
        yield

    with pytest.raises(TlfeaturesError, match="expected a name ending in"):
        report_labels(predictions(), tmp_path / "l.pdf", model=model)


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        (Prediction("a.png"), "predictions is a Prediction; expected the result of Model.predict"),
        (["a.png"], "predictions has a str; expected the result of Model.predict"),
        ([labelled("a.png"), Prediction("b.png", "green")], "class 'green', which the model"),
    ],
)
def test_what_are_no_predictions_of_the_model_is_one_line(model, tmp_path, predictions, said):
    with pytest.raises(TlfeaturesError, match=said):
        report_labels(predictions, tmp_path / "labels.html", model=model)
    assert not (tmp_path / "labels.html").exists()
