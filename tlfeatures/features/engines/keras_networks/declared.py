"""Declared networks by Keras: those of `keras.applications`, and users' own `.keras` files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ParameterError, WeightsError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.declaration import Declaration, Output
from tlfeatures.features.backbones.record import Backbone, Preprocessing
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.check_vector import check_image, compare_check
from tlfeatures.features.engines.keras_engine import (
    DTYPE_POLICIES,
    KerasBackbone,
    images_of_batch,
    keras_device,
    on_device,
    start_with_threads,
)
from tlfeatures.features.engines.keras_networks.application_weights import (
    build_application,
    weights_sha256,
)
from tlfeatures.features.engines.keras_networks.layers import (
    check_names,
    layer_of,
    pooled,
    preprocessed,
    tensor_of,
)
from tlfeatures.features.engines.keras_networks.load_file import load_keras_file
from tlfeatures.features.engines.keras_networks.load_preset import load_preset
from tlfeatures.features.engines.keras_start import keras_settings
from tlfeatures.features.engines.onnx_session import in_short
from tlfeatures.features.spec import Spec

if TYPE_CHECKING:
    import keras

KERAS_FORMATS = ("keras_application", "keras_file", "keras_hub")


def loads(backbone: Backbone) -> bool:
    """Whether a backbone is a declared network that Keras computes."""
    return backbone.declared_format in KERAS_FORMATS


def load(
    spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
) -> KerasBackbone:
    """Build the network of a spec, and compare its hash and its check vector.

    Parameters
    ----------
    spec, names, device, threads
        See `Engine.load`.
    weights : Weights
        With the hash that the weights must have. Its content is a file of weights; if that is
        empty, the weights are those that `Spec.weights` names.

    Raises
    ------
    EngineError
        If Keras can't be started or has no such network.
    WeightsError
        If the weights can't be obtained or aren't those of the spec, or the check vector differs.
    ParameterError
        If Keras sees no GPU, where one is asked for.
    """
    declaration = spec.declaration
    assert declaration is not None  # of a spec that `loads` accepts
    start_with_threads(threads)
    place = keras_device(device)
    with on_device(place), keras_settings("float32"):
        network = _build(spec, declaration, weights)
        verify_check(network, declaration)
    policy = DTYPE_POLICIES[spec.precision]
    with on_device(place), keras_settings(policy):
        if policy != "float32":
            set_policy(network, policy)
        model = embedding_model(network, declaration, names, spec.size)
    return KerasBackbone(model, place, images_of_batch(place, _largest_map(network, spec.size)))


def _build(spec: Spec, declaration: Declaration, weights: Weights) -> keras.Model:
    if declaration.format == "keras_file":
        return load_keras_file(weights.content, f"the file of backbone {declaration.name}")
    if declaration.format == "keras_hub":
        network = _preset(spec)
    else:
        network = _application(spec, declaration, weights)
    sha256 = weights_sha256(network)
    if sha256 != weights.sha256:
        raise WeightsError(
            f"the weights of {declaration.name} have sha256 {sha256}, expected {weights.sha256}: "
            "give the file that made these embeddings with --weights PATH"
        )
    check_names(network, declaration.outputs)
    return network


def _preset(spec: Spec) -> keras.Model:
    if spec.precision != "float32":
        raise ParameterError(
            f"backbone {spec.backbone} is computed in float32: leave out --precision"
        )
    return load_preset(spec.weights)


def _application(spec: Spec, declaration: Declaration, weights: Weights) -> keras.Model:
    named = NAMED.get(declaration.name)
    if named is None or named.application is None:
        raise EngineError(
            f"this version of tlfeatures has no backbone {declaration.name}: use the version that "
            "computed the embeddings"
        )
    seed = spec.random_state or 0
    return build_application(named, spec.weights, weights.content, spec.size, seed)


def set_policy(network: keras.Model, policy: str) -> None:
    """Let the layers of a network compute by another dtype policy; its weights stay float32."""
    for layer in network.layers:
        layer.dtype_policy = policy
        if hasattr(layer, "layers"):  # a network in the network
            set_policy(layer, policy)
        if hasattr(layer, "finalize_state"):  # Normalization has constants in its own type
            layer.finalize_state()


def features_model(network: keras.Model, outputs: Sequence[Output]) -> keras.Model:
    """Return the part of a network that computes the layers of some outputs, as a list."""
    import keras

    tensors = [tensor_of(layer_of(network, output)) for output in outputs]
    return keras.Model(network.inputs[0], tensors)


def embedding_model(
    network: keras.Model, declaration: Declaration, names: Sequence[str], size: tuple[int, int]
) -> keras.Model:
    """Return the network with its preprocessing, and with embeddings as outputs, by name."""
    import keras

    parts = [name.rpartition(".") for name in names]
    outputs = {layer: declaration.output(layer) for layer, _, _ in parts}
    image = keras.Input((*size, 3), dtype="uint8", name="image")
    computed = run(network, image, declaration.preprocessing, list(outputs.values()))
    tensors = dict(zip(outputs, computed, strict=True))
    rows = {
        f"{layer}.{pool}": pooled(tensors[layer], pool, f"embedding_{layer}_{pool}", outputs[layer])
        for layer, _, pool in parts
    }
    return keras.Model(image, rows)


def run(
    network: keras.Model, image: Any, preprocessing: Preprocessing, outputs: Sequence[Output]
) -> list[Any]:
    """Compute the layers of some outputs for images of values 0 to 255, RGB.

    Raises
    ------
    EngineError
        If the network doesn't take these images, or a layer's output isn't a part of it.
    """
    import keras

    pixels = preprocessed(keras.ops.cast(image, "float32"), preprocessing)
    # JAX compiles each operation by itself unless the model is compiled, which is faster.
    compiled = isinstance(image, np.ndarray) and keras.config.backend() == "jax"
    try:
        model = features_model(network, outputs)
        # Layers that augment images, such as RandomFlip, do so unless they are told not to.
        tensors = model.predict_on_batch(pixels) if compiled else model(pixels, training=False)
    except Exception as error:  # Keras and its backend have many, of shapes and of memory
        layers = ", ".join(output.layer for output in outputs)
        raise EngineError(
            f"Keras can't compute the layers {layers} of the network for images of "
            f"{image.shape[1]} x {image.shape[2]}: {in_short(error)}"
        ) from error
    return tensors if isinstance(tensors, list) else [tensors]


def verify_check(network: keras.Model, declaration: Declaration) -> None:
    """Compare the features of the check image with those of the declaration.

    Raises
    ------
    WeightsError
        If they differ.
    """
    check = declaration.check
    if check is None:
        return
    output = declaration.output(check.layer)
    tensors = run(network, check_image(check.size)[None], declaration.preprocessing, [output])
    compare_check(check_row(tensors[0], output), check, declaration.name)


def check_row(tensor: Any, output: Output) -> NDArray[np.float32]:
    """Return the features of the check image, (d,), in the default pooling of their layer."""
    import keras

    rows = pooled(tensor, output.default_pool, None, output)
    row: NDArray[np.float32] = np.asarray(keras.ops.convert_to_numpy(rows), np.float32)[0]
    return row


def _largest_map(network: keras.Model, size: tuple[int, int]) -> int:
    """Count the values of the largest output of a layer, for one image of a size."""
    import keras

    tensors = [tensor for layer in network.layers for tensor in _outputs(layer)]
    shapes = keras.Model(network.inputs[0], tensors).compute_output_shape((1, *size, 3))
    largest: int = max(math.prod(side or 1 for side in shape) for shape in shapes)
    return largest


def _outputs(layer: Any) -> list[Any]:
    try:
        return [tensor_of(layer)]
    except (ValueError, AttributeError):  # none, or several: the others bound the memory
        return []
