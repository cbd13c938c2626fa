"""A user's own ONNX file from `extract` to `predict`; its hash shows that it is the same file."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.pipeline import make_pipeline

from tests.fakes import assert_same, decode, rows_of
from tests.onnx_networks import (
    MEAN,
    SIZE,
    STD,
    constant,
    declare,
    engines_and_precisions,
    network,
    node,
    run_plainly,
)
from tlfeatures import Extractor, Model, benchmark, extract, load_dataset, make_head
from tlfeatures.cli import main
from tlfeatures.features.engines.choose import ENGINES
from tlfeatures.features.engines.load import _load_by_engine
from tlfeatures.features.file.reader import read_header


@pytest.fixture
def declaration(tmp_path):
    return declare(tmp_path, outputs={"features": "features", "deep": "deep"})


@pytest.fixture
def run(photos, tmp_path, declaration):
    """Run a command line in which PHOTOS, FILE, MODEL, JSON and MOVED stand for paths."""
    paths = {
        "PHOTOS": photos,
        "FILE": tmp_path / "x.h5",
        "MODEL": tmp_path / "x.model",
        "JSON": declaration,
        "MOVED": tmp_path / "moved.onnx",
    }

    def invoke(line):
        _load_by_engine.cache_clear()  # as in a process of its own
        words = [str(paths.get(word, word)) for word in line.split()]
        return CliRunner().invoke(main, words)

    return invoke


@pytest.fixture
def extracted(run):
    result = run("extract PHOTOS -o FILE --backbone JSON --size 12,16")
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def fitted(run, extracted):
    result = run("fit FILE --head logreg -o MODEL --n-jobs 1")
    assert result.exit_code == 0, result.output
    return result


def test_embeddings_are_those_of_onnx_runtime_alone(photos, tmp_path, extracted):
    ids, rows = rows_of(tmp_path / "x.h5")
    images = np.stack([decode((photos / id_).read_bytes(), SIZE) for id_ in ids])
    pixels = ((images - np.array(MEAN)) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    expected = run_plainly(network(), ["features"], pixels)[0]
    assert set(rows) == {"features.none", "properties"}
    np.testing.assert_allclose(rows["features.none"], expected, rtol=1e-4, atol=1e-4)


def test_a_model_labels_and_is_scored_by_the_same_file(run, fitted):
    for line in (
        "predict MODEL PHOTOS --outliers",
        "evaluate MODEL PHOTOS --json",
        "verify FILE --source PHOTOS",
        "info FILE",
        "info MODEL",
    ):
        result = run(line)
        if line.startswith("evaluate"):  # it was fitted on all of these images
            assert "fitted on" in result.output
        else:
            assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["predict MODEL PHOTOS", "verify FILE --source PHOTOS"])
def test_a_moved_file_is_given_by_its_new_path_and_checked_by_its_hash(
    run, fitted, tmp_path, command
):
    shutil.move(tmp_path / "small.onnx", tmp_path / "moved.onnx")
    result = run(command)
    assert result.exit_code == 1
    assert "there is no file" in result.output
    assert "give it with --weights FILE.onnx" in result.output
    assert run(f"{command} --weights MOVED").exit_code == 0
    other = network()
    other.graph.initializer[0].CopyFrom(constant("kernel_a", 8, 3, 3, 3, seed=5))
    (tmp_path / "moved.onnx").write_bytes(other.SerializeToString())
    result = run(f"{command} --weights MOVED")
    assert result.exit_code == 1
    assert "moved.onnx is not the file of backbone small" in result.output


def test_evaluate_takes_the_moved_file_too(run, fitted, tmp_path):
    folder = tmp_path / "new" / "red"
    folder.mkdir(parents=True)
    Image.new("RGB", (20, 20), (200, 10, 10)).save(folder / "a.png")
    shutil.move(tmp_path / "small.onnx", tmp_path / "moved.onnx")
    assert "there is no file" in run(f"evaluate MODEL {tmp_path / 'new'}").output
    result = run(f"evaluate MODEL {tmp_path / 'new'} --weights MOVED")
    assert result.exit_code == 0, result.output


def test_with_nothing_missing_the_file_is_not_needed(run, extracted, tmp_path):
    (tmp_path / "small.onnx").unlink()
    result = run("extract PHOTOS -o FILE")
    assert result.exit_code == 0
    assert "0 computed" in result.output


def test_further_layers_are_added_from_the_same_file(run, extracted, tmp_path):
    before = rows_of(tmp_path / "x.h5")[1]["features.none"]
    result = run("extract PHOTOS -o FILE --layer deep.max --layer act")
    assert result.exit_code == 0, result.output
    header = read_header(tmp_path / "x.h5")
    assert header.embeddings == {"features.none": 80, "deep.max": 80, "act.avg": 8}
    assert header.spec.declaration.output("act").tensor == "act"
    np.testing.assert_array_equal(rows_of(tmp_path / "x.h5")[1]["features.none"], before)
    assert "24 reused" in run("extract PHOTOS -o FILE --layer act").output
    assert "24 reused" in run("extract PHOTOS -o FILE --backbone JSON").output
    shutil.move(tmp_path / "small.onnx", tmp_path / "moved.onnx")
    assert "there is no file" in run("extract PHOTOS -o FILE --layer mean").output
    assert run("extract PHOTOS -o FILE --layer mean --weights MOVED").exit_code == 0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"mean": [0, 0, 0]}, "", "was made with preprocessing mean 123.6"),
        ({"colour": "BGR"}, "", "was made with preprocessing mean 123.6"),
        (
            {"outputs": {"features": "mean"}},
            "",
            "was made with layer features features (vector), not mean (NCHW)",
        ),
        ({"name": "other"}, "", "was made with backbone small, not other"),
        ({}, "--size 30", "was made with size 12,16, not 30,30"),
        ({}, "--engine keras", ", not keras: to update it, leave out --engine"),
        ({}, "--precision int8", "was made with precision float32, not int8"),
        ({}, "--random-state 1", "backbone small takes no --random-state"),
        ({}, "--layer no-such", "there is no layer of small 'no-such'"),
    ],
)
def test_other_settings_are_refused_by_name(run, extracted, tmp_path, change, options, message):
    entries = {"outputs": {"features": "features", "deep": "deep"}, **change}
    path = declare(tmp_path, **entries)
    result = run(f"extract PHOTOS -o FILE --backbone {path} {options}")
    assert result.exit_code != 0
    assert message in result.output


def test_another_backbone_is_another_file(run, extracted):
    result = run("extract PHOTOS -o FILE --backbone pixels")
    assert "made with backbone small, not pixels" in result.output
    assert "leave out --backbone" in result.output


def test_the_path_of_the_file_is_not_compared(run, extracted, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = declare(folder, outputs={"features": "features", "deep": "deep"})
    result = run(f"extract PHOTOS -o FILE --backbone {path}")
    assert result.exit_code == 0
    assert "24 reused" in result.output


def test_only_identical_files_are_near_duplicates_and_one_line_says_so(
    extracted, photos, tmp_path, caplog
):
    first = next((photos / "red").iterdir())
    shutil.copy(first, photos / "red" / "copy.png")
    Image.open(first).point(lambda value: value * 0.99).save(photos / "red" / "darker.png")
    extract(photos, tmp_path / "x.h5")
    caplog.clear()
    assert len(load_dataset(tmp_path / "x.h5").copies) == 1
    assert caplog.text.count("no limit of near-duplicates was measured for backbone small") == 1
    caplog.clear()
    assert len(load_dataset(tmp_path / "x.h5", near_duplicates=0.4).copies) > 1
    assert not len(load_dataset(tmp_path / "x.h5", near_duplicates=None).copies) > 1
    assert "near-duplicates" not in caplog.text
    result = benchmark(tmp_path / "x.h5", heads="dummy", cv=3)
    file = result.study.facts["files"][str(tmp_path / "x.h5")]
    assert file["near_duplicates"] is None
    assert json.loads(json.dumps(file["spec"])) == file["spec"]


def test_the_card_says_what_was_declared(fitted, tmp_path):
    card = (tmp_path / "x.model.md").read_text()
    spec = Model.load(tmp_path / "x.model").spec
    assert "A network of the user's own" in card
    assert "Source: tests; licence: MIT" in card
    assert "It has no check vector" in card
    assert f"sha256 of the ONNX file: `{spec.weights_sha256}`" in card
    assert "| layer deep | tensor deep, 3 x 4 x 80 |" in card


def test_the_card_names_the_check_vector(photos, tmp_path):
    check = {"size": [4, 4], "norm": 1e9, "first": [1]}
    path = declare(tmp_path, check=check)
    with pytest.raises(Exception, match="is not as declared") as raised:
        extract(photos, tmp_path / "x.h5", backbone=str(path), size=16)
    norm = float(str(raised.value).split("norm ")[1].split(" ")[0])
    first = float(str(raised.value).split("first [")[1].split("]")[0])
    path = declare(tmp_path, check={**check, "norm": norm, "first": [first]})
    extract(photos, tmp_path / "x.h5", backbone=str(path), size=16)
    Model.fit(make_head("logreg"), load_dataset(tmp_path / "x.h5")).save(tmp_path / "x.model")
    card = (tmp_path / "x.model.md").read_text()
    assert "Its check vector is verified whenever it is loaded" in card


def test_export_writes_the_network_into_the_file_and_it_labels_alike(run, fitted, tmp_path):
    result = run(f"export MODEL -o {tmp_path / 'out.onnx'} --check PHOTOS")
    assert result.exit_code == 0, result.output
    assert "0 labels differ" in result.output
    (tmp_path / "small.onnx").unlink()  # it isn't needed any more
    made = onnx.load(tmp_path / "out.onnx")
    assert "The network is small; source: tests; licence: MIT." in made.doc_string
    assert {item.name for item in made.graph.input} == {"images"}
    assert {item.name for item in made.graph.output} == {"probabilities", "label"}


def test_export_of_several_embeddings_side_by_side(run, extracted, tmp_path):
    assert run("extract PHOTOS -o FILE --layer deep --pool avg --pool max").exit_code == 0
    line = "fit FILE --head logreg -o MODEL --n-jobs 1 --embedding deep.avg+features.none"
    assert run(line).exit_code == 0
    result = run(f"export MODEL -o {tmp_path / 'out.onnx'} --check PHOTOS")
    assert result.exit_code == 0, result.output


def test_export_needs_the_very_file(run, fitted, tmp_path):
    shutil.move(tmp_path / "small.onnx", tmp_path / "moved.onnx")
    result = run(f"export MODEL -o {tmp_path / 'out.onnx'}")
    assert result.exit_code == 1
    assert "give it with --weights FILE.onnx" in result.output
    assert run(f"export MODEL -o {tmp_path / 'out.onnx'} --weights MOVED").exit_code == 0


@pytest.fixture
def uninstall(monkeypatch):
    """Let these engines be missing."""

    def remove(*names):
        for name in names:
            missing = replace(ENGINES[name], package="no_such_package")
            monkeypatch.setitem(ENGINES, name, missing)

    return remove


def test_a_network_that_no_engine_loads_says_what_to_install(run, uninstall):
    uninstall("onnxruntime", "openvino")
    result = run("extract PHOTOS -o FILE --backbone JSON")
    assert result.exit_code == 1
    assert "engine onnxruntime is not installed: pip install" in result.output


def test_a_gpu_that_is_not_there_is_said(run, tmp_path):
    result = run(f"extract PHOTOS -o {tmp_path / 'gpu.h5'} --backbone JSON --device gpu")
    assert result.exit_code == 1
    assert "ONNX Runtime finds no GPU with CUDA here" in result.output


def test_another_engine_stands_in_for_predictions_and_says_so(run, fitted, uninstall):
    labels = run("predict MODEL PHOTOS").stdout
    uninstall("onnxruntime")
    result = run("predict MODEL PHOTOS")
    assert result.exit_code == 0
    assert "onnxruntime is not installed" in result.stderr
    assert "OpenVINO stands in" in result.stderr
    assert [line.split(",")[1] for line in result.stdout.splitlines()] == [
        line.split(",")[1] for line in labels.splitlines()
    ]
    uninstall("openvino")
    result = run("predict MODEL PHOTOS")
    assert result.exit_code == 1
    assert "onnxruntime is not installed" in result.output


def test_a_network_that_openvino_cannot_load_names_the_other_engine(run, tmp_path):
    counts = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0}
    words = {"ngram_counts": [0], "ngram_indexes": [0, 1], "pool_int64s": [1, 2]}
    more = [
        node("Cast", ["features"], "words", to=onnx.TensorProto.INT64),
        node("TfIdfVectorizer", ["words"], "row", **counts, **words),
    ]
    path = declare(tmp_path, network(more=more, outputs=["row"]))
    line = f"extract PHOTOS -o FILE --backbone {path} --size 12,16 --engine"
    result = run(f"{line} openvino")
    assert result.exit_code == 1
    assert "OpenVINO can't load backbone small; give --engine onnxruntime" in result.output
    assert "Traceback" not in result.output
    assert run(f"{line} onnxruntime").exit_code == 0


@pytest.mark.parametrize(("engine", "precision"), engines_and_precisions())
@pytest.mark.slow
def test_every_engine_and_precision_from_extract_to_predict(
    run, tmp_path, client, photos, engine, precision
):
    options = f"--size 12,16 --engine {engine} --precision {precision}"
    result = run(f"extract PHOTOS -o FILE --backbone JSON {options}")
    assert result.exit_code == 0, result.output
    spec = read_header(tmp_path / "x.h5").spec
    assert (spec.engine, spec.precision) == (engine, precision)
    if precision == "int8":
        assert [name for name, _ in spec.quantization.largest] == ["act"]
        assert spec.quantization.images == 24
    # Once more, from nothing but the spec: the same bits.
    assert run("verify FILE --source PHOTOS").exit_code == 0
    assert run("extract PHOTOS -o FILE --layer deep").exit_code == 0
    assert read_header(tmp_path / "x.h5").spec.quantization == spec.quantization
    line = "fit FILE --head logreg -o MODEL --n-jobs 1 --embedding features.none"
    assert run(line).exit_code == 0
    assert Model.load(tmp_path / "x.model").spec == spec
    new = tmp_path / "new" / "red"
    new.mkdir(parents=True)
    Image.new("RGB", (20, 20), (200, 10, 10)).save(new / "a.png")
    result = run(f"predict MODEL {new}")
    assert result.exit_code == 0, result.output
    assert "a.png,red," in result.output
    assert run(f"evaluate MODEL {tmp_path / 'new'}").exit_code == 0
    there = tmp_path / "there.h5"
    extract(
        *(photos, there),
        backbone=str(tmp_path / "small.json"),
        size=SIZE,
        engine=engine,
        precision=precision,
        layers=["features", "deep"],
        cluster=client,
    )
    assert_same(there, rows_of(tmp_path / "x.h5"))


def test_workers_compute_the_same_rows(photos, declaration, tmp_path, extracted, client):
    there = tmp_path / "there.h5"
    extract(photos, there, backbone=str(declaration), size=SIZE, cluster=client)
    assert_same(there, rows_of(tmp_path / "x.h5"))


def test_the_extractor_takes_a_declaration(photos, declaration, tmp_path, extracted):
    ids, rows = rows_of(tmp_path / "x.h5")
    extractor = Extractor(backbone=str(declaration), size=SIZE)
    embedded = make_pipeline(extractor).fit_transform([photos / id_ for id_ in ids])
    np.testing.assert_array_equal(embedded, rows["features.none"])
    assert extractor.get_feature_names_out()[:2].tolist() == ["features.none_0", "features.none_1"]
