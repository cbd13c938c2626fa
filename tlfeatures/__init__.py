"""Good image classifiers from few images: embed once by a frozen network, then fit in seconds.

The public names load on first use, so that importing the package costs nothing and the fast half
never loads TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlfeatures.benchmarking.benchmark_result import Benchmark, load_benchmark
    from tlfeatures.benchmarking.fit import fit
    from tlfeatures.benchmarking.fit_result import FitResult
    from tlfeatures.benchmarking.predictions import PredictionsTable, write_predictions
    from tlfeatures.benchmarking.run import benchmark
    from tlfeatures.dataset.dataset import Dataset
    from tlfeatures.dataset.load import embedded_ids, load_dataset
    from tlfeatures.errors import TlfeaturesError
    from tlfeatures.features.cluster.connect import TLS
    from tlfeatures.features.diagnosis import Diagnosis
    from tlfeatures.features.doctor import doctor
    from tlfeatures.features.extract import Extraction, extract
    from tlfeatures.features.list_backbones import BackboneFacts, list_backbones
    from tlfeatures.features.merge import Merging, merge
    from tlfeatures.features.transformer import Extractor
    from tlfeatures.features.verify import Verification, verify
    from tlfeatures.heads.table import HEADS, head_grid, make_head
    from tlfeatures.model_selection.audit.audit import audit
    from tlfeatures.model_selection.audit.results import Audit
    from tlfeatures.model_selection.cross_validation import cross_validate, cross_validate_heads
    from tlfeatures.model_selection.evaluation import CrossValidation, Evaluation
    from tlfeatures.model_selection.learning_curve.measure import learning_curve
    from tlfeatures.model_selection.learning_curve.results import LearningCurve
    from tlfeatures.model_selection.training_curve import TrainingCurve, training_curve
    from tlfeatures.models.describe import describe
    from tlfeatures.models.evaluate import ModelEvaluation
    from tlfeatures.models.export.export import Export, export
    from tlfeatures.models.model import Model
    from tlfeatures.models.predictions import Prediction, Predictions
    from tlfeatures.reports.report import Report, plot, report
    from tlfeatures.reports.report_labels import LabelReport, report_labels

__version__ = "0.1.0"

__all__ = [
    "HEADS",
    "TLS",
    "Audit",
    "BackboneFacts",
    "Benchmark",
    "CrossValidation",
    "Dataset",
    "Diagnosis",
    "Evaluation",
    "Export",
    "Extraction",
    "Extractor",
    "FitResult",
    "LabelReport",
    "LearningCurve",
    "Merging",
    "Model",
    "ModelEvaluation",
    "Prediction",
    "Predictions",
    "PredictionsTable",
    "Report",
    "TlfeaturesError",
    "TrainingCurve",
    "Verification",
    "audit",
    "benchmark",
    "cross_validate",
    "cross_validate_heads",
    "describe",
    "doctor",
    "embedded_ids",
    "export",
    "extract",
    "fit",
    "head_grid",
    "learning_curve",
    "list_backbones",
    "load_benchmark",
    "load_dataset",
    "make_head",
    "merge",
    "plot",
    "report",
    "report_labels",
    "training_curve",
    "verify",
    "write_predictions",
]

_HOMES = {
    "tlfeatures.model_selection.audit.audit": ("audit",),
    "tlfeatures.model_selection.audit.results": ("Audit",),
    "tlfeatures.benchmarking.benchmark_result": ("Benchmark", "load_benchmark"),
    "tlfeatures.benchmarking.predictions": ("PredictionsTable", "write_predictions"),
    "tlfeatures.benchmarking.run": ("benchmark",),
    "tlfeatures.features.cluster.connect": ("TLS",),
    "tlfeatures.dataset.dataset": ("Dataset",),
    "tlfeatures.dataset.load": ("embedded_ids", "load_dataset"),
    "tlfeatures.errors": ("TlfeaturesError",),
    "tlfeatures.model_selection.cross_validation": ("cross_validate", "cross_validate_heads"),
    "tlfeatures.model_selection.evaluation": ("CrossValidation", "Evaluation"),
    "tlfeatures.models.evaluate": ("ModelEvaluation",),
    "tlfeatures.models.export.export": ("Export", "export"),
    "tlfeatures.features.diagnosis": ("Diagnosis",),
    "tlfeatures.features.doctor": ("doctor",),
    "tlfeatures.features.list_backbones": ("BackboneFacts", "list_backbones"),
    "tlfeatures.features.extract": ("Extraction", "extract"),
    "tlfeatures.features.merge": ("Merging", "merge"),
    "tlfeatures.features.transformer": ("Extractor",),
    "tlfeatures.features.verify": ("Verification", "verify"),
    "tlfeatures.benchmarking.fit": ("fit",),
    "tlfeatures.benchmarking.fit_result": ("FitResult",),
    "tlfeatures.heads.table": ("HEADS", "head_grid", "make_head"),
    "tlfeatures.models.describe": ("describe",),
    "tlfeatures.model_selection.learning_curve.measure": ("learning_curve",),
    "tlfeatures.model_selection.learning_curve.results": ("LearningCurve",),
    "tlfeatures.models.predictions": ("Prediction", "Predictions"),
    "tlfeatures.models.model": ("Model",),
    "tlfeatures.reports.report": ("Report", "plot", "report"),
    "tlfeatures.reports.report_labels": ("LabelReport", "report_labels"),
    "tlfeatures.model_selection.training_curve": ("TrainingCurve", "training_curve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__  # tab completion shows these
