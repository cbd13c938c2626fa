"""A user's own ONNX file keeps the contract of backbones."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from onnx import TensorProto

from tests.contract.backbones import SIZE, AnyBatchContract, random_images
from tests.onnx_networks import (
    MEAN,
    STD,
    channels_last_network,
    choose,
    declare,
    engines_and_precisions,
    network,
    run_plainly,
    token_network,
)
from tlfeatures.errors import ParameterError
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.quantization import Quantization, ranges_of
from tlfeatures.features.backbones.table import BACKBONES, embedding_widths
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.engines.onnx_int8 import range_names
from tlfeatures.features.settings import Settings, make_spec

LAYERS = {"first": "conv/a", "act": "act", "deep": "deep", "features": "features"}
MAPS = {layer: {"tensor": LAYERS[layer], "layout": "NCHW"} for layer in ("first", "act", "deep")}


def spec_of(names, path, engine, precision):
    backbone, size = choose(path, size=SIZE)
    spec = make_spec(Settings(), backbone, size, names, "cpu")
    spec = replace(spec, engine=engine, precision="float32")
    if precision == "int8":
        ranges = range_names(OnnxFile((path.parent / "small.onnx").read_bytes(), "it"), "small")
        rows = load_backbone(spec, ranges).embed(random_images(30))
        spec = replace(spec, quantization=Quantization(30, 0, *ranges_of([rows])))
    return replace(spec, precision=precision)


def load_declared(names, path, way=("onnxruntime", "float32")):
    return load_backbone(spec_of(names, path, *way), names)


# Relative differences to ONNX Runtime alone.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2, "int8": 6e-2}


class DeclaredContract(AnyBatchContract):
    name = "declared"

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory):
        """Give the path of the declaration."""
        raise NotImplementedError

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def record(cls, path):
        """Put the record into the table, where the contract finds the layers."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, cls.name, choose(path, size=SIZE)[0].record)
            yield

    @pytest.fixture(scope="class", params=engines_and_precisions(), ids="-".join)
    @classmethod
    def way(cls, request):
        """Give an engine and a precision."""
        return request.param

    @pytest.fixture(scope="class")
    @classmethod
    def tolerance(cls, way):
        return TOLERANCES[way[1]]

    @pytest.fixture(scope="class")
    @classmethod
    def load(cls, path, way):
        return partial(load_declared, path=path, way=way)


class TestChannelsFirst(DeclaredContract):
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory):
        return declare(tmp_path_factory.mktemp("nchw"), outputs=LAYERS)

    def test_rows_are_those_of_onnx_runtime_alone(self, outputs, tolerance):
        pixels = ((random_images(3) - np.array(MEAN)) / STD).astype(np.float32)
        alone = run_plainly(network(), list(LAYERS.values()), pixels.transpose(0, 3, 1, 2))
        for layer, values in zip(LAYERS, alone, strict=True):
            if values.ndim == 2:
                expected = {"none": values}
            else:
                flat = values.transpose(0, 2, 3, 1).reshape(3, -1)
                averages, largest = values.mean(axis=(2, 3)), values.max(axis=(2, 3))
                expected = {"avg": averages, "max": largest, "flatten": flat}
            for pool, rows in expected.items():
                found, scale = outputs[f"{layer}.{pool}"], np.abs(rows).max()
                np.testing.assert_allclose(found, rows, atol=tolerance * scale)
                if layer == "features" and tolerance > 1e-3:  # another precision rounds
                    assert np.abs(found - rows).max() > 1e-4 * scale

    def test_bgr_is_the_order_in_which_the_network_gets_the_colours(self, path, way, outputs):
        model = network()
        kernel = next(item for item in model.graph.initializer if item.name == "kernel_a")
        turned = np.frombuffer(kernel.raw_data, np.float32).reshape(8, 3, 3, 3)[:, ::-1]
        kernel.raw_data = turned.tobytes()
        folder = path.parent / "-".join(("bgr", *way))
        folder.mkdir()
        entries = {"colour": "BGR", "mean": MEAN[::-1], "std": STD[::-1], "outputs": LAYERS}
        bgr = load_declared(["features.none"], declare(folder, model, **entries), way)
        rows = bgr.embed(random_images(3))["features.none"]
        expected = outputs["features.none"]
        np.testing.assert_allclose(rows, expected, atol=TOLERANCES[way[1]] * np.abs(expected).max())


class TestChannelsLast(DeclaredContract):
    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory):
        outputs = {**MAPS, "features": "features"}
        model = channels_last_network(("n", *SIZE, 3))
        return declare(tmp_path_factory.mktemp("nhwc"), model, outputs=outputs)

    def test_rows_are_those_of_the_same_network_with_channels_first(
        self, tmp_path, outputs, tolerance
    ):
        first = load_declared(list(outputs), declare(tmp_path, outputs=LAYERS))
        for name, rows in first.embed(random_images(3)).items():
            np.testing.assert_allclose(outputs[name], rows, atol=tolerance * np.abs(rows).max())


def test_pixels_of_uint8_enter_the_network_as_they_are(tmp_path):
    model = channels_last_network(("n", *SIZE, 3), TensorProto.UINT8)
    path = declare(tmp_path, model, mean=None, std=None)
    rows = load_declared(["features.none"], path).embed(random_images(2))["features.none"]
    alone = run_plainly(model, ["features"], random_images(2))[0]
    np.testing.assert_allclose(rows, alone, rtol=1e-4, atol=1e-3)
    widths = embedding_widths(choose(path, size=SIZE)[0].record, ["features"], ["avg"], SIZE)
    assert widths == {"features.none": 80}


TOKENS = {"tokens": {"tensor": "tokens", "kind": "tokens", "prefix": 1}}


def embed_tokens(path, names):
    """Embed two random images of 12 x 16 pixels."""
    backbone, size = choose(path)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    loaded = load_backbone(make_spec(Settings(), backbone, size, names, "cpu"), names)
    pixels = ((images - np.array(MEAN)) / STD).astype(np.float32).transpose(0, 3, 1, 2)
    alone = [run_plainly(token_network(), ["tokens"], pixels[i : i + 1])[0][0] for i in range(2)]
    return loaded.embed(images), np.stack(alone)


def test_poolings_of_tokens_leave_out_those_before_the_patches(tmp_path):
    path = declare(tmp_path, token_network(), outputs=TOKENS)
    names = [f"tokens.{pool}" for pool in ("cls", "avg", "max", "flatten")]
    rows, alone = embed_tokens(path, names)
    expected = {
        "tokens.cls": alone[:, 0],
        "tokens.avg": alone[:, 1:].mean(axis=1),
        "tokens.max": alone[:, 1:].max(axis=1),
        "tokens.flatten": alone.reshape(2, -1),
    }
    assert list(rows) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("prefix", "pool"), [(1, "cls"), (0, "avg")])
def test_the_class_token_is_the_default_of_tokens_that_have_one(tmp_path, prefix, pool):
    outputs = {"tokens": {**TOKENS["tokens"], "prefix": prefix}}
    backbone, size = choose(declare(tmp_path, token_network(), outputs=outputs))
    assert embedding_widths(backbone.record, ["tokens"], [], size) == {f"tokens.{pool}": 80}


def test_tokens_without_a_class_token_have_no_pooling_cls(tmp_path):
    outputs = {"tokens": {"tensor": "tokens", "kind": "tokens"}}
    backbone, size = choose(declare(tmp_path, token_network(), outputs=outputs))
    with pytest.raises(ParameterError, match="layer tokens has no class token"):
        embedding_widths(backbone.record, ["tokens"], ["cls"], size)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("tokens", r"expected a vector .* \"kind\": \"tokens\""),
        ({"tensor": "tokens", "kind": "tokens", "prefix": 13}, "has 13 tokens, so that prefix"),
        ({"tensor": "features", "kind": "tokens"}, r"expected tokens \(1, n, d\)"),
        ({"tensor": "tokens", "kind": "patches"}, "kind of output tokens must be tokens"),
        ({"tensor": "tokens", "prefix": 1}, 'needs "kind": "tokens", too'),
    ],
)
def test_a_wrong_declaration_of_tokens_is_refused(tmp_path, entry, message):
    with pytest.raises(ParameterError, match=message):
        choose(declare(tmp_path, token_network(), outputs={"tokens": entry}))
