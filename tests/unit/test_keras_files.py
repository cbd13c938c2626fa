"""A `.keras` file from a stranger is refused before Keras sees it; a plain one passes.

Promise: an object that isn't one of Keras's layers for images is one clear line.
Promise: members, links and sizes that a saved network doesn't have are one clear line.
"""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from tests.keras_files import LAMBDA, conv, keras_file, layer, network, weights_file
from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.keras_file import check_keras_file


def refused(content):
    """The message for a file that is refused."""
    with pytest.raises(WeightsError) as caught:
        check_keras_file(content, "x.keras")
    message = str(caught.value)
    assert message.startswith("x.keras")
    assert "\n" not in message
    return message


def test_a_plain_file_passes():
    check_keras_file(keras_file(network(conv())), "x.keras")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (LAMBDA, "keras.layers.Lambda"),
        (layer("TFSMLayer", filepath="/etc"), "keras.layers.TFSMLayer"),
        (layer("StringLookup", vocabulary="/etc/passwd"), "keras.layers.StringLookup"),
        (layer("Popen", module="subprocess", args=["touch", "x"]), "subprocess.Popen"),
        (layer("Conv2D", module="my.layers"), "my.layers.Conv2D"),
        (layer("Conv2D", module=["keras"]), "['keras'].Conv2D"),
        (layer("Conv2D", registered="evil>Conv2D"), "registered as evil>Conv2D"),
        (conv(activation={"class_name": "function", "module": "os", "config": "system"}), "system"),
        (
            conv(activation={"class_name": "function", "module": "keras.utils", "config": "relu"}),
            "keras.utils.function relu",
        ),
        (conv(activation={"class_name": "__lambda__", "config": {"value": "4wAA"}}), "__lambda__"),
        (
            conv(kernel_initializer={"class_name": "__typespec__", "module": "os", "config": []}),
            "__typespec__",
        ),
        (conv(activation={"class_name": ["Lambda"], "config": {}}), "['Lambda']"),
        (layer("Adam", module="keras.optimizers"), "no optimizer"),
        (layer("Dense", units=2**40), "a size of 1,099,511,627,776"),
        (conv(name=json.loads("[" * 200 + "]" * 200)), "more than 100 levels"),
    ],
)
def test_an_object_that_is_no_layer_for_images_is_refused(entry, said):
    assert said in refused(keras_file(network(entry)))


def test_an_object_in_a_network_in_the_network_is_refused():
    inner = {**network(LAMBDA), "compile_config": None}
    assert "keras.layers.Lambda" in refused(keras_file(network(inner)))


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_float16",
        {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
    ],
)
def test_a_layer_that_does_not_compute_in_float32_is_refused(dtype):
    said = refused(keras_file(network(conv(dtype=dtype))))
    assert "computes in mixed_float16, expected float32" in said


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"assets/vocabulary.txt": b"x"}, "has the members"),
        ({"../evil": b"x"}, "has the members"),
        ({"model.weights.npz": b"x"}, "has the members"),
        ({"metadata.json": b" " * 20_000}, "metadata.json of 20,000 bytes"),
        ({"config.json": b" " * 2**26}, "config.json of 67,108,864 bytes"),
        ({"config.json": b"["}, "not JSON"),
        ({"config.json": b"[" * 100_000}, "not JSON"),
        ({"config.json": b"[]"}, "describes no network"),
        ({"model.weights.h5": b"x"}, "not an HDF5 file"),
    ],
    ids=lambda each: str(each)[:40],  # not all of 64 MB
)
def test_members_that_a_saved_network_does_not_have_are_refused(members, said):
    assert said in refused(keras_file(network(conv()), members))


def test_a_member_that_is_there_twice_is_refused():
    content = io.BytesIO(keras_file(network(LAMBDA)))
    with zipfile.ZipFile(content, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", json.dumps(network(conv())))
    assert "has the members" in refused(content.getvalue())


@pytest.mark.parametrize("cut", [0, 100, -30])
def test_a_damaged_file_is_refused(cut):
    refused(keras_file(network(conv()))[:cut])


def _soft(file):
    file["more"] = h5py.SoftLink("/layers")


def _external_link(file):
    file["more"] = h5py.ExternalLink("/etc/passwd", "/")


def _external_values(file):
    file.create_dataset("more", (4,), np.uint8, external=[("/etc/passwd", 0, 4)])


def _virtual_values(file):
    layout = h5py.VirtualLayout((4,), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "values", (4,))
    file.create_virtual_dataset("more", layout)


def _texts(file):
    file.create_dataset("more", (4,), h5py.string_dtype())


def _many_bytes(file):
    file.create_dataset("more", (2**34,), np.uint8, chunks=(2**20,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_soft, "a link at /more"),
        (_external_link, "a link at /more"),
        (_external_values, "in another file"),
        (_virtual_values, "in another file"),
        (_many_bytes, "bytes of values"),
        (_texts, "other values than numbers at /more"),
    ],
)
def test_weights_that_lead_out_of_the_file_are_refused(change, said):
    content = keras_file(network(conv()), {"model.weights.h5": weights_file(change)})
    message = refused(content)
    assert said in message
    assert "model.weights.h5" in message
