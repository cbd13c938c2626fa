"""One result of each kind, of images whose classes and names are hostile to HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.unit.drawings import learning_curve_of, training_of
from tlfeatures import (
    audit,
    benchmark,
    cross_validate,
    doctor,
    export_features,
    extract,
    fit,
    import_features,
    learning_curve,
    load_dataset,
    merge,
    report,
    report_labels,
    verify,
    write_predictions,
)
from tlfeatures.models.export.check import Check
from tlfeatures.models.export.export import Export

SCRIPT, TURNED, ARABIC = "<script>alert(1)</script>", "a\u202egnp.exe & 'b'", "جبل"
CLASSES = (SCRIPT, TURNED, ARABIC)


def write_images(folder: Path, each: int = 12) -> dict[str, str]:
    """Write images of three colours, and one file that is no image; return the labels by id."""
    random, labels = np.random.default_rng(0), {}
    for code, label in enumerate(CLASSES):
        for number in range(each):
            name = f"<b>{code}-{number:02d}</b>.png".replace("/", "")
            tint = 120 + 30 * np.eye(3)[code] + random.normal(0, 25, 3)
            pixels = np.clip(tint + random.normal(0, 20, (24, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name)
            labels[name] = label
    (folder / "<i>broken<i>.png").write_bytes(b"no image")
    labels["<i>broken<i>.png"] = ARABIC
    return labels


def one_of_each(folder: Path) -> dict[str, Any]:
    """Make results by the functions of the package, in an empty folder."""
    images, file = folder / "images", folder / "file.h5"
    images.mkdir()
    labels = write_images(images)
    extraction = extract(images, file, backbone="pixels", size=16)
    data = load_dataset(file, labels=labels)
    fitted = fit(data, ["logreg", "knn", "dummy"], model=folder / "m.model", cv=3, n_jobs=1)
    compared = benchmark(data, ["logreg"], cv=3, out=folder / "out", n_jobs=1)
    labelled = fitted.model.predict(images)
    without = ["images", "map", "audit", "learning-curve", "epochs"]
    return {
        "Dataset": data,
        "Extraction": extraction,
        "CrossValidation": cross_validate("logreg", data, cv=3),
        "ModelEvaluation": evaluation_of(folder, fitted.model),
        "Benchmark": compared,
        "FitResult": fitted,
        "Model": fitted.model,
        "LearningCurve": learning_curve(data, cv=3),
        "LearningCurve with a forecast": learning_curve_of("help"),
        "TrainingCurve": training_of(epochs=34, ended=[(1, 20)]),
        "Audit": audit(data),
        "Verification": verify(file, images),
        "Verification of a folder that has changed": verify_changed(folder, file, images),
        "Merging": merge(file),
        "Diagnosis": doctor(),
        "Export": some_export(),
        "Report": report(compared, folder / "page.html", data=data, without=without, n_jobs=1),
        "FeaturesFile": export_features(file, folder / "features.npz"),
        "Importing": import_features(folder / "features.npz", folder / "imported.h5"),
        "LabelReport": report_labels(labelled, folder / "labels.html", model=fitted.model),
        "Predictions": labelled,
        "PredictionsTable": write_predictions(folder / "out", folder / "table.csv"),
    }


def evaluation_of(folder: Path, model: Any) -> Any:
    """Evaluate a model on images that it wasn't fitted on."""
    random, new = np.random.default_rng(1), folder / "new"
    new.mkdir()
    labels = {}
    for code, label in enumerate(CLASSES):
        for number in range(4):
            pixels = random.integers(60 + 40 * code, 200, (24, 32, 3), np.uint8)
            Image.fromarray(pixels).save(new / f"{code}{number}.png")
            labels[f"{code}{number}.png"] = label
    return model.evaluate(new, labels=labels)


def verify_changed(folder: Path, file: Path, images: Path) -> Any:
    """Verify a file after an image was removed and another was added."""
    changed = folder / "changed"
    changed.mkdir()
    for path in sorted(images.iterdir())[1:]:
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "<u>new<u>.png").write_bytes(sorted(images.iterdir())[1].read_bytes())
    return verify(file, changed, sample=0)


def some_export() -> Export:
    """Describe an exported model, which would take an extra to make."""
    check = Check(8, 1e-6, 0, True, 120.0, 60.0, "float32", {})
    facts = ("logreg", "block5_pool.avg", list(CLASSES), [224, 224], "float32", "bfloat16")
    return Export("m.onnx", 59_000_000, *facts, "imagenet", check)
