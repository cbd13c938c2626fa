"""Controls: what simple rules reach on the same folds, and what the verdict says of them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.honesty import permuted as permuted_labels
from benchmarks.honesty import shortcut
from tests.unit.data import augmented, dataset, run_benchmark
from tests.unit.drawings import rank_of, ranking_of
from tlfeatures import Dataset, fit, load_benchmark, report
from tlfeatures.benchmarking import controls
from tlfeatures.benchmarking.control import COLOURS, FILE, LARGEST, PERMUTED, Control
from tlfeatures.benchmarking.verdict.controls import cautions
from tlfeatures.dataset.samples import sampled_rows
from tlfeatures.features.images.properties import FILE_PROPERTIES, PROPERTIES
from tlfeatures.terminal.benchmark_text import render_benchmark

NAMES = [LARGEST, COLOURS, FILE, PERMUTED]


def with_properties(n=120, classes="ab", signal=1.5, giveaways=(), seed=0, **fields) -> Dataset:
    """As `dataset`, with properties: honest ones, except that `giveaways` tell the classes."""
    data = dataset(n, classes=classes, signal=signal, **fields)
    random = np.random.default_rng(seed)
    properties = random.random((n, len(PROPERTIES))).astype(np.float32)
    honest = {"bytes": 9000, "width": 150, "height": 150, "jpeg_quantization": 5.8, "jpeg": 1}
    for name, value in honest.items():
        properties[:, PROPERTIES.index(name)] = value
    properties[:, PROPERTIES.index("png")] = 0
    properties[:, PROPERTIES.index("bytes")] += random.integers(0, 3000, n)
    for name in giveaways:
        properties[data.y == classes[0], PROPERTIES.index(name)] += 5000 if name == "bytes" else 7
    return replace(data, properties=properties)


def by_name(result):
    comparison = getattr(result, "benchmark", result).comparison
    return {control.name: control for control in comparison.controls}


@pytest.fixture(scope="module")
def honest():
    return fit(with_properties(signal=4), "logreg")


def test_a_good_head_beats_all_controls_and_the_verdict_does_not_mention_them(honest):
    found = by_name(honest)
    assert list(found) == NAMES
    assert all(control.beaten for control in found.values())
    assert found[LARGEST].score == 0.5
    for name in NAMES[1:]:
        low, high = found[name].interval
        assert low < 0.5 < high
    assert not any("Caution" in line for line in honest.verdict)


def test_colours_that_are_enough_come_first():
    found = fit(with_properties(giveaways=PROPERTIES[FILE_PROPERTIES:]), "logreg")
    assert found.verdict[0].startswith("Caution: colours alone, without shapes, tell the classes")
    assert "100.0 %" in found.verdict[0]
    assert not by_name(found)[COLOURS].beaten


def test_sizes_of_files_that_are_enough_come_first_but_no_class_is_named():
    found = fit(with_properties(giveaways=["bytes"]), "logreg")
    assert found.verdict[0].startswith("Caution: the size, width and height of the files alone")
    assert by_name(found)[FILE].classes == []  # texture decides on the size, too


@pytest.mark.parametrize("name", ["width", "height", "jpeg_quantization"])
def test_files_of_another_kind_are_named_though_the_head_is_good(name):
    data = with_properties(200, signal=8, giveaways=[name])
    found = fit(data, "logreg")
    assert found.verdict[0].startswith("Caution: the files of a and b differ")
    assert by_name(found)[FILE].classes == ["a", "b"]
    assert "100 % of the images of" in found.verdict[0]


def test_only_the_class_whose_files_are_of_another_kind_is_named():
    found = fit(with_properties(180, classes="abc", signal=4, giveaways=["width"]), "logreg")
    control = by_name(found)[FILE]
    assert control.classes == ["a"]
    assert control.evidence == [
        "100 % of the images of a are 157 pixels wide, and 0 % of the other images"
    ]
    assert "the files of a differ from the files of the other classes" in found.verdict[0]


def test_few_images_name_no_class():
    found = fit(with_properties(18, signal=8, giveaways=["width"]), "logreg", cv=3)
    assert by_name(found)[FILE].classes == []


def sites(count, n=240):
    return np.array([f"site {number}" for number in np.arange(n) * count // n])


def test_a_dozen_groups_are_enough_to_beat_controls():
    found = fit(with_properties(240, signal=4, groups=sites(12)), "logreg")
    assert [by_name(found)[name].beaten for name in (COLOURS, FILE)] == [True, True]
    assert not any("Caution" in line for line in found.verdict)


def test_with_few_groups_a_control_is_named_only_if_it_is_as_good_as_the_head():
    alike = with_properties(240, groups=sites(3), giveaways=PROPERTIES[FILE_PROPERTIES:])
    found = fit(alike, "logreg", cv=3)
    assert by_name(found)[COLOURS].interval is None
    assert found.verdict[0].startswith("Caution: colours alone")
    better = fit(with_properties(240, signal=4, groups=sites(3)), "logreg", cv=3)
    assert not any("Caution" in line for line in better.verdict)


def test_a_sample_of_few_groups_has_no_interval(monkeypatch):
    monkeypatch.setattr(controls, "MOST_IMAGES", 120)
    found = fit(with_properties(240, groups=sites(3)), "logreg", cv=3)
    assert all(control.interval is None for control in by_name(found).values())


def test_without_image_files_it_says_why():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), ["a", "b"] * 20
    found = by_name(fit(Dataset.from_arrays(X, y), "logreg"))
    assert found[COLOURS].reason == "imported embeddings have no image files"
    assert found[FILE].score is None
    assert found[PERMUTED].reason is None


def test_unknown_properties_are_a_reason():
    data = with_properties(40)
    data.properties[:10] = np.nan
    assert by_name(fit(data, "logreg"))[FILE].reason == (
        "the properties of 25 % of the images are unknown"
    )


# ---- permuted labels


def test_groups_of_one_class_exchange_labels_as_wholes():
    groups = np.arange(60) // 3
    y = np.where(groups < 10, "a", "b")
    shuffled = controls.permuted(y, groups, 0)
    assert all(len(set(shuffled[groups == group])) == 1 for group in range(20))
    assert sorted(shuffled) == sorted(y)
    assert (shuffled != y).any()


def test_groups_of_several_classes_keep_their_numbers_of_labels():
    y, groups = np.array(["a", "b", "b", "b"] * 15), np.arange(60) // 12
    shuffled = controls.permuted(y, groups, 0)
    for group in range(5):
        assert sorted(shuffled[groups == group]) == sorted(y[groups == group])
    assert (shuffled != y).any()


def test_permuted_labels_above_guessing_are_a_leak():
    control = Control(PERMUTED, "", 0.9, [0.85, 0.94], 0.9, 100, beaten=False)
    comparison = ranking_of(rank_of("logreg", 0.95, best=True, p=None))
    (sentence,) = cautions(replace(comparison, controls=[control]))
    assert "trained on shuffled labels has an accuracy of 90.0 %" in sentence
    near = replace(control, score=0.58, interval=[0.51, 0.65])
    assert cautions(replace(comparison, controls=[near])) == []


def test_permuted_labels_are_no_better_than_guessing():
    found = permuted_labels.verdicts(dataset(200, signal=3), 4, images=60, heads=("logreg", "knn"))
    assert sum(permuted_labels.GUESSING in verdict for verdict in found) >= 3
    assert not any("Caution" in verdict for verdict in found)


@pytest.mark.slow
def test_shuffled_labels_that_no_head_can_be_fitted_on_have_a_reason_without_advice():
    data = dataset(60, signal=3)
    data = replace(data, y=np.where(np.arange(60) < 3, "rare", data.y))
    results = [run_benchmark(data, heads=["ridge"], cv=3, random_state=seed) for seed in range(8)]
    reasons = {by_name(result)[PERMUTED].reason for result in results} - {None}
    assert len(reasons) == 1
    assert "ridge can't be fitted on shuffled labels" in reasons.pop()


def test_a_sample_without_a_tested_image_has_no_controls_but_a_result(monkeypatch):
    monkeypatch.setattr(controls, "MOST_IMAGES", 20)
    data = with_properties(300, signal=4)
    rows = sampled_rows(data.y, data.together, 20)
    split = np.full(300, "train")
    split[np.setdiff1d(np.arange(300), rows)[:20]] = "test"
    found = by_name(fit(replace(data, split=split), "logreg"))
    assert found[LARGEST].score is not None
    reason = f"a sample of {len(rows)} of the 300 images has no fold with training and tested"
    assert all(found[name].reason.startswith(reason) for name in (COLOURS, FILE, PERMUTED))


# ---- kinds of runs


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (with_properties(groups=np.array([f"g{i // 4}" for i in range(120)])), {}),
        (with_properties(split=np.array((["train"] * 2 + ["val"]) * 40)), {}),
        (with_properties(), {"tune": True}),
        (with_properties(), {"cv": 3, "scoring": "roc_auc"}),
        (replace(augmented(60), properties=with_properties(60).properties), {}),
    ],
    ids=["groups", "split", "tuned", "another score", "variants"],
)
def test_every_run_has_controls(data, options):
    found = fit(data, "knn", **options)
    tested = found.benchmark.study.facts["tested"]
    assert list(by_name(found)) == NAMES
    for control in by_name(found).values():
        assert control.reason is None
        assert control.images == tested
    assert by_name(fit(data, "knn", **options)) == by_name(found)


def test_repeats_and_workers_change_no_control(client):
    data = with_properties(60)
    once = by_name(run_benchmark(data, heads="logreg"))
    again = by_name(run_benchmark(data, heads="logreg", cluster=client))
    assert again == once
    repeated = by_name(run_benchmark(data, heads="logreg", repeats=2))
    assert [control.score for control in repeated.values()] == [c.score for c in once.values()]


def test_of_very_many_images_a_sample_is_tested(monkeypatch):
    monkeypatch.setattr(controls, "MOST_IMAGES", 60)
    found = run_benchmark(with_properties(signal=4), heads="logreg")
    assert {control.images for control in by_name(found).values()} == {60, 120}
    assert all(control.beaten for control in by_name(found).values())
    assert "A sample of 60 of 120 tested images" in " ".join(render_benchmark(found).split())


# ---- the folder of a benchmark


def test_a_folder_keeps_controls_and_computes_none_again(tmp_path, monkeypatch):
    data = with_properties(60, signal=4)
    first = run_benchmark(data, heads="logreg", out=tmp_path / "out")
    assert load_benchmark(tmp_path / "out").comparison == first.comparison

    def refuse(*arguments, **options):
        raise AssertionError("was computed again")

    monkeypatch.setattr(controls, "out_of_fold", refuse)
    monkeypatch.setattr(controls, "fit_and_score", refuse)
    again = run_benchmark(data, heads="logreg", out=tmp_path / "out")
    assert by_name(again) == by_name(first)
    # A run without properties keeps those of a run that had them.
    without = run_benchmark(replace(data, properties=None), heads="logreg", out=tmp_path / "out")
    assert by_name(without) == by_name(first)


def test_another_best_head_is_compared_with_the_controls(tmp_path):
    data = with_properties(60, signal=4)
    dummy = run_benchmark(data, heads="dummy", out=tmp_path / "out")
    assert not any(control.beaten for control in by_name(dummy).values())
    better = run_benchmark(data, heads="logreg", out=tmp_path / "out")
    assert all(control.beaten for control in by_name(better).values())


# ---- where they are shown


def test_text_notebook_card_and_page_show_them(flatten_file, tmp_path):
    found = fit(flatten_file, "logreg", model=tmp_path / "m.model")
    card = (tmp_path / "m.model.md").read_text()
    page = tmp_path / "page.html"
    report(found, page, without=["audit", "learning-curve", "map", "images"])
    shown = found._repr_html_(), card, page.read_text(), render_benchmark(found.benchmark)
    for control in by_name(found).values():
        assert control.reason is None
        assert all(control.name in text for text in shown)
    assert [control["name"] for control in found.to_dict()["controls"]] == NAMES
    assert 'id="controls"' in page.read_text()


# ---- real JPEGs


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jpegs")
    random = np.random.default_rng(0)
    for label, mean in (("bright", 150), ("dark", 100)):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(30):
            pixels = random.normal(mean, 50, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            path = folder / "photos" / label / f"{number}.jpg"
            Image.fromarray(pixels).save(path, quality=95)
    return folder


@pytest.mark.parametrize("how", ["saved at JPEG quality 75", "saved as PNG", "2 pixels smaller"])
def test_a_class_that_was_saved_in_another_way_is_named(jpegs, tmp_path, how):
    honest = shortcut.embedded(jpegs / "photos", tmp_path / "honest.h5", None)
    altered = shortcut.embedded(jpegs / "photos", tmp_path / "a.h5", shortcut.ALTERATIONS[how])
    assert all(shortcut.named(honest, altered, 4, images=60))
    assert not any(shortcut.named(honest, honest, 4, images=60))
    verdict = fit(shortcut.mixed(honest, altered, 0, images=60), "logreg").verdict
    assert verdict[0].startswith("Caution: the files of bright and dark differ")


@pytest.mark.long
def test_permuted_labels_of_many_draws_are_no_better_than_guessing():
    data = dataset(400, d=40, signal=3)
    found = permuted_labels.verdicts(data, 100, images=120)
    assert sum(permuted_labels.GUESSING in verdict for verdict in found) >= 95
    assert sum("Caution" in verdict for verdict in found) <= 2


@pytest.mark.reference
def test_only_altered_classes_of_real_images_are_named(data, tmp_path):
    honest = shortcut.embedded(data / "intel", tmp_path / "honest.h5", None)
    how = shortcut.ALTERATIONS["saved at JPEG quality 90"]
    altered = shortcut.embedded(data / "intel", tmp_path / "altered.h5", how)
    assert sum(map(bool, shortcut.named(honest, altered, 50))) >= 49
    assert sum(map(bool, shortcut.named(honest, honest, 50))) <= 1
