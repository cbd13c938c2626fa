"""Good image classifiers from few images: embed once by a frozen network, then fit in seconds.

The public names load on first use, so that importing the package costs nothing and the fast half
never loads TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlfeatures.auditing import Audit, audit
    from tlfeatures.benchmarking import Benchmark, benchmark, load_benchmark
    from tlfeatures.dataset import Dataset, load_dataset
    from tlfeatures.errors import TlfeaturesError
    from tlfeatures.evaluate import Evaluation, cross_validate, cross_validate_heads
    from tlfeatures.evaluating import Trial
    from tlfeatures.exporting.export import Export, export
    from tlfeatures.features.cluster.connect import TLS
    from tlfeatures.features.extract import Extraction, extract
    from tlfeatures.features.merge import Merging, merge
    from tlfeatures.features.transformer import Extractor
    from tlfeatures.features.verify import Verification, verify
    from tlfeatures.fitting import FitReport, fit
    from tlfeatures.heads import HEADS, head_grid, make_head
    from tlfeatures.info import describe
    from tlfeatures.learning_curves import LearningCurve, learning_curve
    from tlfeatures.model import Model, Prediction
    from tlfeatures.reporting import Report, plot, report
    from tlfeatures.training_curves import TrainingCurve, training_curve

__version__ = "0.1.0"

__all__ = [
    "HEADS",
    "TLS",
    "Audit",
    "Benchmark",
    "Dataset",
    "Evaluation",
    "Export",
    "Extraction",
    "Extractor",
    "FitReport",
    "LearningCurve",
    "Merging",
    "Model",
    "Prediction",
    "Report",
    "TlfeaturesError",
    "TrainingCurve",
    "Trial",
    "Verification",
    "audit",
    "benchmark",
    "cross_validate",
    "cross_validate_heads",
    "describe",
    "export",
    "extract",
    "fit",
    "head_grid",
    "learning_curve",
    "load_benchmark",
    "load_dataset",
    "make_head",
    "merge",
    "plot",
    "report",
    "training_curve",
    "verify",
]

_HOMES = {
    "tlfeatures.auditing": ("Audit", "audit"),
    "tlfeatures.benchmarking": ("Benchmark", "benchmark", "load_benchmark"),
    "tlfeatures.features.cluster.connect": ("TLS",),
    "tlfeatures.dataset": ("Dataset", "load_dataset"),
    "tlfeatures.errors": ("TlfeaturesError",),
    "tlfeatures.evaluate": ("Evaluation", "cross_validate", "cross_validate_heads"),
    "tlfeatures.evaluating": ("Trial",),
    "tlfeatures.exporting.export": ("Export", "export"),
    "tlfeatures.features.extract": ("Extraction", "extract"),
    "tlfeatures.features.merge": ("Merging", "merge"),
    "tlfeatures.features.transformer": ("Extractor",),
    "tlfeatures.features.verify": ("Verification", "verify"),
    "tlfeatures.fitting": ("FitReport", "fit"),
    "tlfeatures.heads": ("HEADS", "head_grid", "make_head"),
    "tlfeatures.info": ("describe",),
    "tlfeatures.learning_curves": ("LearningCurve", "learning_curve"),
    "tlfeatures.model": ("Model", "Prediction"),
    "tlfeatures.reporting": ("Report", "plot", "report"),
    "tlfeatures.training_curves": ("TrainingCurve", "training_curve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
