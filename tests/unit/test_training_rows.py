"""A data set with variants: how it is laid out for fits, loaded from a file, and identified."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fakes import IMAGE, VARIANT, names_of, with_variants
from tests.unit.data import dataset, named
from tlfeatures import benchmark, fit, learning_curve, load_dataset
from tlfeatures.benchmarking.digests import fingerprint
from tlfeatures.dataset.labelled import label_images
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.file.reader import open_embeddings


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


def test_variants_stand_below_their_images():
    data = named(n=5, v=3, classes="ab")
    rows = TrainingRows.of(data)
    assert names_of(rows.X[:5]) == [(i, 0) for i in range(5)]
    assert sorted(names_of(rows.X)) == with_variants(range(5), 3)
    image = rows.X[:, IMAGE].astype(int)
    np.testing.assert_array_equal(rows.variant, rows.X[:, VARIANT])
    np.testing.assert_array_equal(rows.y, data.y[image])
    np.testing.assert_array_equal(rows.together, image)
    taken = rows.of_images(np.array([3, 1]))
    assert taken[:2].tolist() == [3, 1]
    assert sorted(names_of(rows.X[taken])) == with_variants([1, 3], 3)
    assert rows.of_images(np.array([], int)).tolist() == []


def test_without_variants_the_rows_are_the_very_matrix():
    data = dataset()
    rows = TrainingRows.of(data)
    assert rows.X is data.X
    assert rows.together is None
    np.testing.assert_array_equal(rows.of_images(np.array([4, 2])), [4, 2])
    empty = replace(data, variants=np.empty((60, 0, 6), np.float32))
    assert TrainingRows.of(empty).X is data.X


def test_rows_that_are_taken_keep_their_variants():
    data = replace(named(n=6, groups=np.array(list("aabbcc"))), looks=np.arange(6.0)[:, None])
    some = data.take(np.array([5, 0]))
    assert some.n_variants == 2
    assert some.variants[:, :, IMAGE].tolist() == [[5, 5], [0, 0]]
    assert some.looks.tolist() == [[5], [0]]


# ---- files


def test_as_many_variants_are_loaded_as_are_wanted(file):
    with open_embeddings(file) as reader:
        expected = reader.read_variants("grid4.flatten", 3)
    every = load_dataset(file, "grid4.flatten")
    np.testing.assert_array_equal(every.variants, expected)
    assert (every.n_variants, every.variants.dtype) == (3, np.float32)
    assert (every.variants != every.X[:, None]).any(axis=2).all()
    two = load_dataset(file, "grid4.flatten", variants=2)
    np.testing.assert_array_equal(two.variants, expected[:, :2])
    none = load_dataset(file, "grid4.flatten", variants=0)
    assert (none.n_variants, none.variants) == (0, None)
    np.testing.assert_array_equal(none.X, every.X)
    labelled = {id_: "xy"[i % 2] for i, id_ in enumerate(every.ids[::3])}
    some = load_dataset(file, "grid4.flatten", labelled)
    np.testing.assert_array_equal(some.variants, expected[::3])


@pytest.mark.parametrize("wanted", [4, -1])
def test_more_variants_than_there_are_is_one_line(file, wanted):
    options = {"embedding": "grid4.flatten", "variants": wanted}
    for work in (
        lambda: load_dataset(file, **options),
        lambda: fit(file, **options),
        lambda: learning_curve(file, **options),
        lambda: benchmark(file, heads="dummy", variants=wanted),
    ):
        with pytest.raises(ParameterError, match=rf"variants is {wanted}, .* has 3 of each") as got:
            work()
        assert "--augment N" in str(got.value)
        assert "\n" not in str(got.value)
    with pytest.raises(ParameterError, match=r"variants is 1, .* has none"):
        load_dataset(file.with_name("plain.h5"), "grid4.flatten", variants=1)


def test_variants_that_are_not_finite_are_refused():
    data = named(n=4)
    data.variants[2, 1, 0] = np.inf
    labelled = label_images(data.ids.tolist(), "x.h5")
    with pytest.raises(
        DatasetError,
        match=r"x.avg has values that are not finite for 1 images, such as 'a/0002.png'",
    ):
        labelled.with_embeddings(
            data.X,
            np.zeros((4, 32), np.uint8),
            embedding="x.avg",
            spec=data.spec,
            near_duplicates=None,
            variants=data.variants,
        )


def test_a_fingerprint_is_of_the_variants_too(file):
    prints = [
        fingerprint(load_dataset(file, "grid4.flatten", variants=wanted))
        for wanted in (0, 1, 2, 3, None)
    ]
    assert len(set(prints)) == 4
    assert prints[3] == prints[4]
    assert len({text.partition("+")[0] for text in prints}) == 1
    assert prints[0] == fingerprint(load_dataset(file.with_name("plain.h5"), "grid4.flatten"))
    data = load_dataset(file, "grid4.flatten")
    data.variants[3, 1, 5] += 1
    assert fingerprint(data) not in prints
