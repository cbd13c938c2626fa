"""Plain and crafted `.keras` files, without Keras."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from tests.fakes import write_members

Entry = dict[str, Any]


def layer(
    kind: str, *, module: str = "keras.layers", registered: str | None = None, **config: Any
) -> Entry:
    """Describe a layer as Keras does."""
    own = {"name": kind.lower(), "trainable": True, "dtype": "float32", **config}
    return {
        "module": module,
        "class_name": kind,
        "config": own,
        "registered_name": registered,
        "build_config": {"input_shape": [None, 32, 32, 3]},
    }


def conv(**config: Any) -> Entry:
    """Describe a convolution of four filters."""
    own = {"filters": 4, "kernel_size": [3, 3], "activation": "relu", "name": "conv", **config}
    return layer("Conv2D", **own)


# A lambda that writes a file, were it loaded.
LAMBDA = layer("Lambda", function={"class_name": "__lambda__", "config": {"value": "4wAA"}})


def network(*entries: Entry) -> Entry:
    """Describe a network of these layers, one after the other."""
    image = layer("InputLayer", batch_shape=[None, 32, 32, 3], dtype="float32", name="image")
    for key in ("trainable", "build_config"):
        image.pop(key, None)
        image["config"].pop(key, None)
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "layers": [image, *entries]},
        "registered_name": None,
        "build_config": {"input_shape": [None, 32, 32, 3]},
        "compile_config": {"optimizer": {"module": "keras.optimizers", "class_name": "Adam"}},
    }


def weights_file(change: Callable[[h5py.File], None] | None = None) -> bytes:
    """Write the weights of `network(conv())`, changed."""
    content = io.BytesIO()
    generator = np.random.default_rng(0)
    with h5py.File(content, "w") as file:
        file.create_group("vars")  # of the network itself, which has none
        values = file.create_group("layers/conv2d/vars")
        values["0"] = generator.standard_normal((3, 3, 3, 4), np.float32)
        values["1"] = np.zeros(4, np.float32)
        if change:
            change(file)
    return content.getvalue()


def keras_file(config: Entry, members: Mapping[str, bytes] | None = None) -> bytes:
    """Write a `.keras` file; members replace others, or are added."""
    content = io.BytesIO()
    plain: dict[str, str | bytes] = {
        "metadata.json": json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01"}),
        "config.json": json.dumps(config),
        "model.weights.h5": weights_file(),
    }
    write_members(content, {**plain, **(members or {})})
    return content.getvalue()
