"""Entries that were fitted, calibrated or scored in an earlier way are computed again."""

import pytest

from tests.unit.data import run_benchmark, use_fit_version
from tlfeatures.benchmarking.compute import FIT_VERSION


@pytest.mark.slow
def test_entries_of_an_earlier_way_are_computed_again(flatten_file, tmp_path, monkeypatch):
    given = {"heads": ["ridge", "dummy"], "cv": 3, "out": tmp_path / "out"}
    with monkeypatch.context() as patch:
        use_fit_version(patch, FIT_VERSION - 1)
        assert run_benchmark(flatten_file, **given).computed == 2
        assert run_benchmark(flatten_file, **given).computed == 0
    again = run_benchmark(flatten_file, **given)
    assert again.computed == 2
    assert len(again.entries) == 2
    assert run_benchmark(flatten_file, **given).computed == 0
