"""What `tlfeatures.features.doctor` found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tlfeatures.data_frames import frame_of_rows
from tlfeatures.html_tables import Cell, facts_html, result_html, table_html, text_html
from tlfeatures.machine import Cores, Disk, Processor
from tlfeatures.names import counted

if TYPE_CHECKING:
    from pandas import DataFrame

    from tlfeatures.features.backbones.kept_weights import KeptWeights
    from tlfeatures.features.measured_rates import Rate


_RATE_COLUMNS: dict[str, type[str] | type[float]] = {
    **{"backbone": str, "engine": str, "precision": str, "height": int, "width": int},
    **{"layer": str, "images_per_second": float},
}


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

    def __repr__(self) -> str:
        """Describe it in one line."""
        return f"<Diagnosis: {self._about()}>"

    def _about(self) -> str:
        engines = self.engines or {}
        installed = [f"{name} {facts.version}" for name, facts in engines.items() if facts.version]
        cores = "" if self.cores is None else f"{counted(self.cores.usable, 'core')}, "
        gpu = "no GPU" if self.gpu is None or not self.gpu.drivers else "GPU"
        return f"{cores}{gpu}, engines: {', '.join(installed) or 'none'}"

    def _repr_html_(self) -> str:
        """Show the machine, the engines and their measured speed in a notebook."""
        facts: dict[str, Cell] = {
            "processor": None if self.processor is None else self.processor.model,
            "GPU": ", ".join(self.gpu.models or self.gpu.drivers) if self.gpu else None,
            "weights here": ", ".join(self.weights) if self.weights else None,
            "free disk space": f"{self.disk.free / 1e9:.1f} GB" if self.disk else None,
            **{f"{part} unknown": reason for part, reason in self.unknown.items()},
        }
        engines = [
            (name, each.version or f"not installed: pip install {each.requirement}",
             ", ".join(each.precisions))
            for name, each in (self.engines or {}).items()
        ]  # fmt: skip
        rates = [
            (row["backbone"], row["engine"], row["precision"], f"{row['images_per_second']:.1f}")
            for row in self._rates()
        ]
        return result_html(
            "Diagnosis",
            facts_html(facts),
            table_html(["engine", "version", "precisions"], engines),
            table_html(["backbone", "engine", "precision", "images/s"], rates),
            *(text_html(advice) for advice in self.advice or ()),
            about=self._about(),
        )

    def _rates(self) -> list[dict[str, Any]]:
        return [
            {
                "backbone": backbone,
                "engine": rate.engine,
                "precision": rate.precision,
                "height": rate.size[0],
                "width": rate.size[1],
                "layer": rate.layer,
                "images_per_second": rate.images_per_second,
            }
            for backbone, rates in (self.rates or {}).items()
            for rate in rates
        ]

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each measured speed. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `backbone`, `engine`, `precision`, `height` and `width` of the images in pixels,
            `layer` and `images_per_second`. There are no rows before `doctor(measure=True)`.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        return frame_of_rows(self._rates(), _RATE_COLUMNS)

    def to_dict(self) -> dict[str, Any]:
        """Return all parts as JSON-ready values."""
        return asdict(self)
