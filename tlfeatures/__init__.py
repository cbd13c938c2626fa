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
    from tlfeatures.dataset.export_features import FeaturesFile, export_features
    from tlfeatures.dataset.load import embedded_ids, load_dataset
    from tlfeatures.errors import TlfeaturesError
    from tlfeatures.features.cluster.connect import TLS
    from tlfeatures.features.diagnosis import Diagnosis
    from tlfeatures.features.doctor import doctor
    from tlfeatures.features.extract import extract
    from tlfeatures.features.extraction import Extraction
    from tlfeatures.features.import_features import Importing, import_features
    from tlfeatures.features.list_backbones import BackboneFacts, list_backbones
    from tlfeatures.features.merge import Merging, merge
    from tlfeatures.features.transformer import Extractor
    from tlfeatures.features.verification import Verification
    from tlfeatures.features.verify import verify
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
    from tlfeatures.reports.drawing.confusion_matrix import ConfusionDisplay
    from tlfeatures.reports.drawing.curves import (
        PrecisionRecallDisplay,
        ReliabilityDisplay,
        RocDisplay,
    )
    from tlfeatures.reports.drawing.heads import HeatMapDisplay, RankingDisplay
    from tlfeatures.reports.drawing.image_map import EmbeddingMapDisplay
    from tlfeatures.reports.drawing.progress_curves import (
        LearningCurveDisplay,
        TrainingCurveDisplay,
    )
    from tlfeatures.reports.report import Report, plot, report
    from tlfeatures.reports.report_labels import LabelReport, report_labels

__version__ = "0.1.0"

__all__ = [
    "HEADS",
    "TLS",
    "Audit",
    "BackboneFacts",
    "Benchmark",
    "ConfusionDisplay",
    "CrossValidation",
    "Dataset",
    "Diagnosis",
    "EmbeddingMapDisplay",
    "Evaluation",
    "Export",
    "Extraction",
    "Extractor",
    "FeaturesFile",
    "FitResult",
    "HeatMapDisplay",
    "Importing",
    "LabelReport",
    "LearningCurve",
    "LearningCurveDisplay",
    "Merging",
    "Model",
    "ModelEvaluation",
    "PrecisionRecallDisplay",
    "Prediction",
    "Predictions",
    "PredictionsTable",
    "RankingDisplay",
    "ReliabilityDisplay",
    "Report",
    "RocDisplay",
    "TlfeaturesError",
    "TrainingCurve",
    "TrainingCurveDisplay",
    "Verification",
    "audit",
    "benchmark",
    "cross_validate",
    "cross_validate_heads",
    "describe",
    "doctor",
    "embedded_ids",
    "export",
    "export_features",
    "extract",
    "fit",
    "head_grid",
    "import_features",
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
    "tlfeatures.dataset.export_features": ("FeaturesFile", "export_features"),
    "tlfeatures.dataset.load": ("embedded_ids", "load_dataset"),
    "tlfeatures.errors": ("TlfeaturesError",),
    "tlfeatures.model_selection.cross_validation": ("cross_validate", "cross_validate_heads"),
    "tlfeatures.model_selection.evaluation": ("CrossValidation", "Evaluation"),
    "tlfeatures.models.evaluate": ("ModelEvaluation",),
    "tlfeatures.models.export.export": ("Export", "export"),
    "tlfeatures.features.diagnosis": ("Diagnosis",),
    "tlfeatures.features.doctor": ("doctor",),
    "tlfeatures.features.list_backbones": ("BackboneFacts", "list_backbones"),
    "tlfeatures.features.extract": ("extract",),
    "tlfeatures.features.extraction": ("Extraction",),
    "tlfeatures.features.import_features": ("Importing", "import_features"),
    "tlfeatures.features.merge": ("Merging", "merge"),
    "tlfeatures.features.transformer": ("Extractor",),
    "tlfeatures.features.verification": ("Verification",),
    "tlfeatures.features.verify": ("verify",),
    "tlfeatures.benchmarking.fit": ("fit",),
    "tlfeatures.benchmarking.fit_result": ("FitResult",),
    "tlfeatures.heads.table": ("HEADS", "head_grid", "make_head"),
    "tlfeatures.models.describe": ("describe",),
    "tlfeatures.model_selection.learning_curve.measure": ("learning_curve",),
    "tlfeatures.model_selection.learning_curve.results": ("LearningCurve",),
    "tlfeatures.models.predictions": ("Prediction", "Predictions"),
    "tlfeatures.models.model": ("Model",),
    "tlfeatures.reports.drawing.confusion_matrix": ("ConfusionDisplay",),
    "tlfeatures.reports.drawing.curves": (
        "PrecisionRecallDisplay",
        "ReliabilityDisplay",
        "RocDisplay",
    ),
    "tlfeatures.reports.drawing.heads": ("HeatMapDisplay", "RankingDisplay"),
    "tlfeatures.reports.drawing.image_map": ("EmbeddingMapDisplay",),
    "tlfeatures.reports.drawing.progress_curves": ("LearningCurveDisplay", "TrainingCurveDisplay"),
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
