"""A model as one ONNX file: the same probabilities, facts beside them, and what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier
from sklearn.preprocessing import FunctionTransformer

from tests.integration.test_imports import loaded_by
from tests.unit.data import SPEC, dataset
from tlfeatures import HEADS, Model, classifiers, export, make_head
from tlfeatures.cli import main
from tlfeatures.errors import ModelError, ParameterError, SourceError, WeightsError
from tlfeatures.exporting import check
from tlfeatures.exporting.backbones import add_backbone
from tlfeatures.exporting.converter import Converter
from tlfeatures.exporting.runtime import session
from tlfeatures.features.onnx_graph import Graph
from tlfeatures.features.pixels import PixelBackbone
from tlfeatures.features.plan import Settings, make_spec
from tlfeatures.features.weights import load_weights

SIZE = (50, 67)  # large enough that new colours seldom fall on the edge of a tree
SPECIFIED = replace(SPEC, size=SIZE, preprocessing="divided by 255")
NAMES = ["ant", "bee", "cow", "dog"]


def pictures(count, seed=0):
    """Noise, brighter by the class; of SIZE."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 150, (count, *SIZE, 3), np.uint8)
    return noise + (np.arange(count) % 4 * 25).astype(np.uint8)[:, None, None, None]


def data_of(classes, embedding="grid4.flatten"):
    X = PixelBackbone([embedding]).embed(pictures(60))[embedding]
    y = np.array(NAMES)[np.arange(60) % classes]
    return dataset(n=60, X=X, y=y, embedding=embedding, spec=SPECIFIED)


def model_of(head, classes=2, embedding="grid4.flatten", name=None):
    made = make_head(head) if isinstance(head, str) else head
    return Model.fit(made, data_of(classes, embedding), name=name)


def both(model, folder, count=40):
    """Probabilities and labels of the file, and the probabilities of the model."""
    images = pictures(count, seed=1)
    export(model, folder / "m.onnx")
    table, labels = session(folder / "m.onnx").run(None, {"images": images})
    rows = PixelBackbone([model.embedding]).embed(images)[model.embedding]
    return table, labels, model.predict_proba(rows)


def assert_same(model, folder):
    table, labels, expected = both(model, folder)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, atol=1e-4)
    assert labels.tolist() == [model.classes[i] for i in expected.argmax(axis=1)]


# ---- heads


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_gives_the_same_probabilities(name, classes, tmp_path):
    assert_same(model_of(name, classes), tmp_path)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["rbf-svm", "gradient-boosting", "knn"])
def test_all_coordinates_and_the_distance_from_them(name, classes, tmp_path):
    few = make_head(name, n_components=None)
    model = model_of(few, classes, embedding="grid8.flatten")  # more columns than rows
    assert model.head[0].components_.shape[0] < model.info["columns"]
    assert_same(model, tmp_path)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ["rbf-svm", "linear-svm"])
def test_a_machine_too_large_for_its_kernel_matrix(name, classes, tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "LARGEST_KERNEL", 10)
    data = data_of(classes)
    head = make_head(name).fit(data.X, data.y)
    assert not head[-1].precomputed_
    assert_same(replace(model_of("dummy", classes), head=head), tmp_path)


@pytest.mark.parametrize("name", ["logreg", "rbf-svm", "ridge", "knn"])
def test_class_weights_are_in_it(name, tmp_path):
    assert_same(model_of(make_head(name, class_weight={"ant": 3.0}), 3), tmp_path)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "name",
    [
        "sklearn.ensemble:ExtraTreesClassifier",
        "sklearn.ensemble:GradientBoostingClassifier",
        "sklearn.neighbors:KNeighborsClassifier",
        "sklearn.svm:LinearSVC",
        "sklearn.svm:NuSVC",
        "sklearn.linear_model:Perceptron",
        "sklearn.naive_bayes:GaussianNB",
        "sklearn.discriminant_analysis:LinearDiscriminantAnalysis",
    ],
)
def test_heads_of_scikit_learn(name, classes, tmp_path):
    assert_same(model_of(name, classes), tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        RandomForestClassifier(random_state=0),
        AdaBoostClassifier(random_state=0),  # skl2onnx's is right in float32 alone
        LinearDiscriminantAnalysis(),
        ExtraTreesClassifier(random_state=0),
    ],
)
def test_a_classifier_without_a_pipeline(head, tmp_path):
    assert_same(model_of(head), tmp_path)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("sklearn.semi_supervised:LabelPropagation", "LabelPropagation .* has a converter for it"),
        (DummyClassifier(strategy="stratified"), "draws labels at random"),
        ("sklearn.gaussian_process:GaussianProcessClassifier", "its conversion fails with"),
    ],
)
def test_a_head_that_cannot_be_exported_is_refused_with_the_reason(head, reason, tmp_path):
    with pytest.raises(ModelError, match=reason) as refused:
        export(model_of(head), tmp_path / "m.onnx")
    assert "can't be exported" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_transformer_of_ones_own_is_refused(tmp_path):
    head = make_head("logreg")
    head.steps.insert(0, ("own", FunctionTransformer(np.tanh)))
    with pytest.raises(ModelError, match="can't be exported"):
        export(model_of(head), tmp_path / "m.onnx")


def test_a_converter_that_is_wrong_is_found(tmp_path, monkeypatch):
    right = Converter._neighbors
    monkeypatch.setattr(
        Converter,
        "_neighbors",
        lambda self, knn, columns: self._graph.op("Sub", np.array(1.0), right(self, knn, columns)),
    )
    with pytest.raises(ModelError, match="probabilities are off by"):
        export(model_of("knn"), tmp_path / "m.onnx")


# ---- backbones


GRIDS = [f"{layer}.{pool}" for layer in ("grid4", "grid8") for pool in ("avg", "max", "flatten")]


@pytest.mark.parametrize("embedding", [*GRIDS, "mean.none"])
def test_colours_of_each_layer_and_pooling(embedding, tmp_path):
    assert_same(model_of("lda", embedding=embedding), tmp_path)


@pytest.mark.parametrize("count", [1, 5, 33])
def test_any_number_of_images(count, tmp_path):
    table, labels, expected = both(model_of("logreg", 3), tmp_path, count)
    assert table.shape == (count, 3)
    assert labels.shape == (count,)
    np.testing.assert_allclose(table, expected, atol=1e-4)


def vgg16_rows(spec, embedding, images):
    graph = Graph()
    rows = add_backbone(graph, "images", spec, embedding)
    model = graph.model(
        {"images": (np.uint8, ("n", *spec.size, 3))}, {"rows": (rows, np.float32, ("n", "d"))}
    )
    return session(model.SerializeToString()).run(None, {"images": images})[0]


@pytest.fixture(scope="module")
def random_vgg16():
    settings = Settings(weights="random", precision="float32")
    return make_spec(settings, "vgg16", (32, 40), ["block1_pool.flatten"], "cpu")


def test_the_first_convolution_written_out(random_vgg16):
    """Blue before red, means subtracted, then zeros around, a product, rectified."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3), np.uint8)
    kernel, bias = load_weights("random").tensors["block1_conv1"]
    centred = images[..., ::-1].astype(float) - [103.939, 116.779, 123.68]
    padded = np.pad(centred, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    features = np.maximum(np.einsum("nyxchw,hwco->nyxo", windows, kernel) + bias, 0)
    for pool, expected in (
        ("flatten", features.reshape(2, -1)),
        ("avg", features.mean(axis=(1, 2))),
        ("max", features.max(axis=(1, 2))),
    ):
        found = vgg16_rows(random_vgg16, f"block1_conv1.{pool}", images)
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_the_graph_ends_at_the_layer(random_vgg16):
    images = np.zeros((1, 32, 40, 3), np.uint8)
    for embedding, width in {
        "block1_pool.flatten": 16 * 20 * 64,
        "block3_conv2.max": 256,
        "flatten.none": 512,
    }.items():
        assert vgg16_rows(random_vgg16, embedding, images).shape == (1, width)


def test_other_weights_are_refused(random_vgg16):
    with pytest.raises(WeightsError, match="expected 00"):
        add_backbone(Graph(), "x", replace(random_vgg16, weights_sha256="00"), "block1_conv1.avg")


# ---- the file


@pytest.fixture
def model():
    return model_of("logreg", name="logreg")


def props(path):
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_it_says_what_it_is(model, tmp_path):
    result = export(model, tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    found = props(tmp_path / "m.onnx")
    assert (found["format"], found["format_version"]) == ("tlfeatures onnx", "1")
    assert json.loads(found["labels"]) == model.classes == ["ant", "bee"]
    assert json.loads(found["spec"]) == model.spec.to_dict()
    assert (found["embedding"], found["head"]) == (model.embedding, "logreg")
    assert json.loads(found["model"])["images"] == 60
    assert set(json.loads(found["versions"])) >= {"tlfeatures", "skl2onnx", "scikit-learn"}
    assert "(n, 50, 67, 3)" in made.doc_string
    assert model.spec.resize in made.doc_string
    assert result.bytes == (tmp_path / "m.onnx").stat().st_size
    assert json.loads(json.dumps(result.to_dict()))["classes"] == model.classes


def test_precision_of_the_model_and_of_the_graph(model, tmp_path):
    model = replace(model, spec=replace(model.spec, precision="bfloat16"))
    result = export(model, tmp_path / "m.onnx")
    assert (result.precision, result.model_precision) == ("float32", "bfloat16")
    found = props(tmp_path / "m.onnx")
    assert (found["precision"], found["model_precision"]) == ("float32", "bfloat16")


def test_the_same_model_gives_the_same_file(model, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export(model, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_model_file_is_exported_as_the_model_is(model, tmp_path):
    model.save(tmp_path / "m.model")
    export(tmp_path / "m.model", tmp_path / "a.onnx")
    export(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_damaged_model_is_not_written(model, tmp_path):
    for damaged in (
        replace(model, embedding="grid8.flatten"),
        replace(model, info={**model.info, "classes": ["ant"]}),
        replace(model, info={**model.info, "columns": 7}),
    ):
        with pytest.raises(ModelError, match=r"fit it again|can't be exported"):
            export(damaged, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


# ---- where it is written


def test_what_is_no_export_is_never_replaced(model, tmp_path):
    model.save(tmp_path / "m.model")
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "other", [], []))
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "empty.onnx").touch()
    for name, reason in {
        "m.model": "give another name",
        "foreign.onnx": "give another name",
        "empty.onnx": "give another name",
        ".": "is a folder",
        "nowhere/m.onnx": "make it first",
    }.items():
        before = content(tmp_path / name)
        with pytest.raises(ParameterError, match=reason):
            export(model, tmp_path / name)
        assert content(tmp_path / name) == before


def content(path: Path):
    return path.read_bytes() if path.is_file() else None


def test_an_export_is_replaced_also_through_a_link(model, tmp_path):
    export(model, tmp_path / "real.onnx")
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    export(model_of("dummy", name="dummy"), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert props(tmp_path / "real.onnx")["head"] == "dummy"


def test_a_disk_that_refuses_leaves_what_was_there(model, tmp_path, monkeypatch):
    export(model, tmp_path / "m.onnx")
    before = content(tmp_path / "m.onnx")

    def refuse(self, data):
        Path(self).touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ModelError, match="can't be written: No space left"):
        export(model_of("dummy"), tmp_path / "m.onnx")
    assert content(tmp_path / "m.onnx") == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("package", ["skl2onnx", "onnxruntime"])
def test_without_the_extra_it_says_how_to_get_it(package, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError) as refused:
        export(model, tmp_path / "m.onnx")
    expected = f"`tlfeatures export` needs {package}: pip install 'tlfeatures[onnx]'"
    assert str(refused.value) == expected


# ---- beside the model, and the command


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def saved(run, photos, tmp_path):
    options = ["--backbone", "pixels", "--size", 16, "--pool", "flatten"]
    assert run("extract", photos, "-o", tmp_path / "photos.h5", *options).exit_code == 0
    assert run("fit", tmp_path / "photos.h5", "-o", tmp_path / "m.model").exit_code == 0
    return tmp_path / "m.model"


def test_the_command(run, saved, photos, tmp_path):
    result = run("export", saved, "-o", tmp_path / "m.onnx", "--check", photos)
    assert result.exit_code == 0, result.output
    for words in ("takes images (n, 16, 16, 3)", "24 images beside", "0 labels differ", "speed"):
        assert words in result.stdout
    result = run("export", saved, "-o", tmp_path / "m.onnx", "--json")
    facts = json.loads(result.stdout)
    assert (facts["head"], facts["precision"], facts["check"]) == ("logreg", "float32", None)


def test_the_check_in_figures(saved, photos, tmp_path):
    (photos / "red" / "bad.png").write_text("text")
    found = export(saved, tmp_path / "m.onnx", check=[photos / "red", photos / "blue"]).check
    assert (found.images, found.labels_differ, found.passed) == (24, 0, True)
    assert 0 <= found.largest_difference < 1e-5
    assert found.own_precision == "float32"
    assert min(found.onnx_images_per_second, found.own_images_per_second) > 0
    assert [Path(path).name for path in found.failed] == ["bad.png"]


def test_exit_codes(run, saved, photos, tmp_path, monkeypatch):
    command = ["export", saved, "-o", tmp_path / "m.onnx", "--check", photos]
    assert run("export", saved, "-o", tmp_path).exit_code == 2
    (photos / "red" / "bad.png").write_text("text")
    result = run(*command)
    assert result.exit_code == 3
    assert "bad.png" in result.stderr
    monkeypatch.setattr(check, "LARGEST_DIFFERENCE", -1.0)
    result = run(*command)
    assert result.exit_code == 1
    assert "was not written" in result.stderr


def test_nothing_is_written_where_the_check_fails(saved, photos, tmp_path, monkeypatch):
    (tmp_path / "bad.png").write_text("text")
    target = tmp_path / "m.onnx"
    with pytest.raises(SourceError, match="can be read"):
        export(saved, target, check=tmp_path / "bad.png")
    assert not target.exists()
    export(saved, target)
    before = target.read_bytes()
    monkeypatch.setattr(check, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ModelError, match="not written"):
        export(saved, target, check=photos)
    assert target.read_bytes() == before


def test_what_the_command_loads(saved, tmp_path):
    assert loaded_by("export", "--help") == set()
    loaded = loaded_by("export", saved, "-o", tmp_path / "m.onnx")
    # skops imports all of scikit-learn, that Dask where it is installed, and that Jinja2.
    assert not {"tensorflow", "keras", "matplotlib", "distributed"} & loaded
