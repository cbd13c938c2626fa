"""What is installed, how fast it is on this machine, and what would make it faster.

Each part is found by itself. If a package is broken or a file can't be read, that part is None and
`unknown` has the reason. Therefore libraries are imported in functions only, NumPy too.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from tlfeatures.errors import EngineError
from tlfeatures.features.diagnosis import Diagnosis, EngineFacts, Gpu, KerasFacts
from tlfeatures.installed import backend_of_keras, version_of
from tlfeatures.machine import (
    Disk,
    count_cores,
    find_disk,
    find_processor,
    gpu_drivers,
    gpu_models,
)

if TYPE_CHECKING:
    from tlfeatures.features.backbones.kept_weights import KeptWeights
    from tlfeatures.features.measured_rates import Rate

Part = TypeVar("Part")

_PACKAGES = {
    "NumPy": "numpy",
    "scikit-learn": "scikit-learn",
    "h5py": "h5py",
    "Pillow": "pillow",
    "Keras": "keras",
}
_BACKENDS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


def doctor(*, measure: bool = False) -> Diagnosis:
    """Find out what is installed, how fast it is on this machine, and what would make it faster.

    It never fails, downloads nothing, and starts no engine unless a GPU driver is loaded. Then
    engines that can use a GPU are asked whether they see one.

    Parameters
    ----------
    measure : bool, default False
        Whether to measure how fast each installed engine computes VGG16, in float32 and in bfloat16
        where the CPU has it. The speeds are kept, and `extract` uses them. It takes about a
        minute, and needs the weights on this machine.

    Returns
    -------
    Diagnosis
    """
    from tlfeatures.features.advice import advise

    unknown: dict[str, str] = {}

    def find(part: str, look: Callable[[], Part]) -> Part | None:
        try:
            return look()
        except Exception as error:  # a broken package raises whatever its import raises
            unknown[part] = " ".join(str(error).split()) or type(error).__name__
            return None

    if measure:
        find("measuring", _measure)
    engines = find("engines", _find_engines)
    rates = find("rates", _find_rates)
    processor = find("processor", find_processor)
    cores = find("cores", count_cores)
    gpu = find("gpu", lambda: _find_gpu(engines or {}))
    return Diagnosis(
        versions=find("versions", _find_versions),
        engines=engines,
        rates=rates,
        processor=processor,
        cores=cores,
        gpu=gpu,
        keras=find("keras", _find_keras),
        weights=find("weights", _find_weights),
        disk=find("disk", _find_disk),
        advice=find("advice", lambda: advise(engines, rates, processor, cores, gpu)),
        unknown=unknown,
    )


def _find_versions() -> dict[str, str | None]:
    import tlfeatures

    versions: dict[str, str | None] = {
        "tlfeatures": tlfeatures.__version__,
        "Python": platform.python_version(),
    }
    backend = backend_of_keras()
    packages = _PACKAGES | {_BACKENDS.get(backend, backend): backend}
    versions |= {title: version_of(package) for title, package in packages.items()}
    return versions | {"system": f"{platform.system()} {platform.machine()}"}


def _find_engines() -> dict[str, EngineFacts]:
    from tlfeatures.features.engines.choose import ENGINES

    return {
        name: EngineFacts(
            version=version_of(engine.package) if engine.installed else None,
            requirement=engine.requirement or engine.package,
            precisions=engine.precisions,
        )
        for name, engine in ENGINES.items()
    }


def _measure() -> None:
    from tlfeatures.features.measure_vgg16 import measure_vgg16

    measure_vgg16()


def _find_rates() -> Mapping[str, tuple[Rate, ...]]:
    from tlfeatures.features.measured_rates import measured_rates

    return measured_rates()


def _find_gpu(engines: Mapping[str, EngineFacts]) -> Gpu:
    drivers = gpu_drivers()
    if not drivers:
        return Gpu((), (), ())
    installed = [name for name, facts in engines.items() if facts.version is not None]
    able = tuple(name for name in installed if name in _SEES_GPU and _SEES_GPU[name]())
    return Gpu(drivers, gpu_models(), able)


def _keras_sees_gpu() -> bool:
    from tlfeatures.features.engines.keras_engine import gpu_has_bfloat16

    try:
        return gpu_has_bfloat16() is not None
    except EngineError:  # Keras can't be started
        return False


def _onnxruntime_sees_gpu() -> bool:
    from tlfeatures.features.engines.onnx_session import has_cuda

    return has_cuda()


_SEES_GPU = {"keras": _keras_sees_gpu, "onnxruntime": _onnxruntime_sees_gpu}


def _find_keras() -> KerasFacts:
    from tlfeatures.features.engines.keras_start import KERAS_BACKENDS

    backend = backend_of_keras()
    return KerasFacts(
        backend=backend,
        chosen_by="KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else None,
        installed=importlib.util.find_spec(backend) is not None,
        supported=backend in KERAS_BACKENDS,
    )


def _find_weights() -> dict[str, KeptWeights]:
    from tlfeatures.features.list_backbones import list_backbones

    return {facts.name: facts.weights for facts in list_backbones() if facts.weights is not None}


def _find_disk() -> Disk:
    from tlfeatures.features.backbones.download import cache_folder

    return find_disk(cache_folder())
