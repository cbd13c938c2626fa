"""The table of engines, and which of them computes a new file.

Keras and ONNX Runtime are always installed, and ncnn where it has wheels. OpenVINO is an extra of
this package: `pip install 'tlfeatures[openvino]'`. An engine is part of the spec: a file
records what made it, and is updated by the same one. A new engine is a module of its own, which
imports its library in functions only, an entry in `ENGINES`, and a place in `_rank`.

`choose_engine` measures nothing. It takes what `tlfeatures.features.measure_engines` measured on
this machine in an earlier run, else the first engine of a fixed order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tlfeatures.errors import EngineError, ParameterError
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines import keras_engine, onnxruntime_engine, speeds
from tlfeatures.features.engines.engine import Engine, LoadedBackbone
from tlfeatures.features.engines.keras_networks import declared
from tlfeatures.features.engines.ncnn_engine import NcnnBackbone
from tlfeatures.features.engines.openvino_engine import OpenVINOBackbone
from tlfeatures.features.engines.speeds import Way
from tlfeatures.features.spec import PRECISIONS, Spec
from tlfeatures.machine import find_processor, gpu_drivers
from tlfeatures.names import unknown_name


def _is_described(backbone: Backbone) -> bool:
    return bool(backbone.network.kernels)


def _is_keras_application(backbone: Backbone) -> bool:
    # Without a description no tensors are found, and Keras would keep weights that it draws.
    return backbone.keras_application is not None and _is_described(backbone)


def _is_onnx_file(backbone: Backbone) -> bool:
    return backbone.declared_format == "onnx"


def _is_onnx_graph(backbone: Backbone) -> bool:
    return _is_described(backbone) or _is_onnx_file(backbone)


def _loads_keras(backbone: Backbone) -> bool:
    return _is_keras_application(backbone) or declared.loads(backbone)


def _load_by_keras(
    spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
) -> LoadedBackbone:
    load = keras_engine.load if spec.declaration is None else declared.load
    return load(spec, names, device, weights, threads)


OPENS_ONNX = "onnxruntime"  # always installed: it finds the shapes of an ONNX file's layers

ENGINES = {
    "keras": Engine(
        ("float32", "bfloat16"),
        _loads_keras,
        _load_by_keras,
        "keras",
        gpu=True,
        start_seconds=6.0,  # of which TensorFlow takes most
    ),
    "openvino": Engine(
        ("float32", "bfloat16", "int8"),
        _is_onnx_graph,
        OpenVINOBackbone,
        "openvino",
        requirement="'tlfeatures[openvino]'",
    ),
    "ncnn": Engine(("float32",), _is_described, NcnnBackbone, "ncnn"),
    OPENS_ONNX: Engine(
        ("float32",), _is_onnx_file, onnxruntime_engine.load, "onnxruntime", gpu=True
    ),
}

# Networks that were measured with their published weights: the cosine of each row in bfloat16 to
# the same row in float32 is at least 0.9999. Others fall to 0.90 (MobileNetV2).
_CLOSE_IN_BFLOAT16 = ("vgg16", "squeezenet1-1")

# Least cosine of a row to the same row in float32, of a precision that is chosen by itself.
LEAST_COSINE = 0.999

_SMALL, _MEDIUM = 80 * 80, 192 * 192  # pixels of an image


@dataclass(frozen=True)
class Request:
    """What is to be embedded, before engine and precision are chosen.

    Attributes
    ----------
    spec : Spec
        Its engine and precision have no meaning yet.
    names : tuple of str
        The embeddings wanted, `LAYER.POOLING`.
    device : {"auto", "cpu", "gpu"}
    engine, precision : str or None
        What the user asks for; None and "auto" leave the choice to this package.
    """

    spec: Spec
    names: tuple[str, ...]
    device: str = "auto"
    engine: str | None = None
    precision: str | None = None


class Hardware:
    """Tells how this machine multiplies bfloat16. Tests replace this class."""

    def cpu_bfloat16(self) -> str | None:
        """Name the instructions for it, amx_bf16 or avx512_bf16, by the flags that Linux lists."""
        listed = find_processor().instructions or ()
        names = {"AMX-BF16": "amx_bf16", "AVX512-BF16": "avx512_bf16"}
        return next((names[each] for each in names if each in listed), None)

    def gpu_has_bfloat16(self, device: str) -> bool | None:
        """Whether the GPU of a `device` does; None without a GPU.

        Keras is started only where a driver is installed, as starting it takes long.
        """
        if device == "cpu" or (device == "auto" and not _may_have_gpu()):
            return None
        return keras_engine.gpu_has_bfloat16()


def _may_have_gpu() -> bool:
    return sys.platform != "linux" or bool(gpu_drivers())


HARDWARE = Hardware()


def choose_engine(request: Request, count: int = 1000, hardware: Hardware = HARDWARE) -> Way:
    """Choose what the user left open, without measuring anything.

    Engine and precision are those that are done first by this machine's kept measurements. Without
    any, they are the first ones that are installed in a fixed order.

    Parameters
    ----------
    request : Request
    count : int
        Number of images, if it is known.
    hardware : Hardware, optional
        This machine's if not given.

    Returns
    -------
    (str, str)
        Engine and precision.

    Raises
    ------
    ParameterError
        If there is no such engine or precision, they don't go together, or can't compute this
        backbone.
    EngineError
        If the engine isn't installed.
    """
    ways = possible_ways(request, hardware)
    allowed = [way for way in installed(ways) if may_round(request, way)]
    way = (allowed or ways)[0]
    check_engine(*way, request.device)
    if len(allowed) < 2 or uses_gpu(request, hardware):
        return way
    kept = speeds.read(speeds.workload_of(request.spec, request.names), ENGINES)
    known = {other: kept[other] for other in allowed if other in kept and is_close(kept[other])}
    return min(known, key=lambda other: known[other].seconds(count)) if way in known else way


def installed(ways: list[Way]) -> list[Way]:
    """Leave out the engines that aren't installed."""
    return [way for way in ways if ENGINES[way[0]].installed]


def possible_ways(request: Request, hardware: Hardware = HARDWARE) -> list[Way]:
    """List the engines and precisions that can compute what is requested.

    Returns
    -------
    list of (engine, precision)
        At least one. The fastest ones are first, as far as this is known without measuring.
        Whether they are installed isn't considered.

    Raises
    ------
    ParameterError
        If there are none.
    """
    backbone = request.spec.find_backbone()
    engine, precision = named(request.engine, request.precision)
    if engine is not None:
        check_loads(engine, backbone)
    able = [
        name
        for name, candidate in ENGINES.items()
        if engine in (None, name) and candidate.loads(backbone)
    ]
    if engine is not None and precision is not None:
        return [(engine, precision)]
    ways = [
        way
        for way in _rank(request.spec.size, _gpu_bfloat16(request, hardware), hardware)
        if way[0] in able and precision in (None, way[1]) and way[1] in ENGINES[way[0]].precisions
    ]
    if not ways:
        precisions = {name for each in able for name in ENGINES[each].precisions}
        raise ParameterError(
            f"the backbone {backbone.name} is computed in {' or '.join(sorted(precisions))}, not "
            f"in {precision}: leave out --precision"
        )
    on_device = [way for way in ways if request.device != "gpu" or ENGINES[way[0]].gpu]
    return on_device or ways


def named(engine: str | None, precision: str | None) -> tuple[str | None, str | None]:
    """Return engine and precision as the user names them; None for "auto".

    Raises
    ------
    ParameterError
        If there is no such engine or precision.
    """
    if engine not in (None, "auto", *ENGINES):
        raise unknown_name("engine", str(engine), ("auto", *ENGINES))
    if precision not in (None, "auto", *PRECISIONS):
        raise unknown_name("precision", str(precision), ("auto", *PRECISIONS))
    return None if engine == "auto" else engine, None if precision == "auto" else precision


def may_round(request: Request, way: Way) -> bool | None:
    """Whether the precision of `way` may replace float32, as far as it is known beforehand.

    None: a measurement on some of the user's images decides. Random weights are no evidence: with
    them, bfloat16 looks exact for every network.
    """
    spec, (_, precision) = request.spec, way
    if precision == "float32" or request.precision not in (None, "auto"):
        return True
    if spec.weights == "random":
        return False
    published = spec.weights == "imagenet" or spec.find_backbone().is_published(spec.weights_sha256)
    return True if published and spec.backbone in _CLOSE_IN_BFLOAT16 else None


def is_close(speed: speeds.Speed) -> bool:
    """Whether measured rows are close enough to float32; rows in float32 have no cosine."""
    return speed.cosine is None or speed.cosine >= LEAST_COSINE


def uses_gpu(request: Request, hardware: Hardware = HARDWARE) -> bool:
    """Whether a GPU would compute: then nothing is measured."""
    return request.device == "gpu" or _gpu_bfloat16(request, hardware) is not None


def _gpu_bfloat16(request: Request, hardware: Hardware) -> bool | None:
    """Whether the GPU multiplies bfloat16; None without one, or without an engine that uses it."""
    backbone, (engine, _) = request.spec.find_backbone(), named(request.engine, None)
    on_gpu = any(
        candidate.gpu and engine in (None, name) and candidate.loads(backbone)
        for name, candidate in ENGINES.items()
    )
    return hardware.gpu_has_bfloat16(request.device) if on_gpu else None


def _rank(size: tuple[int, int], gpu: bool | None, hardware: Hardware) -> list[Way]:
    """Order engines and precisions, the fastest first, as measured (see benchmarks/).

    ncnn has Winograd's convolutions, whose larger kernels take as long to read for a small image as
    for a large one. In bfloat16 OpenVINO is 10 times as fast as in float32 with AMX, and 2 times
    with AVX512-BF16. Of large images, ncnn then computed 1.5 times as many in float32 on one
    machine, and 0.76 times as many on another. Keras is last on a CPU, because TensorFlow takes
    seconds to start.
    """
    pixels = size[0] * size[1]
    names = ["openvino", "ncnn"] if pixels < _SMALL else ["ncnn", "openvino"]
    float32 = [(name, "float32") for name in ("onnxruntime", *names)]
    openvino, keras = ("openvino", "bfloat16"), ("keras", "bfloat16")
    instructions = hardware.cpu_bfloat16()
    if gpu is not None:
        on_gpu = [*([keras] if gpu else []), ("keras", "float32"), ("onnxruntime", "float32")]
        ranked = [*on_gpu, *float32, keras, openvino]
    elif instructions == "amx_bf16":
        ranked = [openvino, keras, *float32]
    elif instructions is None:  # Keras computes bfloat16 anyway, slowly
        ranked = [*float32, ("keras", "float32"), keras, openvino]
    elif pixels < _MEDIUM:
        ranked = [openvino, *float32, keras]
    else:
        ranked = [*float32[:2], openvino, *float32[2:], keras]
    listed = [*ranked, ("keras", "float32"), ("openvino", "int8")]
    return list(dict.fromkeys(listed))


def check_loads(engine: str, backbone: Backbone) -> None:
    """Raise `ParameterError` if an engine can't load a backbone; it names those that can."""
    if not ENGINES[engine].loads(backbone):
        able = [name for name, other in ENGINES.items() if other.loads(backbone)]
        raise ParameterError(
            f"engine {engine} can't load the backbone {backbone.name}; there are: {', '.join(able)}"
        )


def check_engine(engine: str, precision: str, device: str) -> None:
    """Refuse an engine that isn't installed, or can't compute so; raises as `choose_engine`."""
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    chosen = ENGINES[engine]
    if precision not in chosen.precisions:
        raise ParameterError(
            f"engine {engine} computes in {' or '.join(chosen.precisions)}, not in {precision}: "
            "leave out --engine, or --precision"
        )
    if device == "gpu" and not chosen.gpu:
        raise ParameterError(f"engine {engine} has no GPU: leave out --engine, or --device")
    if not chosen.installed:
        needed = chosen.requirement or chosen.package
        raise EngineError(f"engine {engine} is not installed: pip install {needed}")
