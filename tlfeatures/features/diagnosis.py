"""What `tlfeatures.features.doctor` found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tlfeatures.machine import Cores, Disk, Processor

if TYPE_CHECKING:
    from tlfeatures.features.backbones.kept_weights import KeptWeights
    from tlfeatures.features.measured_rates import Rate


@dataclass(frozen=True)
class EngineFacts:
    """An engine that computes embeddings.

    Attributes
    ----------
    version : str or None
        Of its package; None if it isn't installed.
    requirement : str
        What `pip install` takes to install it, as in a shell.
    precisions : tuple of str
        Number formats in which it computes.
    """

    version: str | None
    requirement: str
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """GPUs, and which engines can use them.

    Attributes
    ----------
    drivers : tuple of str
        Makers whose drivers are loaded.
    models : tuple of str
        Names of the GPUs, where the driver lists them.
    engines : tuple of str
        Installed engines that can use a GPU of this machine. Without a driver none is asked.
    """

    drivers: tuple[str, ...]
    models: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True)
class KerasFacts:
    """How Keras will be started.

    Attributes
    ----------
    backend : str
        On which Keras computes.
    chosen_by : str or None
        Environment variable that sets the backend; None: it is the default.
    installed : bool
        Whether the package of the backend is installed.
    supported : bool
        Whether this package supports the backend.
    """

    backend: str
    chosen_by: str | None
    installed: bool
    supported: bool


@dataclass(frozen=True)
class Diagnosis:
    """What is installed, and how fast it is; a part that can't be found is None.

    Attributes
    ----------
    versions : dict of str to str or None
        Of this package, Python, the operating system and libraries; None: not installed.
    engines : dict of name to EngineFacts
    rates : dict of backbone to tuple of Rate
        Measured images per second of the backbones on this machine, the fastest first.
    processor : Processor
    cores : Cores
    gpu : Gpu
    keras : KerasFacts
    weights : dict of backbone to KeptWeights
        Files of published weights on this machine.
    disk : Disk
        Of the cache folder of this package, which has downloads and measurements.
    advice : tuple of str
        What would make embedding faster on this machine; measured elsewhere or here.
    unknown : dict of part to reason
        Why a part is None; also "measuring", if the engines should be measured and could not.
    """

    versions: Mapping[str, str | None] | None
    engines: Mapping[str, EngineFacts] | None
    rates: Mapping[str, tuple[Rate, ...]] | None
    processor: Processor | None
    cores: Cores | None
    gpu: Gpu | None
    keras: KerasFacts | None
    weights: Mapping[str, KeptWeights] | None
    disk: Disk | None
    advice: tuple[str, ...] | None
    unknown: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all parts as JSON-ready values."""
        return asdict(self)
