"""The check vector and the spec of a declared backbone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.onnx_networks import (
    MEAN,
    SIZE,
    STD,
    choose,
    declare,
    network,
    run_plainly,
    spec_of,
)
from tlfeatures.errors import FormatError, ParameterError, WeightsError
from tlfeatures.features.backbones.declaration_file import Wanted, read_declaration
from tlfeatures.features.engines.check_vector import check_image
from tlfeatures.features.engines.open_network import open_network
from tlfeatures.features.spec import Spec


def blocks_of_the_documentation(kind):
    text = (Path(__file__).parents[2] / "docs" / "own_network.md").read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_documented_declaration_can_be_read(tmp_path):
    path = tmp_path / "resnet18.json"
    path.write_text(blocks_of_the_documentation("json")[0])
    declared, file = read_declaration(str(path))
    assert (declared.name, file) == ("resnet18", tmp_path / "resnet18.onnx")
    assert declared.outputs == (Wanted("features", "features"),)


def features_of(image):
    """Compute the features of an image without this package, for the check vector."""
    pixels = ((image - np.array(MEAN)) / STD).astype(np.float32).transpose(2, 0, 1)[None]
    return run_plainly(network(), ["features"], pixels)[0][0]


def check_of(row, size=SIZE):
    first = [float(value) for value in row[:4]]
    return {"size": list(size), "norm": float(np.linalg.norm(row)), "first": first}


def test_the_check_image_is_the_one_that_the_documentation_defines():
    documented = {}
    exec(blocks_of_the_documentation("python")[0], documented)
    for size in ((20, 30), (224, 224), (1, 1)):
        np.testing.assert_array_equal(check_image(size), documented["check_image"](*size))
    assert check_image((20, 30))[[0, 0, 19, 0], [0, 29, 0, 8]].tolist() == [
        [0, 0, 0],
        [255, 0, 255],
        [0, 255, 0],
        [70, 0, 255],
    ]


def test_a_right_check_vector_is_kept_in_the_spec(tmp_path):
    check = check_of(features_of(check_image(SIZE)))
    kept = spec_of(declare(tmp_path, check=check)).declaration.check
    assert (kept.layer, kept.size, kept.norm) == ("features", SIZE, check["norm"])


def test_a_check_vector_is_of_its_own_size_if_the_file_leaves_the_size_open(tmp_path):
    check = check_of(features_of(check_image((24, 20))), (24, 20))
    assert spec_of(declare(tmp_path, check=check)).declaration.check.size == (24, 20)
    path = declare(tmp_path, network(("n", 3, *SIZE)), check=check)
    with pytest.raises(ParameterError, match=r"size is \(24, 20\), which the file doesn't take"):
        spec_of(path)


@pytest.mark.parametrize(
    ("wrong", "layer"),
    [
        ({"colour": "BGR"}, {}),
        ({"mean": [127.5] * 3}, {}),
        ({"std": [60.0] * 3}, {}),
        ({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, {}),
        ({"outputs": {"features": "features", "deep": "act"}}, {"layer": "deep"}),
    ],
)
def test_wrong_preprocessing_is_refused_by_the_check_vector(tmp_path, wrong, layer):
    check = {**check_of(features_of(check_image(SIZE))), **layer}
    with pytest.raises(WeightsError, match=r"backbone small is not as declared: .* are file, colo"):
        spec_of(declare(tmp_path, check=check, **wrong))


def test_without_a_check_vector_a_warning_says_what_it_would_be(tmp_path, caplog):
    path = declare(tmp_path, name="unchecked")
    spec_of(path)
    spec_of(path)
    row = features_of(check_image(SIZE))
    assert caplog.text.count("backbone unchecked has no check vector") == 1
    assert f'"norm": {np.linalg.norm(row):.4g}' in caplog.text


# ---- the spec


def test_a_spec_keeps_the_whole_declaration(tmp_path):
    check = check_of(features_of(check_image(SIZE)))
    spec = spec_of(declare(tmp_path, check=check, outputs={"features": "features", "a": "act"}))
    restored = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert restored == spec
    assert hash(restored) == hash(spec)
    assert restored.known_backbone is spec.known_backbone
    assert (spec.backbone, spec.precision) == ("small", "float32")
    assert spec.declaration.licence == "MIT"


def damage(data, *keys, value):
    inner = data["declaration"]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return data


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("name",), "vgg16"),
        (("name",), "other"),
        (("outputs",), []),
        (("outputs",), {}),
        (("outputs", 0, "layer"), "a.b"),
        (("outputs", 0, "shape"), [10**10]),
        (("outputs", 0, "shape"), [-1]),
        (("outputs", 0, "layout"), "CHW"),
        (("default_layer",), "x"),
        (("mean",), [1, 2]),
        (("mean",), [1, 2, 10**400]),
        (("std",), [0, 1, 1]),
        (("colour",), ["RGB"]),
        (("check",), {"layer": "x"}),
        (("unknown",), 1),
    ],
)
def test_a_damaged_declaration_in_a_spec_is_one_line(tmp_path, keys, value):
    data = spec_of(declare(tmp_path)).to_dict()
    with pytest.raises(FormatError, match="its spec has"):
        Spec.from_dict(damage(data, *keys, value=value))


def test_the_licence_and_further_layers_make_no_other_embedding(tmp_path):
    spec = spec_of(declare(tmp_path, outputs={"features": "features"}))
    same = spec_of(
        declare(tmp_path, outputs={"features": "features", "a": "act"}, licence="other"),
    )
    assert not spec.differences(same)
    other = spec_of(declare(tmp_path, outputs={"features": "mean"}))
    assert spec.differences(other) == [
        ("layer features", "features (vector)", "mean (NCHW)"),
    ]
    brighter = spec_of(declare(tmp_path, outputs={"features": "features"}, mean=[1, 2, 3]))
    assert [name for name, *_ in spec.differences(brighter)] == ["preprocessing"]


def test_layers_of_an_earlier_declaration_count_for_the_limit(tmp_path):
    many = {f"l{number}": "deep" for number in range(20)}
    backbone, _ = choose(declare(tmp_path, outputs=many))
    other, _ = choose(declare(tmp_path, outputs={f"m{number}": "deep" for number in range(20)}))
    with pytest.raises(ParameterError, match="up to 32 layers, got 40"):
        backbone.with_layers_of(other.declaration)


def test_a_missing_file_is_an_error_that_names_the_option(tmp_path):
    path = declare(tmp_path)
    (tmp_path / "small.onnx").unlink()
    with pytest.raises(WeightsError, match=r"there is no file .*small.onnx.*--weights FILE.onnx"):
        open_network(str(path), None)
