"""A user's own `.keras` file: it is checked before Keras reads it.

Attack: a crafted file names code (a lambda, a class or function of any module), files to read
(vocabularies, saved models, links of HDF5), or sizes larger than memory. Invariant: the bytes that
were hashed are the bytes that are loaded. They are a zip of the members that Keras writes; each
object of the configuration is of a class in the list below; the file of weights refers to no other
file. Keras then loads these bytes in its safe mode, which is a second check.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.hdf5_links import check_hdf5

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {"metadata.json", _CONFIG, _WEIGHTS}
_MOST_BYTES = {"metadata.json": 10_000, _CONFIG: 2**25, _WEIGHTS: 2**31}
_MOST_DEPTH = 100  # of the configuration; a network of networks has some twenty
_MOST_SIDE = 2**20  # of any number of units, filters or pixels
_NUMBERS_OF_KERAS = {"shared_object_id", "seed"}  # which may be large

_LAYERS = """
    InputLayer Identity Conv2D DepthwiseConv2D SeparableConv2D Conv2DTranspose Conv1D Dense
    EinsumDense Embedding BatchNormalization LayerNormalization GroupNormalization
    UnitNormalization RMSNormalization SpectralNormalization Normalization Rescaling Resizing
    CenterCrop Activation ReLU LeakyReLU PReLU ELU Softmax Dropout SpatialDropout1D
    SpatialDropout2D GaussianNoise GaussianDropout AlphaDropout ActivityRegularization MaxPooling1D
    MaxPooling2D AveragePooling1D AveragePooling2D GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalMaxPooling1D GlobalMaxPooling2D AdaptiveAveragePooling2D AdaptiveMaxPooling2D Flatten
    Reshape Permute RepeatVector ZeroPadding1D ZeroPadding2D Cropping1D Cropping2D UpSampling1D
    UpSampling2D Add Subtract Multiply Average Maximum Minimum Concatenate Dot MultiHeadAttention
    GroupQueryAttention Attention AdditiveAttention RandomFlip RandomRotation RandomZoom
    RandomTranslation RandomContrast RandomBrightness RandomCrop RandomHeight RandomWidth
"""
_OPERATIONS = """
    Absolute Add Arange Argmax BroadcastTo Cast Clip Concatenate Divide Dot Einsum Exp ExpandDims
    Flip GetItem Log Matmul Max Maximum Mean Min Minimum Multiply Negative Norm Pad Power Prod
    Repeat Reshape Roll Sigmoid Softmax Split Sqrt Square Squeeze Stack Subtract Sum Swapaxes Tanh
    Tile Transpose TrueDivide Var Relu Relu6 Gelu Silu HardSigmoid HardSilu Elu Selu LeakyRelu
    Softplus Softsign LogSoftmax AveragePool MaxPool Conv DepthwiseConv Normalize Rsqrt Slice
"""
_INITIALIZERS = """
    Zeros Ones Constant Identity RandomNormal RandomUniform TruncatedNormal VarianceScaling
    GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Orthogonal
"""
_ACTIVATIONS = """
    relu relu6 leaky_relu elu selu softplus softsign silu swish gelu tanh sigmoid exponential
    hard_sigmoid hard_silu hard_swish linear softmax log_softmax mish celu glu squareplus
"""


def _of(module: str, names: str) -> dict[tuple[str, str], str]:
    return {(module, name): name for name in names.split()}


# Module and class of each object that a configuration may have.
_CLASSES = {
    **_of("keras", "Functional Model Sequential DTypePolicy"),
    **_of("keras.models", "Functional Model Sequential"),
    **_of("keras.src.models.functional", "Functional"),
    **_of("keras.src.models.sequential", "Sequential"),
    **_of("keras.dtype_policies", "DTypePolicy FloatDTypePolicy"),
    **_of("keras.layers", _LAYERS),
    **_of("keras.initializers", _INITIALIZERS),
    **_of("keras.regularizers", "L1 L2 L1L2 OrthogonalRegularizer"),
    **_of("keras.constraints", "MaxNorm MinMaxNorm NonNeg UnitNorm"),
    **_of("keras.src.ops.numpy", _OPERATIONS),
    **_of("keras.src.ops.nn", _OPERATIONS),
    **_of("keras.src.ops.core", _OPERATIONS),
    **_of("keras.src.ops.math", _OPERATIONS),
    **_of("keras.src.ops.linalg", "Norm"),
    **_of("keras.src.applications.convnext", "LayerScale"),
    **_of("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
}
_POLICIES = ("DTypePolicy", "FloatDTypePolicy")
_FLOAT32 = "float32"
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__"}


def check_keras_file(content: bytes, title: str) -> None:
    """Check a `.keras` file without Keras.

    Parameters
    ----------
    content : bytes
    title : str
        What the file is, for the message.

    Raises
    ------
    WeightsError
        If it is no such file, or has something that this package doesn't load.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive)
            config = _parse(archive.read(_CONFIG))
            weights = archive.read(_WEIGHTS)
    except WeightsError as error:
        raise WeightsError(f"{title} {error}") from error
    except Exception as error:  # zipfile and zlib have many for a damaged file
        raise WeightsError(f"{title} is not a .keras file that can be read: {error}") from error
    config.pop("compile_config", None)  # which isn't loaded
    try:
        for value in _values(config):
            _check_value(value)
    except WeightsError as error:
        raise WeightsError(f"{title} {error}") from error
    check_hdf5(weights, f"{title}: its member {_WEIGHTS}")


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names) or not {_CONFIG, _WEIGHTS} <= set(names) <= _MEMBERS:
        listed = ", ".join(names)[:100]
        raise WeightsError(
            f"has the members {listed}; expected {', '.join(sorted(_MEMBERS))}, as model.save "
            "writes them"
        )
    for member in members:
        if member.file_size > _MOST_BYTES[member.filename]:
            raise WeightsError(
                f"has a member {member.filename} of {member.file_size:,} bytes, expected at most "
                f"{_MOST_BYTES[member.filename]:,}"
            )


def _parse(content: bytes) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"has a {_CONFIG} that is not JSON ({error})") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise WeightsError(f"has a {_CONFIG} that describes no network")
    return config


def _values(config: Any) -> Iterator[Any]:
    """List all JSON objects, and the numbers that may be sizes."""
    pending = [(config, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > _MOST_DEPTH:
            raise WeightsError(f"has a configuration with more than {_MOST_DEPTH} levels")
        if isinstance(value, dict):
            yield value
            named = (item for key, item in value.items() if key not in _NUMBERS_OF_KERAS)
            pending += [(item, depth + 1) for item in named]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]
        elif isinstance(value, int):
            yield value


def _check_value(value: Any) -> None:
    if isinstance(value, int):
        if abs(value) > _MOST_SIDE:
            raise WeightsError(f"has a size of {value:,}, expected at most {_MOST_SIDE:,}")
        return
    if "class_name" not in value:
        return
    name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    own_name = registered in (None, name)
    if name == "function":
        known = value.get("config") in _ACTIVATIONS.split()
        allowed = known and module in ("builtins", "keras.activations")
        name = f"function {value.get('config')}"
    elif isinstance(name, str) and name in _VALUES:
        allowed = "spec_name" not in value
    else:
        texts = isinstance(name, str) and isinstance(module, str)
        allowed = texts and (module, name) in _CLASSES and own_name
    if not allowed:
        place = f"{module}.{name}" if module else str(name)
        own = f" (registered as {str(registered)[:60]})" if not own_name else ""
        raise WeightsError(
            f"has the object {place[:100]}{own}, which tlfeatures doesn't load from a file: only "
            "Keras's own layers for images are allowed, and no optimizer"
        )
    _check_precision(value)


def _check_precision(value: dict[str, Any]) -> None:
    """Refuse a layer of another precision: the spec would say float32 all the same."""
    config, kind = value.get("config"), value["class_name"]
    if not isinstance(config, dict):
        return
    precision: Any = _FLOAT32
    if kind in _POLICIES:
        precision = config.get("name")
    elif value.get("module") == "keras.layers" and kind != "InputLayer":
        precision = config.get("dtype")
    if isinstance(precision, str) and precision != _FLOAT32:
        raise WeightsError(
            f"computes in {precision[:40]}, expected {_FLOAT32}: set the dtype_policy of each "
            f"layer to {_FLOAT32}, and save the network again"
        )
