import csv
import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlfeatures import extract
from tlfeatures.auditing import Audit, Finding, audit
from tlfeatures.cli import main
from tlfeatures.dataset import Dataset
from tlfeatures.duplicates import neighbor_distances
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.spec import Spec

# Not by attribute: the package may give a function of this name.
module = importlib.import_module("tlfeatures.auditing")

SPEC = Spec(
    backbone="pixels", size=(8, 8), precision="float32", weights="none", weights_sha256=None
)


def dataset(n=120, classes="abc", d=96, signal=3.0, seed=0, **fields) -> Dataset:
    """Like activations; each class has columns of its own that are larger."""
    random = np.random.default_rng(seed)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    X = random.gamma(2.0, size=(n, d))
    for number, name in enumerate(classes):
        X[np.ix_(y == name, range(8 * number, 8 * number + 8))] += signal
    made = Dataset(
        X=X.astype(np.float32),
        y=y,
        groups=None,
        ids=np.array([f"{label}/{i:03d}.png" for i, label in enumerate(y)]),
        split=None,
        embedding="x.avg",
        spec=SPEC,
        file="x.h5",
    )
    return replace(made, **fields)


@pytest.fixture
def run(monkeypatch):
    """Audit a dataset as if it were a file."""

    def of(data, **options):
        monkeypatch.setattr(module, "load_dataset", lambda *_, **__: data)
        return audit(data.file, **options)

    return of


def flipped(data, count, seed=1):
    rows = np.random.default_rng(seed).permutation(len(data.y))[:count]
    y = data.y.copy()
    y[rows] = [data.classes[data.classes.index(name) - 1] for name in y[rows]]
    return replace(data, y=y), set(data.ids[rows].tolist())


def test_clean_data_give_few_findings(run):
    result = run(dataset())
    assert result.accuracy > 0.95
    assert len(result.findings) <= 3
    assert result.counts["near-duplicate"] == 0


@pytest.mark.parametrize("head", ["rbf-svm", "logreg", "mlp"])
def test_planted_label_errors_come_first_with_the_right_class(run, head):
    data, planted = flipped(dataset(), 8)
    result = run(data, head=head)
    first = [each for each in result.findings if each.kind == "label"][:8]
    assert {each.id for each in first} <= planted
    assert len(first) >= 7
    for each in first:
        assert each.other == each.id[0]
        assert each.label != each.other
        assert each.score > 0.5
        assert f"more probably {each.other}" in each.reason


def test_contradicting_copies_come_first_and_name_the_wrong_one_once(run):
    data, planted = flipped(dataset(), 6)
    X, y = data.X.copy(), data.y.copy()
    free = [row for row in range(len(y)) if data.ids[row] not in planted]
    originals = [row for row in free if y[row] != "b"][:4]
    copies = [row for row in free if y[row] == "b"][:4]
    X[copies] = X[originals] * np.random.default_rng(3).uniform(0.95, 1.05, (4, X.shape[1]))
    result = run(replace(data, X=X, y=y))
    first = result.findings[:4]
    assert [each.kind for each in first] == ["near-duplicate"] * 4
    found = {(each.id, each.other) for each in first}
    pairs = zip(data.ids[copies].tolist(), data.ids[originals].tolist(), strict=True)
    assert found == set(pairs)
    assert all("nearly the same image" in each.reason for each in first)
    assert all(0.4 <= each.score < 1 for each in first)
    at_fault = [each.id for each in result.findings]
    assert len(at_fault) == len(set(at_fault))


def test_of_many_copies_each_doubted_one_has_one_row(run):
    data = dataset()
    X, y = data.X.copy(), data.y.copy()
    X[:9] = X[0]
    y[:9] = ["a", "a", "a", "a", "a", "a", "a", "b", "c"]
    copies = np.array([(row, row + 1) for row in range(8)])
    result = run(replace(data, X=X, y=y, copies=copies))
    found = [each for each in result.findings if each.kind == "near-duplicate"]
    assert sorted(each.id for each in found) == sorted(data.ids[[7, 8]])
    assert {each.other for each in found} <= set(data.ids[:8].tolist())
    assert all(each.score == 1 and "the same file" in each.reason for each in found)


def test_copies_in_two_splits_come_before_labels_and_spare_the_training_image(run):
    data, planted = flipped(dataset(), 5)
    free = [row for row in range(len(data.y)) if data.ids[row] not in planted]
    split = np.array(["train"] * 80 + ["val"] * 20 + ["test"] * 20)
    early = [row for row in free if row < 80][:2]
    late = next(row for row in free if 80 <= row < 100 and data.y[row] == data.y[early[0]])
    last = next(row for row in free if row >= 100 and data.y[row] == data.y[early[1]])
    X = data.X.copy()
    X[late], X[last] = X[early[0]], X[early[1]] * 1.0001
    result = run(replace(data, X=X, split=split, copies=np.array([(early[0], late)])))
    first = [(each.kind, each.id, each.other) for each in result.findings[:2]]
    expected = {
        ("near-duplicate", data.ids[early[0]], data.ids[late]),
        ("near-duplicate", data.ids[early[1]], data.ids[last]),
    }
    assert set(first) == expected
    assert "in train, but the same file is" in result.findings[0].reason
    assert {each.kind for each in result.findings[2:]} <= {"label", "outlier"}


def test_copies_within_a_class_and_a_split_are_not_listed(run):
    data = dataset()
    X = data.X.copy()
    X[3], X[6] = X[0], X[9]
    result = run(replace(data, X=X, copies=np.array([(0, 3)])))
    assert result.counts["near-duplicate"] == 0


def test_labels_of_a_class_that_is_one_group_are_not_judged(run, caplog):
    data, planted = flipped(dataset(), 6)
    y = data.y.copy()
    y[:6] = "o"
    groups = np.array(["g"] * 6 + [str(row) for row in range(6, len(y))])
    findings = run(replace(data, y=y, groups=groups), head="logreg").findings
    ids = {each.id for each in findings if each.kind == "label"}
    assert not ids & set(data.ids[:6].tolist())
    assert ids
    assert ids <= planted
    assert "all images of o are of one group" in caplog.text


def test_off_finds_identical_files_only(run):
    data = dataset()
    X, y = data.X.copy(), data.y.copy()
    X[1], X[4] = X[0], X[3]
    data = replace(data, X=X, y=y, copies=np.array([(0, 1)]))
    assert run(data).counts["near-duplicate"] == 2
    result = run(data, near_duplicates=None)
    assert result.counts["near-duplicate"] == 1
    assert {result.findings[0].id, result.findings[0].other} == set(data.ids[:2].tolist())


def test_an_outlier_is_found_and_a_small_or_varied_class_is_none(run):
    data = dataset(n=150)
    X, y = data.X.copy(), data.y.copy()
    random = np.random.default_rng(7)
    y[:6] = "s"  # small, and of quite another kind
    X[:6, :50] = 0.01
    X[:6, 60:] += 6
    varied = y == "c"
    X[varied] *= random.gamma(0.7, size=(varied.sum(), X.shape[1]))
    X[20] = 0.001
    X[20, 50:58] = 20
    data = replace(data, X=X, y=y)
    findings = run(data, near_duplicates=None).findings
    found = [each for each in findings if each.kind == "outlier"]
    ids = [each.id for each in found]
    assert data.ids[20] in [each.id for each in findings if "outl" in each.kind + each.reason]
    assert not set(ids) & set(data.ids[:6].tolist())
    assert len(ids) <= 5
    assert all(each.other is None and 0.5 < each.score < 1 for each in found)


def test_outliers_are_by_the_definition():
    data = dataset(n=90, signal=0.5)
    X = data.X.astype(np.float64)
    unit = np.sqrt(X) / np.linalg.norm(np.sqrt(X), axis=1, keepdims=True)
    distance = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=2))[:, 10]
    excess = np.log(distance)
    for name in data.classes:
        excess[data.y == name] -= np.median(excess[data.y == name])
    z = excess / (1.4826 * np.median(np.abs(excess)))
    found = {each.id: each.score for each in module._outliers(data).values()}
    assert set(found) == set(data.ids[z > 3.5].tolist())
    for row in np.flatnonzero(z > 3.5):
        assert found[data.ids[row]] == pytest.approx(1 - 3.5 / (2 * z[row]), abs=1e-3)


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
def test_neighbors_are_the_same_by_any_block(block):
    data = dataset(n=60)
    data.X[11] = 0
    found = neighbor_distances(data.X, 4, block=block)
    unit = np.sqrt(np.delete(data.X, 11, axis=0).astype(np.float64))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.sort(np.linalg.norm(unit[:, None] - unit[None], axis=2))[:, 4]
    np.testing.assert_allclose(np.delete(found, 11), expected, atol=1e-5)
    assert np.isnan(found[11])
    many = neighbor_distances(data.X, 500, block=block)  # there are no more than 58 others
    assert np.nanmax(many) > np.nanmax(found)


def test_rows_without_a_distance_are_no_outliers():
    data = dataset()
    data.X[5] = 0
    assert data.ids[5] not in {each.id for each in module._outliers(data).values()}
    assert module._outliers(replace(data, X=np.zeros_like(data.X))) == {}


def test_images_all_alike_are_no_outliers():
    data = dataset()
    data.X[:] = data.X[0]
    assert module._outliers(data) == {}


def test_an_image_is_at_fault_in_one_row_and_scores_order_each_part(run):
    data, _ = flipped(dataset(signal=1.5), 12)
    data.X[7] *= np.random.default_rng(2).gamma(0.05, size=data.X.shape[1])
    findings = run(data).findings
    assert findings
    ids = [each.id for each in findings]
    assert len(ids) == len(set(ids))
    scores = [each.score for each in findings if each.kind != "near-duplicate"]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_the_same_again_and_by_two_jobs(run):
    data, _ = flipped(dataset(signal=1.0), 10)
    first = run(data).to_dict()
    assert run(data).to_dict() == first
    assert run(data, n_jobs=2).to_dict() == first


def test_nothing_of_the_data_is_changed(run):
    data, _ = flipped(dataset(), 5)
    X, y = data.X.copy(), data.y.copy()
    run(data)
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)


def test_progress_counts_folds(run):
    seen = []
    run(dataset(), cv=4, head="logreg", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": "nohead"}, ParameterError, "there are: "),
        ({"head": "tests.unit.test_benchmark:Blind"}, ParameterError, "no probabilities"),
        ({"output": "rows.xlsx"}, ParameterError, r"ending in \.csv or \.json"),
        ({"output": "nowhere/rows.csv"}, ParameterError, "in no folder"),
        ({"cv": 50}, DatasetError, "50 folds need"),
        ({"cv": 1}, ParameterError, "2 folds or more"),
    ],
)
def test_what_can_not_be_done_is_said(run, options, error, message):
    with pytest.raises(error, match=message):
        run(dataset(), **options)


def test_labels_that_are_read_are_not_replaced(run, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\n")
    with pytest.raises(ParameterError, match="would replace"):
        run(dataset(), labels=labels, output=tmp_path / "." / "labels.csv")
    assert labels.read_text() == "id,label\n"


def result_with(*findings) -> Audit:
    return Audit("x.h5", "x.avg", "none", 9, "rbf-svm", 0.9, list(findings))


def test_csv_and_json_hold_every_row(tmp_path):
    result = result_with(
        Finding("near-duplicate", 'a/"ü",1.png', "a", "b/2.png", 1.0, "in train, but"),
        Finding("outlier", "a/3.png", "a", None, 0.6, "far"),
    )
    result.write_csv(tmp_path / "x.csv")
    result.write_json(tmp_path / "x.json")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["kind", "id", "label", "other", "score", "reason"]
    assert [(row["id"], row["other"]) for row in rows] == [
        ('a/"ü",1.png', "b/2.png"),
        ("a/3.png", ""),
    ]
    facts = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert facts == result.to_dict()
    assert facts["counts"] == {"near-duplicate": 1, "label": 0, "outlier": 1}
    assert facts["findings"][1]["other"] is None


# ---- with files, by the command


@pytest.fixture
def file(photos, tmp_path):
    """A photo of each class in the other's folder, and one in both, in twenty a class."""
    for label, channel in (("blue", 2), ("red", 0)):
        for number in range(8):
            random = np.random.default_rng([channel, number, 1])
            pixels = random.integers(0, 160, (16, 20, 3), np.uint8)
            pixels[..., channel] += np.uint8(60)
            Image.fromarray(pixels).save(photos / label / f"more{number}.png")
    (photos / "red" / "red03.png").rename(photos / "blue" / "wrong.png")
    shutil.copy(photos / "red" / "red01.png", photos / "blue" / "copy.png")
    path = tmp_path / "photos.h5"
    extract(photos, path, backbone="pixels", size=16, pools=["flatten"])
    return path


def command(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_command_lists_the_planted_ones(file, tmp_path):
    before = file.read_bytes()
    result = command(file, "-o", tmp_path / "rows.csv")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    body = lines[lines.index(next(line for line in lines if line.startswith("---"))) + 1 :]
    assert body[0].split()[:3] == ["near-duplicate", "blue/copy.png", "1.000"]
    assert "the same file is red/red01.png" in body[0]
    assert body[1].split()[:2] == ["label", "blue/wrong.png"]
    assert "Nothing was changed" in result.stdout
    assert "1 near-duplicate, 1 label" in result.stdout
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(newline="")))
    assert [row["id"] for row in rows[:2]] == ["blue/copy.png", "blue/wrong.png"]
    assert file.read_bytes() == before


def test_top_limits_the_table_and_not_the_output(file, tmp_path):
    result = command(file, "--top", 1, "-o", tmp_path / "rows.json")
    facts = json.loads((tmp_path / "rows.json").read_text())
    count = len(facts["findings"])
    assert count >= 2
    assert f"and {count - 1} more" in result.stdout
    assert "wrong.png" not in result.stdout
    printed = json.loads(command(file, "--json", "--top", 1).stdout)
    assert printed == facts


def test_labels_from_a_csv_are_what_is_judged(file, tmp_path):
    from tlfeatures import load_dataset

    labels = tmp_path / "labels.csv"
    truth = {"blue/wrong.png": "red", "blue/copy.png": "red"}
    lines = [f"{id_},{truth.get(id_, id_.split('/')[0])}" for id_ in load_dataset(file).ids]
    labels.write_text("id,label\n" + "\n".join(lines) + "\n")
    facts = json.loads(command(file, "--labels", labels, "--json").stdout)
    assert not {each["id"] for each in facts["findings"]} & set(truth)


def test_help_and_errors(file, tmp_path):
    assert command("--help").stdout.startswith("Usage: main audit")
    for arguments, message in (
        ((file, "-o", "rows.xlsx"), ".csv or .json"),
        ((file, "--head", "nohead"), "there are: "),
        ((tmp_path / "no.h5",), "tlfeatures extract"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stdout == ""


def test_it_loads_no_tensorflow_and_prints_nothing_else(file):
    program = (
        "import sys; from tlfeatures.auditing import audit; audit(sys.argv[1], head='logreg'); "
        "print([name for name in ('tensorflow', 'torch', 'keras') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_an_audit_survives_json(photos, tmp_path):
    extract(photos, tmp_path / "a.h5", backbone="pixels", size=16)
    found = audit(tmp_path / "a.h5")
    assert Audit.from_dict(json.loads(json.dumps(found.to_dict()))) == found
