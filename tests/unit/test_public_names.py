"""The public names, and which module may import what."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import tlfeatures

PACKAGE = Path(tlfeatures.__file__).parent


def test_public_names_are_these():
    assert tlfeatures.__all__ == [
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
    for name in set(tlfeatures.__all__) - {"HEADS"}:
        assert getattr(tlfeatures, name).__doc__, name


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(tlfeatures, "no_such_name")


def imported_by(path: Path) -> set[str]:
    """Name each module that a file imports, with the packages around it; also where it is used."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(parts[: n + 1]) for parts in map(split, names) for n in range(len(parts))}


def split(name: str) -> list[str]:
    return name.split(".")


@cache
def imports() -> dict[str, set[str]]:
    """Of each file of the package."""
    files = PACKAGE.rglob("*.py")
    return {path.relative_to(PACKAGE).as_posix(): imported_by(path) for path in files}


def files_importing(module: str) -> set[str]:
    return {file for file, names in imports().items() if module in names}


def test_heavy_libraries_have_one_room_each():
    engines = "features/engines"
    assert files_importing("tensorflow") == {f"{engines}/keras_engine.py"}
    assert all(file.startswith(f"{engines}/keras_") for file in files_importing("keras"))
    assert files_importing("keras_hub") == {f"{engines}/keras_networks/load_preset.py"}
    assert files_importing("openvino") == {f"{engines}/openvino_engine.py"}
    assert files_importing("ncnn") == {f"{engines}/ncnn_engine.py"}
    assert files_importing("onnxruntime") == {f"{engines}/onnx_session.py"}
    assert files_importing("pooch") == {"features/backbones/web.py"}
    names = ("checks", "create", "mapped", "reader", "writer")
    reading = {f"features/file/{name}.py" for name in names}
    assert files_importing("h5py") == reading | {
        "features/backbones/hdf5_links.py",
        "features/backbones/weights_file.py",
        "features/exchange/hdf5_files.py",
    }
    assert files_importing("fsspec") == {"features/sources/locations.py"}
    cluster = {f"features/cluster/{name}.py" for name in ("client", "connect")}
    assert files_importing("distributed") == cluster
    assert {path.split("/")[0] for path in files_importing("click")} == {"cli", "terminal"}
    frames = files_importing("pandas")
    assert "data_frames.py" in frames
    assert files_importing("openpyxl") == {"features/sources/tables/excel.py"}
    assert files_importing("pyarrow") == {
        "benchmarking/parquet.py",
        "features/exchange/parquet_files.py",
        "features/sources/containers/parquet_rows.py",
    }
    assert files_importing("jinja2") == {"reports/page/write.py"}
    drawing = files_importing("matplotlib")
    assert {str(Path(file).parent) for file in drawing} == {"reports/drawing"}


def test_other_packages_are_imported_by_their_public_names():
    private = {
        (file, name)
        for file, names in imports().items()
        for name in names
        if split(name)[0] not in {"tlfeatures", *sys.stdlib_module_names}
        and re.match("_(?!_)", split(name)[-1])
    }
    # The trees of a fitted HistGradientBoostingClassifier have no public type.
    trees = "sklearn.ensemble._hist_gradient_boosting"
    assert private == {("models/head_arrays.py", trees)}


def test_only_the_command_line_prints():
    pattern = re.compile(r"\b(print|click\.echo)\(")
    found = {p for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text())}
    assert {p.relative_to(PACKAGE).as_posix() for p in found} == {
        "terminal/stopping.py",
        "terminal/streams.py",
    }
