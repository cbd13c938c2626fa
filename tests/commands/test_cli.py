"""What each command prints, where, and how it exits."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import use_backbone
from tlfeatures import HEADS, TLS
from tlfeatures.cli import main
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.table import POOLINGS
from tlfeatures.features.engines.engine import DEVICES
from tlfeatures.features.file.format import DTYPES
from tlfeatures.features.spec import PRECISIONS

CERTIFICATES = ["--tls-ca-file", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def file(flatten_file):
    return flatten_file


@pytest.fixture
def model(fitted_model):
    return fitted_model


@pytest.mark.parametrize("command", main.commands)
def test_every_command_has_help(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command}")


def test_the_heads_that_help_names_are_those_there_are(run):
    for command in ("fit", "benchmark"):
        help_ = "".join(run(command, "--help").stdout.split())
        assert "|".join([*HEADS, "all"]) in help_


def test_the_choices_that_help_names_are_those_there_are(run):
    text = run("extract", "--help").stdout
    for choices in (POOLINGS, ("auto", *PRECISIONS), DTYPES, DEVICES):
        assert "|".join(choices) in text


def test_extract_json(run, photos, tmp_path):
    arguments = [
        "extract",
        photos,
        "-o",
        tmp_path / "x.h5",
        "--backbone",
        "pixels",
        "--size",
        16,
        "--json",
    ]
    result = run(*arguments)
    facts = json.loads(result.stdout)
    assert set(facts) >= {
        *("images", "computed", "reused", "failed", "embeddings", "seconds", "images_per_second"),
        *("weights", "weights_sha256", "precision"),
    }
    assert (facts["images"], facts["computed"], facts["reused"]) == (24, 24, 0)
    assert result.stderr == ""  # no bar where the output is no terminal
    again = run(*arguments)
    assert "24 reused" in run(*arguments[:-1]).stdout
    assert json.loads(again.stdout)["reused"] == 24


def test_unreadable_images_exit_3_and_are_named_on_stderr(run, photos, tmp_path):
    (photos / "red" / "bad.jpg").write_text("text")
    result = run("extract", photos, "-o", tmp_path / "x.h5", "--backbone", "pixels", "--size", 16)
    assert result.exit_code == 3
    assert "red/bad.jpg: not an image" in result.stderr
    assert "24 computed, 0 reused, 1 failed" in result.stdout
    info = json.loads(run("info", tmp_path / "x.h5", "--json").stdout)
    assert [failure["id"] for failure in info["failed"]] == ["red/bad.jpg"]
    assert (info["done"], info["waiting"]) == (24, 0)


def test_fit_json(run, file, tmp_path):
    quick = ["--param", "epochs=2", "--param", "steps=1", "--param", "max_leaf_nodes=4"]
    result = run("fit", file, "--head", "all", *quick, "--json", "-o", tmp_path / "m.model")
    facts = json.loads(result.stdout)
    assert (facts["images"], facts["split"], facts["embedding"]) == (24, "cv", "grid8.flatten")
    assert facts["classes"] == ["blue", "red"]
    assert {entry["head"] for entry in facts["heads"]} == set(HEADS)
    values = []
    for entry in facts["heads"]:
        assert set(entry) == {
            *("head", "params", "chosen", "scores", "fit_seconds", "model"),
            *("standing", "difference", "p"),
        }
        assert set(entry["scores"]) == {
            *("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
        }
        assert len(entry["scores"]["accuracy"]["folds"]) == 5
        values.append(entry["scores"]["accuracy"]["score"])
    assert values == sorted(values, reverse=True)
    saved = [entry["model"] for entry in facts["heads"]]
    assert saved == [str(tmp_path / "m.model")] + [None] * 9


def test_fit_prints_every_score_of_every_fold(run, file):
    result = run("fit", file, "--head", "logreg", "--scoring", "matthews_corrcoef", "--cv", 3)
    for name in ("accuracy", "balanced accuracy", "macro F1", "log loss", "ROC AUC", "fit s"):
        assert name in result.stdout
    assert "matthews corrcoef" in result.stdout
    assert "3-fold cross-validation" in result.stdout
    assert result.stderr == ""


def test_given_split_is_used_and_said(run, photos, tmp_path):
    for split in ("train", "val", "test"):
        for label in ("blue", "red"):
            (photos / split / label).mkdir(parents=True)
    for number, path in enumerate(sorted(photos.glob("*/*.png"))):
        split = ("train", "train", "val", "test")[number % 4]
        path.rename(photos / split / path.parent.name / path.name)
    for label in ("blue", "red"):
        (photos / label).rmdir()
    run("extract", photos, "-o", tmp_path / "x.h5", "--backbone", "pixels", "--size", 16)
    result = run("fit", tmp_path / "x.h5")
    assert "fitted on train, tested on val (6 images tested)" in result.stdout
    assert "the images of test/ were not used for the scores" in result.stdout
    assert "tested on test" in run("fit", tmp_path / "x.h5", "--split", "test").stdout
    assert "5-fold" in run("fit", tmp_path / "x.h5", "--split", "cv").stdout


def test_params_are_set_and_reported(run, file):
    facts = json.loads(run("fit", file, "--param", "C=0.5", "--json").stdout)
    assert facts["heads"][0]["params"]["C"] == 0.5


def test_predict_csv(run, model, photos):
    (photos / "bad.jpg").write_text("text")
    result = run("predict", model, photos / "bad.jpg", photos / "red")
    bad, *rows = csv.DictReader(io.StringIO(result.stdout))
    assert list(bad) == ["path", "label", "confidence", "p_blue", "p_red", "error"]
    assert {name for name, cell in bad.items() if cell} == {"path", "error"}
    assert bad["error"].startswith("not an image")
    assert len(rows) == 12
    assert all(row["label"] == "red" and float(row["p_red"]) > 0.5 for row in rows)
    assert {row["error"] for row in rows} == {""}
    assert result.exit_code == 3
    assert f"{photos / 'bad.jpg'}: not an image" in result.stderr


@pytest.mark.parametrize(
    "classes",
    [("label", "path"), ("error", "outlier", "distance"), ("weights", "p_label"), ("p_a", "a")],
)
def test_every_column_of_predict_has_a_name_of_its_own(run, photos, tmp_path, classes):
    for number, path in enumerate(sorted(photos.glob("*/*"))):
        label = classes[number * len(classes) // 24]
        (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "in" / label / path.name)
    file, model = tmp_path / "x.h5", tmp_path / "x.model"
    options = ("--backbone", "pixels", "--size", 16)
    assert run("extract", tmp_path / "in", "-o", file, *options).exit_code == 0
    assert run("fit", file, "-o", model, "--near-duplicates", "off").exit_code == 0
    result = run("predict", model, tmp_path / "in", "--outliers")
    header = next(csv.reader(io.StringIO(result.stdout)))
    assert len(set(header)) == len(header)
    for row in csv.DictReader(io.StringIO(result.stdout)):
        assert (tmp_path / "in") in Path(row["path"]).parents
        assert row["label"] == max(classes, key=lambda name: float(row[f"p_{name}"]))
        assert row["outlier"] in ("yes", "no")
        assert float(row["distance"]) >= 0


def test_predict_json_lines(run, model, photos):
    (photos / "bad.jpg").write_text("text")
    result = run("predict", model, photos / "bad.jpg", photos / "red" / "red00.png", "--json")
    bad, good = map(json.loads, result.stdout.splitlines())
    assert set(bad) == {"path", "error"}
    assert set(good) == {"path", "label", "confidence", "probabilities"}
    assert good["label"] == "red"
    assert set(good["probabilities"]) == {"blue", "red"}


def test_predict_flags_and_abstains(run, model, photos):
    arguments = ("predict", model, photos, "--outliers", "--min-confidence", 1)
    result = run(*arguments)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == [
        *("path", "label", "confidence", "p_blue", "p_red", "outlier", "distance", "error")
    ]
    assert {row["label"] for row in rows} == {""}
    assert all(0.5 <= float(row["confidence"]) < 1 for row in rows)
    assert {row["outlier"] for row in rows} == {"no"}
    assert "24 got no label, because no class reached --min-confidence" in result.stderr
    row = json.loads(run(*arguments, "--json").stdout.splitlines()[0])
    assert row["label"] is None
    assert row["outlier"] is (row["distance"] > 1)


def test_evaluate_shows_scores_with_intervals_and_confusion(run, model, photos, tmp_path):
    for label, channel in (("blue", 2), ("red", 0)):
        for number in range(6):
            pixels = np.random.default_rng([9, number]).integers(0, 160, (16, 20, 3), np.uint8)
            pixels[..., channel] += np.uint8(60)
            path = tmp_path / "new" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "new" / "red" / "seen.png").write_bytes((photos / "red/red00.png").read_bytes())
    result = run("evaluate", model, tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "left out: 1 image that the model was fitted on\n" in result.stdout
    assert re.search(r"accuracy +1\.000 +\[0\.\d+, 1\.000\]", result.stdout)
    assert re.search(r"^red +0 +6 +6$", result.stdout, re.MULTILINE)
    facts = json.loads(run("evaluate", model, tmp_path / "new", "--json").stdout)
    assert (facts["images"], facts["seen"], facts["tested"]) == (13, 1, 12)
    assert facts["confusion"] == [[6, 0], [0, 6]]
    parts = [tmp_path / "new" / label for label in ("blue", "red")]
    assert json.loads(run("evaluate", model, *parts, "--json").stdout)["scores"] == facts["scores"]
    (tmp_path / "new" / "red" / "bad.png").write_text("text")
    assert run("evaluate", model, tmp_path / "new").exit_code == 3


def noise(path, channel, seed):
    """Write an image like those of `photos` (0: red, 2: blue), or a greenish one (1)."""
    pixels = np.random.default_rng(seed).integers(0, 160, (16, 20, 3), np.uint8)
    pixels[..., channel] += np.uint8(60)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_predict_flags_images_unlike_those_of_the_training(run, model, photos, tmp_path):
    noise(tmp_path / "green.png", 1, [5, 5])
    Image.new("RGB", (20, 16), "yellow").save(tmp_path / "yellow.png")
    Image.new("RGB", (20, 16)).save(tmp_path / "black.png")  # its embedding is all zeros
    known, aliens = photos / "red" / "red00.png", ["green.png", "yellow.png", "black.png"]
    arguments = ("predict", model, known, *(tmp_path / name for name in aliens), "--outliers")
    result = run(*arguments)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["outlier"] for row in rows] == ["no", "yes", "yes", "yes"]
    assert float(rows[0]["distance"]) <= 1 < float(rows[1]["distance"])
    assert all(None not in row and None not in row.values() for row in rows)
    warning, _, said = result.stderr.splitlines()
    assert "2 images are nearly black or one colour" in warning
    assert said == "3 flagged as outliers"
    text = run(*arguments, "--json").stdout
    assert "Infinity" not in text
    answers = [json.loads(line) for line in text.splitlines()]
    assert [each["outlier"] for each in answers] == [False, True, True, True]
    for answer, row in zip(answers[:3], rows[:3], strict=True):
        assert f"{answer['distance']:.3f}" == row["distance"]
    assert answers[3]["distance"] is None


def test_standard_input_beside_other_images_is_refused(run, model, photos):
    result = run("predict", model, photos / "red" / "red00.png", "-")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give no other images with it" in result.stderr


def test_evaluate_counts_what_was_taken_for_what_and_outliers(run, model, tmp_path):
    new = tmp_path / "new"
    for number in range(5):
        noise(new / ("blue" if number < 4 else "red") / f"b{number}.png", 2, [9, 2, number])
        noise(new / ("blue" if number < 3 else "red") / f"r{number}.png", 0, [9, 0, number])
    unlike = sum(
        json.loads(line)["outlier"]
        for line in run("predict", model, new, "--outliers", "--json").stdout.splitlines()
    )
    Image.new("RGB", (20, 16), "yellow").save(new / "blue" / "yellow.png")  # taken for red
    result = run("evaluate", model, new)
    assert re.search(r"^true / predicted +blue +red +images$", result.stdout, re.MULTILINE)
    assert re.search(r"^blue +4 +4 +8$", result.stdout, re.MULTILINE)
    assert re.search(r"^red +1 +2 +3$", result.stdout, re.MULTILINE)
    assert re.search(rf"^{unlike + 1} of them are .*\(outliers\)$", result.stdout, re.MULTILINE)
    facts = json.loads(run("evaluate", model, new, "--json").stdout)
    assert (facts["confusion"], facts["outliers"]) == ([[4, 4], [1, 2]], unlike + 1)


def test_info_of_both_files(run, file, model):
    assert "blue: 12" in run("info", file).stdout
    assert "grid8.flatten: 192" in run("info", file).stdout
    facts = json.loads(run("info", model, "--json").stdout)
    assert facts["format"] == "tlfeatures model"
    assert "classes: blue, red" in run("info", model).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract", "nowhere", "-o", "NEW"], 2, "does not exist"),
        (["extract", "PHOTOS", "-o", "NEW", "--layer", "block6"], 2, "there are: "),
        (["extract", "PHOTOS", "-o", "FILE", "--size", "150"], 1, "leave out --size"),
        (["fit", "nowhere.h5"], 2, "tlfeatures extract"),
        (["fit", "FILE", "--head", "xgboost"], 2, "there are: "),
        (["fit", "FILE", "--param", "C"], 2, "NAME=VALUE"),
        (["fit", "FILE", "--param", "D=1"], 2, "parameter of logreg"),
        (["fit", "FILE", "--param", "C=-1"], 2, "can't be fitted"),
        (["fit", "FILE", "-o", "FILE"], 2, "not the ending of a model"),
        (["fit", "FILE", "--cv", "13"], 1, "--cv 12"),
        (["fit", "FILE", "--embedding", "fc2.none"], 2, "there are: grid8.flatten"),
        (["fit", "FILE", "--split", "val"], 2, "--split cv"),
        (["fit", "FILE", "-o", "nowhere/x.model"], 2, "no folder"),
        (["fit", "FILE", "--cluster", "10.0.0.1"], 2, "tcp://10.0.0.1:8786"),
        (["fit", "FILE", "--cluster", "tls://10.0.0.1:1", "--tls-cert", "x"], 2, "together"),
        (["benchmark", "FILE", *CERTIFICATES], 2, "with --cluster tls://"),
        (["fit", "FILE", "--cluster", "tcp://10.0.0.1:1", *CERTIFICATES], 2, "tls://10.0.0.1:8786"),
        (["predict", "FILE", "PHOTOS"], 1, "not a model file"),
        (["evaluate", "FILE", "PHOTOS"], 1, "not a model file"),
        (["evaluate", "nowhere.model", "PHOTOS"], 2, "tlfeatures fit"),
        (["extract", "FILE", "-o", "NEW"], 2, "is a file"),
        (["predict", "nowhere.model", "PHOTOS"], 2, "tlfeatures fit"),
        (["info", "nowhere"], 2, "nowhere is not a file"),
        (["info", "PHOTOS/red/red00.png"], 1, "neither"),
    ],
)
def test_errors_are_one_line_with_the_remedy(run, file, photos, arguments, code, message):
    paths = {"PHOTOS": str(photos), "FILE": str(file), "NEW": str(file.with_name("new.h5"))}
    given = [re.sub("PHOTOS|FILE|NEW", lambda hit: paths[hit[0]], text) for text in arguments]
    result = run(*given)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_a_cluster_needs_dask(run, file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("fit", file, "--cluster", "tcp://10.0.0.1:8786")
    assert result.exit_code == 1
    assert result.stderr == "Error: Dask is not installed: pip install 'tlfeatures[cluster]'\n"


def test_one_class_says_what_is_needed(run, photos, tmp_path):
    result = run(
        "extract", photos / "red", "-o", tmp_path / "x.h5", "--backbone", "pixels", "--size", 16
    )
    assert result.exit_code == 0
    assert "not in class folders" in run("fit", tmp_path / "x.h5").stderr
    for path in (photos / "blue").iterdir():
        path.unlink()
    run("extract", photos, "-o", tmp_path / "y.h5", "--backbone", "pixels", "--size", 16)
    assert "one class (red)" in run("fit", tmp_path / "y.h5").stderr


def test_interrupting_says_that_nothing_is_lost(run, photos, tmp_path, monkeypatch):
    def interrupt(names):
        raise KeyboardInterrupt

    use_backbone(monkeypatch, interrupt)
    result = run("extract", photos, "-o", tmp_path / "x.h5", "--backbone", "pixels", "--size", 16)
    assert result.exit_code == 1
    assert "Run the same command again to continue." in result.stderr


EXTRACT_OPTIONS = {
    "images": "scans", "columns": {"id": "name"},
    "backbone": "vgg16", "layers": ("block1_pool",), "pools": ("max",), "size": "64",
    "value_range": "0,4095",
    "weights": "random", "engine": "keras", "precision": "float32", "dtype": "float16",
    "augment": 2, "augment_spec": "rotation=5", "random_state": 7, "prune": True,
    "trust_mtime": True, "batch_size": 3, "max_pixels": 1000, "device": "cpu",
    "cluster": "tls://10.0.0.1:8786", "tls": TLS("ca", "cert", "key"), "shards": "s3://b/shards",
}  # fmt: skip


def test_every_option_of_extract_reaches_the_library(run, monkeypatch):
    given = {}

    def extract(source, file, **options):
        given.update(options, source=source, file=file)
        raise ParameterError("enough")

    monkeypatch.setattr("tlfeatures.features.extract.extract", extract)
    arguments = ["--backbone", "vgg16", "--layer", "block1_pool", "--pool", "max", "--size", "64"]
    arguments += ["--value-range", "0,4095"]
    arguments += ["--weights", "random", "--engine", "keras", "--precision", "float32"]
    arguments += ["--dtype", "float16", "--augment", "2", "--augment-spec", "rotation=5"]
    arguments += ["--random-state", "7", "--prune", "--trust-mtime", "--batch-size", "3"]
    arguments += ["--max-pixels", "1000", "--device", "cpu", "--cluster", "tls://10.0.0.1:8786"]
    arguments += ["--tls-ca-file", "ca", "--tls-cert", "cert", "--tls-key", "key"]
    arguments += ["--shards", "s3://b/shards"]
    arguments += ["--images", "scans", "--columns", "id=name"]
    assert run("extract", "photos", "more", "-o", "x.h5", *arguments).exit_code == 2
    for name in ("command", "progress", "stop"):
        assert given.pop(name)
    assert given == {"source": ("photos", "more"), "file": "x.h5", **EXTRACT_OPTIONS}
    asked = {option.name for option in main.commands["extract"].params}
    tls = {"tls_ca_file", "tls_cert", "tls_key"}
    assert asked - tls - {"as_json"} == set(given) - {"tls"}  # a new option belongs in here
