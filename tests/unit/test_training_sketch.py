"""Copies of training images are found by their embeddings, and left out of an evaluation.

Promise: an image is left out exactly if `load_dataset` would call it a near-duplicate of a training
image; images of other photographs are tested.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.data import dataset
from tlfeatures import Dataset, Model, make_head
from tlfeatures.dataset.distances import unit_roots
from tlfeatures.dataset.duplicates import find_near_duplicates, resembles
from tlfeatures.errors import DatasetError, FormatError
from tlfeatures.features.combined import BackbonePart
from tlfeatures.features.spec import Spec
from tlfeatures.models.training_sketch import TrainingSketch
from tlfeatures.terminal.model_text import render_evaluation

VGG16 = Spec(
    backbone="vgg16", size=(32, 32), precision="float32", weights="none", weights_sha256=None
)
BLOCK5 = BackbonePart("", VGG16, "block5_pool.avg")
LIMIT = 0.4


def photographs(seed, n, columns=512):
    """Embeddings of different photographs: activations, of which a third are near 0."""
    random = np.random.default_rng(seed)
    return random.gamma(0.5, size=(n, columns)).astype(np.float32)


def copied(X, seed, noise=0.05):
    """Embeddings of the same photographs, saved again."""
    random = np.random.default_rng(seed)
    return X * np.exp(random.normal(scale=noise, size=X.shape)).astype(np.float32)


def labelled(X, **fields):
    """Make a dataset of VGG16's embeddings."""
    made = dataset(len(X), X=X, spec=VGG16, embedding=BLOCK5.embedding, near_duplicates=LIMIT)
    return replace(made, **fields)


@pytest.fixture(scope="module")
def trained():
    return photographs(0, 300)


@pytest.fixture(scope="module")
def model(trained):
    return Model.fit(make_head("logreg"), labelled(trained))


@pytest.mark.parametrize("columns", [64, 512, 4096])
def test_copies_are_found_and_other_photographs_are_not(columns):
    X = photographs(0, 300, columns)
    sketch = TrainingSketch.fit(X, [BackbonePart("", replace(VGG16, backbone="other"), "x.avg")])
    assert sketch.values.nbytes <= 300 * 512
    assert sketch.finds(copied(X[::3], 1), [LIMIT]).all()
    assert sketch.finds(X, [1.0]).all()
    assert not sketch.finds(photographs(2, 500, columns), [LIMIT]).any()


def test_what_is_found_is_what_a_common_search_finds(trained):
    """Of copies that are less and less alike, those are found that one search of all finds."""
    random = np.random.default_rng(3)
    new = copied(trained, 4, noise=random.uniform(0.05, 2, (300, 1)))
    sketch = TrainingSketch.fit(trained, [BLOCK5])
    pairs, _ = find_near_duplicates(np.concatenate([trained, new]), LIMIT)
    known = np.zeros(300, bool)
    known[pairs[(pairs[:, 0] < 300) & (pairs[:, 1] >= 300)][:, 1] - 300] = True
    assert 30 < known.sum() < 270
    assert (sketch.finds(new, [LIMIT]) == known).mean() > 0.98
    exact = resembles(unit_roots(new), unit_roots(trained), LIMIT, block=64)
    assert (exact == known).mean() > 0.98


@pytest.mark.parametrize("n", [10, 20, 40])
def test_new_images_of_few_very_different_training_images_are_tested(n):
    """The scale stays in the class, also if the class is half of few training images."""
    X = photographs(12, n + 100)
    of_first = np.arange(len(X)) % 2 == 0
    X[of_first, :256] += 4
    X[~of_first, 256:] += 4
    sketch = TrainingSketch.fit(X[:n], [BLOCK5])
    assert not sketch.finds(X[n:], [LIMIT]).any()
    assert sketch.finds(copied(X[:n], 1), [LIMIT]).all()


def test_an_embedding_of_zeros_is_like_no_image(trained):
    X = trained.copy()
    X[:5] = 0
    found = TrainingSketch.fit(X, [BLOCK5]).finds(np.zeros((3, 512), np.float32), [LIMIT])
    assert found.tolist() == [False] * 3


def test_one_training_image_gives_no_scale(trained):
    sketch = TrainingSketch.fit(trained[:1], [BLOCK5])
    assert not sketch.finds(trained[:1], [LIMIT]).any()


@pytest.mark.parametrize(
    ("embedding", "columns"),
    [
        ("block5_pool.avg", (0, 512)),
        ("block1_pool.avg+block5_pool.avg", (64, 576)),
        ("block1_pool.avg", None),  # it confuses textures
    ],
)
def test_copies_are_searched_in_the_deepest_layer_alone(embedding, columns):
    X = photographs(5, 50, 64 if columns is None else columns[1])
    sketch = TrainingSketch.fit(X, [BackbonePart("", VGG16, embedding)])
    assert (None if sketch is None else sketch.columns) == (None if columns is None else (columns,))


def test_too_few_columns_have_no_sketch():
    few = photographs(0, 50, 63)
    assert TrainingSketch.fit(few, [BackbonePart("", VGG16, "x.avg")]) is None


def test_several_backbones_find_together_what_each_of_them_finds(trained):
    parts = [BackbonePart(name, VGG16, "block5_pool.avg") for name in ("a", "b")]
    sketch = TrainingSketch.fit(np.hstack([trained, photographs(6, 300)]), parts)
    new = np.hstack([copied(trained[:10], 7), photographs(8, 10)])
    assert sketch.columns == ((0, 512), (512, 1024))
    assert sketch.finds(new, [LIMIT, None]).all()
    assert sketch.finds(new, [LIMIT, LIMIT]).all()
    assert not sketch.finds(new, [None, LIMIT]).any()
    assert sketch.finds(new, [None, None]) is None


def test_an_evaluation_leaves_copies_out_and_names_them(model, trained, tmp_path):
    new = labelled(np.concatenate([copied(trained[:3], 9), photographs(10, 40)]))
    model.save(tmp_path / "m.model")
    for each in (model, Model.load(tmp_path / "m.model")):
        found = each.evaluate(new)
        assert (found.images, found.seen, found.tested) == (43, 0, 40)
        assert found.nearly_seen == tuple(new.ids[:3])
        assert found.to_dict()["nearly_seen"] == new.ids[:3].tolist()
        assert set(new.ids[:3]).isdisjoint(found.ids)
        for text in (render_evaluation(found), found._repr_html_()):
            assert "3 near-duplicates of images that the model was fitted on: a/0000.png" in text


def test_copies_are_tested_if_the_dataset_has_no_limit(model, trained):
    found = model.evaluate(labelled(copied(trained[:30], 9), near_duplicates=None))
    assert (found.tested, found.nearly_seen) == (30, None)
    assert found.not_searched == "the Dataset has no limit of their similarity (near_duplicates)"
    assert found.to_dict()["not_searched"] == found.not_searched
    said = f"copies of training images were not searched: {found.not_searched}"
    assert said in render_evaluation(found)
    assert said in found._repr_html_()
    assert model.evaluate(labelled(photographs(10, 40))).not_searched is None


def test_an_embedding_that_recognises_no_copies_is_said():
    other = Model.fit(make_head("logreg"), dataset(60))
    assert other.sketch is None
    found = other.evaluate(dataset(30))
    assert found.not_searched == f"the embedding {other.embedding} does not recognise copies"
    lines = render_evaluation(found).splitlines()
    assert sum("were not searched" in line for line in lines) == 1


def test_a_dataset_of_nothing_but_copies_is_refused(model, trained):
    with pytest.raises(DatasetError, match=r"knows all 30 .* near-duplicates .* a/0000\.png"):
        model.evaluate(labelled(copied(trained[:30], 9)))


def test_same_files_and_copies_are_counted_each_for_itself(trained):
    digests = np.random.default_rng(0).integers(0, 256, (343, 32), np.uint8)
    model = Model.fit(make_head("logreg"), labelled(trained, digests=digests[:300]))
    own = np.concatenate([digests[:2], digests[302:343]])
    X = np.concatenate([trained[:2], copied(trained[2:3], 1), photographs(10, 40)])
    found = model.evaluate(labelled(X, digests=own))
    assert (found.images, found.seen, len(found.nearly_seen), found.tested) == (43, 2, 1, 40)
    assert (
        "left out: 2 images that the model was fitted on, and 1 near-duplicate of them: "
        "a/0002.png\n" in render_evaluation(found)
    )
    with pytest.raises(DatasetError, match="fitted on 2 of them, and fitted on near-duplicates"):
        model.evaluate(labelled(X[:3], digests=own[:3]))


def test_arrays_have_the_limit_that_the_user_gives(trained):
    y = np.array(["a", "b"]).repeat(150)
    model = Model.fit(make_head("logreg"), Dataset.from_arrays(trained, y))
    new = np.concatenate([copied(trained[:3], 9), photographs(10, 40)])
    for limit, expected in ((None, None), (LIMIT, ("00", "01", "02"))):
        data = Dataset.from_arrays(new, y[:43], near_duplicates=limit)
        assert model.evaluate(data).nearly_seen == expected


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        ([[0, 512]], lambda values: values.astype(np.float16)),
        ([[0, 512]], lambda values: values[1:]),
        ([[0, 512]], lambda values: values[:, 1:]),
        ([[0, 512]], lambda values: values.ravel()),
        ([[0, 513]], lambda values: values),
        ([[1, 512]], lambda values: values),
        ([[512, 0]], lambda values: values),
        ([[0, 512], None], lambda values: values),
        ([None], lambda values: values[:, :0]),
    ],
)
def test_a_stored_sketch_that_does_not_fit_is_refused(trained, facts, change):
    values = TrainingSketch.fit(trained, [BLOCK5]).values
    kept = TrainingSketch.of([[0, 512]], values, 300, 512, 1)
    np.testing.assert_array_equal(kept.values, values)
    with pytest.raises(FormatError):
        TrainingSketch.of(facts, change(values), 300, 512, 1)


def test_many_training_images_have_narrower_sketches():
    X = np.tile(photographs(11, 1000), (50, 1))
    assert TrainingSketch.fit(X, [BLOCK5]).values.shape == (50_000, 256)
