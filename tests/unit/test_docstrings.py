"""The examples in docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["heads.table", "features.transformer", "dataset.dataset"])
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"tlfeatures.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
