"""Entries that were fitted, calibrated or scored in an earlier way are computed again."""

from tests.unit.data import run_benchmark
from tlfeatures.benchmarking import compute, run


def test_entries_of_an_earlier_way_are_computed_again(flatten_file, tmp_path, monkeypatch):
    given = {"heads": ["ridge", "dummy"], "cv": 3, "out": tmp_path / "out"}
    with monkeypatch.context() as patch:
        older = compute.FIT_VERSION - 1
        patch.setattr(compute, "FIT_VERSION", older)
        patch.setattr(run, "FIT_VERSION", older)
        assert run_benchmark(flatten_file, **given).computed == 2
        assert run_benchmark(flatten_file, **given).computed == 0
    again = run_benchmark(flatten_file, **given)
    assert again.computed == 2
    assert len(again.entries) == 2
    assert run_benchmark(flatten_file, **given).computed == 0
