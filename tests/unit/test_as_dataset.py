"""Commands take an embeddings file with options, or a dataset that is loaded already."""

import numpy as np
import pytest

from tests.unit.data import dataset
from tlfeatures import load_dataset
from tlfeatures.dataset.load import as_dataset
from tlfeatures.errors import ParameterError


def test_a_file_is_loaded_with_its_options(flatten_file):
    for path in (flatten_file, str(flatten_file)):
        assert as_dataset(path) == load_dataset(path)
    options = {"groups": "[0-9]", "near_duplicates": None, "label_level": 1}
    assert as_dataset(flatten_file, **options) == load_dataset(flatten_file, **options)
    assert as_dataset(flatten_file, **options).groups is not None


def test_a_dataset_stays_as_it_is(flatten_file):
    data = load_dataset(flatten_file)
    assert as_dataset(data) is data
    assert as_dataset(data, embedding=None, near_duplicates="auto", variants=None) is data


@pytest.mark.parametrize(
    "options",
    [
        {"embedding": "x.avg"},
        {"labels": np.array(["a", "b"])},
        {"groups": "(a)"},
        {"label_level": 1},
        {"columns": {"id": "file"}},
        {"near_duplicates": None},
        {"near_duplicates": 0.9},
        {"variants": 0},
        {"looks": True},
        {"groups": "(a)", "variants": 1},
    ],
)
def test_options_of_a_file_are_refused_with_a_dataset(options):
    with pytest.raises(ParameterError) as refused:
        as_dataset(dataset(), **options)
    names = ", ".join(options)
    assert str(refused.value).startswith(f"{names} can't be changed for a Dataset; give {names} to")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [None, 3, np.zeros((4, 2)), [dataset()]])
def test_something_else_is_refused(data):
    with pytest.raises(ParameterError, match="expected an embeddings file or a Dataset"):
        as_dataset(data)
