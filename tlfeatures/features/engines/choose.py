"""The table of engines, and which of them is the fastest on this machine.

Keras is always installed. The others are extras of this package that compute the same function on a
CPU, faster: `pip install 'tlfeatures[openvino]'`, `'tlfeatures[ncnn]'`. An engine is part of the
spec: a file records what made it, and is updated by the same one. ONNX Runtime
(`'tlfeatures[onnx]'`) computes users' own networks, and no other backbone. A new engine is a module
of its own, which imports its library in functions only, and an entry in `ENGINES`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tlfeatures.errors import EngineError, ParameterError
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.engines import keras_engine
from tlfeatures.features.engines.engine import Engine
from tlfeatures.features.engines.ncnn_engine import NcnnBackbone
from tlfeatures.features.engines.onnxruntime_engine import OnnxRuntimeBackbone
from tlfeatures.features.engines.openvino_engine import OpenVINOBackbone
from tlfeatures.features.spec import PRECISIONS, Spec
from tlfeatures.names import unknown_name


def _is_described(backbone: Backbone) -> bool:
    return bool(backbone.network.kernels)


def _is_keras_application(backbone: Backbone) -> bool:
    # Without a description no tensors are found, and Keras would keep weights that it draws.
    return backbone.keras_application is not None and _is_described(backbone)


def _is_declared(backbone: Backbone) -> bool:
    return backbone.declared_format == "onnx"


DECLARED = "onnxruntime"  # the one engine of users' own networks

ENGINES = {
    "keras": Engine(
        ("float32", "bfloat16"), _is_keras_application, keras_engine.load, "keras", gpu=True
    ),
    "openvino": Engine(
        ("float32", "bfloat16", "int8"), _is_described, OpenVINOBackbone, "openvino"
    ),
    "ncnn": Engine(("float32",), _is_described, NcnnBackbone, "ncnn"),
    DECLARED: Engine(("float32",), _is_declared, OnnxRuntimeBackbone, "onnxruntime", extra="onnx"),
}

# The fastest first, as measured (see benchmarks/). ncnn has Winograd's convolutions, whose larger
# kernels take as long to read for a small image as for a large one; OpenVINO has convolutions of
# bfloat16 and of 8-bit integers.
_FASTEST = {
    "float32": ("ncnn", "openvino", "keras"),
    "bfloat16": ("openvino", "keras"),
    "int8": ("openvino",),
}
_FASTEST_OF_SMALL = ("openvino", "keras", "ncnn")
_SMALL = 80 * 80


class Hardware:
    """Tells whether this machine multiplies bfloat16 in hardware. Tests replace this class."""

    def cpu_has_bfloat16(self) -> bool:
        """Whether the CPU does, according to the flags that Linux lists."""
        try:
            flags = set(Path("/proc/cpuinfo").read_text().split())
        except OSError:  # not Linux
            return False
        return bool(flags & {"amx_bf16", "avx512_bf16"})

    def gpu_has_bfloat16(self, device: str) -> bool | None:
        """Whether the GPU of a `device` does; None without a GPU.

        Keras is started only where a driver is installed, as starting it takes long.
        """
        if device == "cpu" or (device == "auto" and not _may_have_gpu()):
            return None
        return keras_engine.gpu_has_bfloat16()


def _may_have_gpu() -> bool:
    drivers = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, Windows's
    return sys.platform != "linux" or any(Path(path).exists() for path in drivers)


HARDWARE = Hardware()


def choose_engine(
    engine: str | None,
    precision: str | None,
    device: str,
    size: tuple[int, int],
    old: Spec | None = None,
    hardware: Hardware = HARDWARE,
) -> tuple[str, str]:
    """Fill in the engine and the precision that the user left out.

    Parameters
    ----------
    engine, precision : str or None
        None and "auto" stand for what the file was made with. Without a file they stand for
        bfloat16 where the hardware multiplies it, and for the fastest installed engine of the
        precision; on a GPU that is Keras.
    device : {"auto", "cpu", "gpu"}
    size : (int, int)
        Height and width of the images that enter the backbone, in pixels.
    old : Spec, optional
        The spec of the file that is updated.
    hardware : Hardware, optional
        This machine's if not given.

    Returns
    -------
    (str, str)
        Engine and precision.

    Raises
    ------
    ParameterError
        If there is no such engine or precision, or they don't go together.
    EngineError
        If the engine isn't installed.
    """
    if engine not in (None, "auto", *ENGINES):
        raise unknown_name("engine", str(engine), ("auto", *ENGINES))
    if precision not in (None, "auto", *PRECISIONS):
        raise unknown_name("precision", str(precision), ("auto", *PRECISIONS))
    engine = None if engine == "auto" else engine
    precision = None if precision == "auto" else precision
    if old is not None:
        engine, precision = engine or old.engine, precision or old.precision
    if precision is None:
        precision = _fastest_precision(engine, device, hardware)
    if engine is None:
        engine = _fastest_engine(precision, device, size, hardware)
    if old is None:  # else the plan compares them with the file, which may have nothing to do
        check_engine(engine, precision, device)
    return engine, precision


def choose_for_declared(
    engine: str | None, precision: str | None, device: str, *, installed: bool = True
) -> tuple[str, str]:
    """Return the engine and the precision of a user's own network; see `choose_engine`.

    Parameters
    ----------
    engine, precision, device
        See `choose_engine`.
    installed : bool
        Whether the engine must be installed and fit the device.
    """
    given = {
        "--engine": engine not in (None, "auto", DECLARED),
        "--precision": precision not in (None, "auto", "float32"),
    }
    options = " ".join(option for option, is_given in given.items() if is_given)
    if options:
        raise ParameterError(
            f"a declared backbone is computed by {DECLARED} in float32: leave out {options}"
        )
    if installed:
        check_engine(DECLARED, "float32", device)
    return DECLARED, "float32"


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
        extra = chosen.extra or chosen.package
        raise EngineError(f"engine {engine} is not installed: pip install 'tlfeatures[{extra}]'")


def _fastest_precision(engine: str | None, device: str, hardware: Hardware) -> str:
    """Choose bfloat16 where the hardware has it: 2 times as fast with AVX512-BF16, 10 with AMX."""
    if engine is not None and "bfloat16" not in ENGINES[engine].precisions:
        return "float32"
    gpu = None
    if engine is None or ENGINES[engine].gpu:
        gpu = hardware.gpu_has_bfloat16(device)
    native = hardware.cpu_has_bfloat16() if gpu is None else gpu
    return "bfloat16" if native else "float32"


def _fastest_engine(precision: str, device: str, size: tuple[int, int], hardware: Hardware) -> str:
    if device == "gpu":
        return "keras"
    if precision != "int8" and hardware.gpu_has_bfloat16(device) is not None:
        return "keras"
    if precision == "bfloat16" and not hardware.cpu_has_bfloat16():
        return "keras"  # the only one that computes it anyway, slowly
    small = precision == "float32" and size[0] * size[1] < _SMALL
    names = _FASTEST_OF_SMALL if small else _FASTEST[precision]
    installed = [name for name in names if ENGINES[name].installed]
    return (installed or list(names))[0]
