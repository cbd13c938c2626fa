"""A script that uses the package from images to predictions, for type checkers to read.

`tests/integration/test_types.py` has it checked by mypy and pyright; it isn't run.
"""

import numpy as np
from PIL import Image

import tlfeatures
from tlfeatures import ConfusionDisplay, Dataset, Extractor, LearningCurveDisplay, Model

extraction = tlfeatures.extract("photos", "photos.h5", size=150, precision="float32", progress=True)
failed: list[str] = [item["reason"] for item in extraction.failed]
data = tlfeatures.load_dataset("photos.h5", near_duplicates=None)
own = Dataset.from_arrays(np.zeros((4, 9)), ["a", "a", "b", "b"], groups=["p", "p", "q", "r"])
half, counts = data[: len(data) // 2], own.counts

compared = tlfeatures.benchmark(data, heads=["logreg", "knn"], cv=5, repeats=2, progress=False)
best = compared.comparison.ranking[0]
name, score = best.label, best.scores["accuracy"]
curve = tlfeatures.learning_curve(data, best.head, cv=3)
findings = tlfeatures.audit(data).findings
result = tlfeatures.fit(data, "logreg", model="photos.model", scoring=["log_loss"])
verdict: str = result.verdict[0]

model = Model.load("photos.model")
opened = Image.open("new/leaf.jpg")
predictions = model.predict(["new", opened, np.zeros((9, 9, 3), np.uint8)], outliers=True)
first, doubtful = predictions[0], predictions[predictions.confidence < 0.6]
label, probability = first.label, first.probabilities["a"]
labels, outliers = predictions.labels, predictions.outliers
errors: list[str] = [each.error for each in model.iter_predict("new") if each.error is not None]
by_features = model.predict_features(half.X, half.ids)
accuracy = model.score(half.X, half.y)
evaluation = model.evaluate(data, random_state=1)
exported = model.export("photos.onnx", check="new")

extractor = Extractor("vgg16", layers="block5_pool", pools="avg", size=150)
rows = extractor.fit().transform(opened for _ in range(3))
frame = predictions.to_frame()
table = evaluation.to_frame()
display = ConfusionDisplay.from_evaluation(evaluation)
LearningCurveDisplay.from_learning_curve(curve).save("curve.png")
report = tlfeatures.report(compared, "report.html", data=data, without=["audit"])
grid = tlfeatures.head_grid("logreg", ["C"])
