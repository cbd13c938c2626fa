"""Embeddings side by side: A+B is one embedding wherever one is named."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands.joined import check_refusals, of_length_1, table_of
from tests.unit.data import dataset
from tests.unit.exported import random_vgg16, vgg16_rows
from tlfeatures import (
    Model,
    audit,
    benchmark,
    cross_validate,
    describe,
    export,
    extract,
    fit,
    learning_curve,
    load_benchmark,
    load_dataset,
    make_head,
    report,
)
from tlfeatures.cli import main
from tlfeatures.errors import ModelError, ParameterError, TlfeaturesError
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.combined import join, parts_of
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.features.file.reader import open_embeddings
from tlfeatures.models.evaluate import evaluate
from tlfeatures.reports.benchmark_analyses import Analyses

BOTH = "grid4.flatten+grid8.avg"


@pytest.fixture
def file(photos, tmp_path):
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4", "grid8"]}
    extract(photos, tmp_path / "a.h5", pools=["avg", "flatten"], **settings)
    return tmp_path / "a.h5"


@pytest.fixture
def model(file):
    return Model.fit(make_head("logreg"), load_dataset(file, BOTH), name="logreg")


# ---- the rows


def test_each_part_has_length_1_and_its_own_columns(file):
    data = load_dataset(file, BOTH)
    assert (data.embedding, data.X.dtype, data.X.shape) == (BOTH, np.float32, (24, 51))
    left, right = (load_dataset(file, part).X for part in parts_of(BOTH))
    np.testing.assert_allclose(data.X[:, :48], of_length_1(left), rtol=1e-6)
    np.testing.assert_allclose(data.X[:, 48:], of_length_1(right), rtol=1e-6)


def test_columns_follow_the_order_of_the_names(file):
    data, other = (load_dataset(file, name) for name in (BOTH, "grid8.avg+grid4.flatten"))
    np.testing.assert_array_equal(np.roll(data.X, 3, axis=1), other.X)
    three = load_dataset(file, "grid8.flatten+grid8.avg+grid4.avg").X
    assert three.shape == (24, 198)
    np.testing.assert_allclose((three.astype(float) ** 2).sum(axis=1), 3, rtol=1e-5)


def test_a_plain_embedding_is_given_as_it_is(file):
    rows = np.array([[3, 4]], np.float32)
    assert join({"a.avg": rows}, "a.avg") is rows
    with open_embeddings(file) as reader:
        np.testing.assert_array_equal(load_dataset(file, "grid8.avg").X, reader.read("grid8.avg"))


def test_a_row_of_zeros_stays_one():
    rows = {"a": np.zeros((3, 2), np.float32), "b": np.ones((3, 4), np.float32)}
    rows["b"][1] = 0
    with np.errstate(all="raise"):
        joined = join(rows, "a+b")
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, [[0, 0, *[0.5] * 4], [0] * 6, [0, 0, *[0.5] * 4]])


numbers = st.floats(-1e3, 1e3, width=32)
rows_of = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(rows=rows_of, power=st.integers(-30, 30), factor=st.floats(0.001, 1000))
def test_the_size_of_the_numbers_does_not_count(rows, power, factor):
    left = np.array(rows, np.float32)
    left[np.abs(left) < 1e-3] = 0  # what follows is of numbers that float32 holds in full
    right = left[:, ::-1] + np.float32(1)
    expected = join({"a": left, "b": right}, "a+b")
    twofold = {"a": np.ldexp(left, power), "b": np.ldexp(right, -power)}
    np.testing.assert_array_equal(join(twofold, "a+b"), expected)
    scaled = {"a": left * np.float32(factor), "b": right}
    np.testing.assert_allclose(join(scaled, "a+b"), expected, atol=1e-6)
    lengths = np.linalg.norm(expected[:, :3].astype(float), axis=1)
    np.testing.assert_allclose(lengths, left.any(axis=1), atol=1e-6)


def test_very_large_and_very_small_numbers_have_a_length():
    rows = np.array([[3e38, 3e38], [1e-40, 0]], np.float32)
    joined = join({"a": rows, "b": rows}, "a+b")
    np.testing.assert_allclose(joined[:, :2], [[0.5**0.5] * 2, [1, 0]], rtol=1e-6)


def test_variants_are_joined_as_the_images_are(photos, tmp_path):
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4.flatten", "grid8.avg"]}
    extract(photos, tmp_path / "v.h5", augment=2, **settings)
    data = load_dataset(tmp_path / "v.h5", BOTH)
    parts = {part: load_dataset(tmp_path / "v.h5", part).variants for part in parts_of(BOTH)}
    assert data.variants.shape == (24, 2, 51)
    for number in range(2):
        expected = join({part: rows[:, number] for part, rows in parts.items()}, BOTH)
        np.testing.assert_array_equal(data.variants[:, number], expected)


# ---- what it can't be

WRONG = {
    "grid8.avg+grid8.avg": "several different ones",
    "grid8.avg+": "several different ones",
    "+grid8.avg": "several different ones",
    "grid8.avg++grid4.avg": "several different ones",
    "grid8.avg+grid9.avg": "no embedding of .* 'grid9.avg'; there are: ",
    "grid8.avg + grid4.avg": "no embedding of .* 'grid8.avg '",
}


@pytest.mark.parametrize("name", WRONG)
def test_names_that_are_wrong_are_one_line(file, name):
    works = (
        lambda: load_dataset(file, name),
        lambda: fit(file, embedding=name),
        lambda: benchmark(file, heads="dummy", embeddings=["grid8.avg", name]),
        lambda: learning_curve(file, embedding=name),
        lambda: audit(file, embedding=name),
    )
    check_refusals(works, [["fit", str(file), "--embedding", name]], WRONG[name])


def test_parts_in_two_files_are_not_put_together(photos, tmp_path):
    for name, layer in (("a.h5", "grid4"), ("b.h5", "grid8")):
        extract(photos, tmp_path / name, backbone="pixels", size=16, layers=[layer])
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    with pytest.raises(ParameterError, match=r"'grid4.avg\+grid8.avg'"):
        benchmark(files, heads="dummy", embeddings="grid4.avg+grid8.avg")


# ---- where it is named


def test_it_is_cross_validated_as_any_columns_are(file):
    data = load_dataset(file, BOTH)
    parts = {part: load_dataset(file, part).X for part in parts_of(BOTH)}
    by_hand = replace(load_dataset(file, "grid4.flatten"), X=join(parts, BOTH))
    ours, expected = (cross_validate(make_head("lda"), each) for each in (data, by_hand))
    np.testing.assert_array_equal(ours.fold, expected.fold)
    np.testing.assert_array_equal(ours.probabilities, expected.probabilities)


def test_fit_says_and_saves_it(file, tmp_path):
    made = fit(file, "logreg", embedding=BOTH, model=tmp_path / "m.model")
    assert made.to_dict()["embedding"] == BOTH
    facts = describe(tmp_path / "m.model")
    assert (facts["embedding"], facts["columns"]) == (BOTH, 51)
    card = (tmp_path / "m.model.md").read_text()
    assert all(part in card for part in parts_of(BOTH))
    result = CliRunner().invoke(main, ["info", str(tmp_path / "m.model")])
    assert f"embedding: {BOTH}" in result.stdout


def test_a_benchmark_ranks_it_with_its_parts(file, tmp_path):
    options = {"heads": "logreg", "out": tmp_path / "out", "n_jobs": 1}
    wanted = [*parts_of(BOTH), BOTH]
    result = benchmark(file, embeddings=wanted, **options)
    assert {rank.embedding for rank in result.comparison.ranking} == set(wanted)
    again = benchmark(file, embeddings=["all", BOTH, BOTH], **options)
    assert again.computed == 2
    assert len(again.comparison.ranking) == 5
    alone = cross_validate(make_head("logreg"), load_dataset(file, BOTH))
    (entry,) = (each for each in again.entries if each.facts["embedding"] == BOTH)
    np.testing.assert_array_equal(entry.probabilities, alone.probabilities)


def test_of_several_files_those_that_have_the_parts_give_it(file, photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=15, layers=["grid4"])
    files, wanted = [file, tmp_path / "b.h5"], ["grid4.avg", BOTH]
    result = benchmark(files, heads="dummy", embeddings=wanted, n_jobs=1)
    found = sorted((entry.facts["file"], entry.facts["embedding"]) for entry in result.entries)
    a, b = str(file), str(tmp_path / "b.h5")
    assert found == [(a, "grid4.avg"), (a, BOTH), (b, "grid4.avg")]


@pytest.mark.slow
def test_pages_and_analyses_load_it_again(file, tmp_path):
    options = {"params": {"epochs": 3, "steps": 1}, "cv": 3, "n_jobs": 1}
    benchmark(file, heads="mlp", embeddings=BOTH, out=tmp_path / "out", **options)
    report(tmp_path / "out", tmp_path / "page.html", n_jobs=1)
    html = (tmp_path / "page.html").read_text()
    assert BOTH in html
    for part in ("more-images", "epochs", "map", "audit"):
        assert f'<section id="{part}"' in html
    found = load_benchmark(tmp_path / "out")
    loaded = Analyses(found).dataset(found.comparison.ranking[0])
    np.testing.assert_array_equal(loaded.X, load_dataset(file, BOTH).X)


def test_curve_and_audit_take_it(file):
    curve = learning_curve(file, embedding=BOTH, sizes=[5], cv=3, n_jobs=1)
    assert curve.embedding == BOTH
    assert curve.points[-1].accuracy > 0.9
    assert audit(file, embedding=BOTH, cv=3, n_jobs=1).embedding == BOTH


@pytest.mark.slow
def test_the_commands(file, photos, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    model, page = tmp_path / "m.model", tmp_path / "page.html"
    text = run(
        "fit", file, "--embedding", BOTH, "--cv", 3, "--n-jobs", 1, "-o", model, "--report", page
    )
    assert BOTH in text
    assert page.exists()
    lines = [json.loads(line) for line in run("predict", model, photos, "--json").splitlines()]
    assert lines
    facts = json.loads(
        run("benchmark", file, "--heads", "dummy", "--embedding", BOTH, "--n-jobs", 1, "--json")
    )
    assert [rank["embedding"] for rank in facts["ranking"]] == [BOTH]


# ---- from image files


def test_image_files_get_what_their_rows_in_the_file_get(model, file, photos, tmp_path):
    model.save(tmp_path / "m.model")
    loaded, data = Model.load(tmp_path / "m.model"), load_dataset(file, BOTH)
    paths = [str(photos / id_) for id_ in data.ids]
    for predictions in (
        loaded.predict(photos),
        loaded.predict(paths, batch_size=5),
        loaded.predict_stream(iter(paths)),
    ):
        made = list(predictions)
        assert [each.path for each in made] == paths
        expected = model.predict_proba(data.X)
        np.testing.assert_allclose(table_of(model, made), expected, rtol=1e-5)


def test_a_folder_and_a_file_are_evaluated_alike(file, photos, tmp_path):
    old = {id_: id_[:3] for id_ in load_dataset(file, "grid8.avg").ids[::2]}
    options = {"labels": old, "near_duplicates": None, "cv": 3}
    fit(file, "logreg", embedding=BOTH, model=tmp_path / "m.model", **options)
    labels = {id_: id_[:3] for id_ in load_dataset(file, "grid8.avg").ids}
    by_folder, by_file = (
        evaluate(tmp_path / "m.model", source, labels=labels) for source in (photos, file)
    )
    assert (by_file.embedding, by_file.seen, by_file.tested) == (BOTH, 12, 12)
    assert by_folder.tested == 12
    for name, score in by_file.scores.items():
        assert by_folder.scores[name]["score"] == pytest.approx(score["score"], rel=1e-5)


def test_a_file_without_a_part_can_not_be_evaluated(model, photos, tmp_path):
    extract(photos, tmp_path / "b.h5", backbone="pixels", size=16, layers=["grid8"])
    with pytest.raises(ParameterError, match=r"no embedding of .* 'grid4.flatten'"):
        model.evaluate(tmp_path / "b.h5")


def test_damaged_models_are_refused(model, photos, tmp_path):
    for name in ("grid4.flatten", "grid4.flatten+grid8.max+grid8.avg", "grid4.avg+grid8.avg"):
        with pytest.raises(ModelError, match="damaged"):
            list(replace(model, embedding=name).predict(photos))
    for name in ("grid4.flatten+", "grid4.flatten+grid4.flatten"):
        broken = replace(model, embedding=name)
        for work in (lambda b: b.predict(photos), lambda b: export(b, tmp_path / "m.onnx")):
            with pytest.raises(TlfeaturesError):
                work(broken)
    with pytest.raises(TlfeaturesError):
        list(replace(model, embedding="grid4.flatten+nowhere.avg").predict(photos))
    assert not (tmp_path / "m.onnx").exists()


# ---- as an ONNX file


def test_the_graph_gives_what_predict_gives(model, photos, tmp_path):
    found = export(model, tmp_path / "m.onnx", check=photos).check
    assert (found.images, found.labels_differ, found.passed) == (24, 0, True)
    assert found.largest_difference < 1e-5


def test_a_black_image_is_zeros_in_the_graph_too(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    images[2], images[3] = 0, 0
    images[3, 0, 0, 0] = 1  # nearly
    export(model, tmp_path / "m.onnx")
    table, _ = session(tmp_path / "m.onnx").run(None, {"images": images})
    rows = join(PixelBackbone(parts_of(BOTH)).embed(images), BOTH)
    assert not rows[2].any()
    np.testing.assert_allclose(table, model.predict_proba(rows), atol=1e-5)


@pytest.fixture(scope="module")
def vgg16():
    return random_vgg16()


@pytest.mark.parametrize(
    "embedding",
    [
        pytest.param("block1_pool.avg+block2_pool.avg", marks=pytest.mark.long),
        "block3_conv2.max+block1_conv1.avg+block3_conv2.avg",  # the deeper one first, and twice
        "flatten.none+block5_conv3.avg",
    ],
)
@pytest.mark.slow
def test_one_pass_of_vgg16_gives_all_parts(vgg16, embedding):
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    parts = {part: vgg16_rows(vgg16, part, images) for part in parts_of(embedding)}
    expected = join(parts, embedding)
    found = vgg16_rows(vgg16, embedding, images)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_head_on_vgg16_side_by_side(vgg16, tmp_path):
    name = "block1_pool.avg+block3_pool.max"
    images = np.random.default_rng(2).integers(0, 256, (20, 32, 32, 3), np.uint8)
    images[1::2] //= 2
    X = join({part: vgg16_rows(vgg16, part, images) for part in parts_of(name)}, name)
    data = dataset(n=20, X=X, embedding=name, spec=vgg16)
    model = Model.fit(make_head("logreg"), data)
    export(model, tmp_path / "m.onnx")
    table, labels = session(tmp_path / "m.onnx").run(None, {"images": images})
    expected = model.predict_proba(X)
    np.testing.assert_allclose(table, expected, atol=1e-4)
    assert labels.tolist() == [model.classes[i] for i in expected.argmax(axis=1)]
