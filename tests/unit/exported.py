"""Models to export, and what the exported graphs give."""

from dataclasses import replace

import numpy as np

from tests.unit.data import SPEC, dataset
from tlfeatures import Model, export, make_head
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.features.settings import Settings, make_spec
from tlfeatures.models.export.backbone import add_backbone

SIZE = (50, 67)  # large enough that new colours seldom fall on the edge of a tree


SPECIFIED = replace(SPEC, size=SIZE, preprocessing="divided by 255")


NAMES = ["ant", "bee", "cow", "dog"]


def pictures(count, seed=0):
    """Noise, brighter by the class; of SIZE."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 150, (count, *SIZE, 3), np.uint8)
    return noise + (np.arange(count) % 4 * 25).astype(np.uint8)[:, None, None, None]


def data_of(classes, embedding="grid4.flatten"):
    X = PixelBackbone([embedding]).embed(pictures(60))[embedding]
    y = np.array(NAMES)[np.arange(60) % classes]
    return dataset(n=60, X=X, y=y, embedding=embedding, spec=SPECIFIED)


# What takes long in training, cut short: a graph is as large whatever the head has learned.
QUICK = {
    "mlp": {"epochs": 5, "steps": 1},
    "gradient-boosting": {"max_iter": 20},
    "sklearn.ensemble:ExtraTreesClassifier": {"n_estimators": 20},
    "sklearn.ensemble:GradientBoostingClassifier": {"n_estimators": 20},
}


def model_of(head, classes=2, embedding="grid4.flatten", name=None):
    """Fit a head, or one by name, on sixty pictures."""
    made = make_head(head, **QUICK.get(head, {})) if isinstance(head, str) else head
    return Model.fit(made, data_of(classes, embedding), name=name)


def both(model, folder, count=40):
    """Probabilities and labels of the file, and those of the model."""
    images = pictures(count, seed=1)
    export(model, folder / "m.onnx")
    table, labels = session(folder / "m.onnx").run(None, {"images": images})
    rows = PixelBackbone([model.embedding]).embed(images)[model.embedding]
    named = [model.classes[code] for code in model.predict_codes(rows)]
    return table, labels.tolist(), model.predict_proba(rows), named


def assert_exported_alike(model, folder):
    """Assert that the file gives the model's probabilities, and its labels."""
    table, labels, expected, named = both(model, folder)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, atol=1e-4)
    assert labels == named


def random_vgg16(size=(32, 32)):
    """Describe a VGG16 of random weights, for images of this size."""
    settings = Settings(weights="random", precision="float32")
    return make_spec(settings, "vgg16", size, ["block1_pool.flatten"], "cpu")


def vgg16_rows(spec, embedding, images):
    """Embed images by the graph of a VGG16."""
    graph = Graph()
    rows = add_backbone(graph, "images", spec, embedding)
    model = graph.model(
        {"images": (np.uint8, ("n", *spec.size, 3))}, {"rows": (rows, np.float32, ("n", "d"))}
    )
    return session(model.SerializeToString()).run(None, {"images": images})[0]
