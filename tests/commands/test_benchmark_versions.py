"""Folders of earlier versions are brought up to date, without computing anything again."""

import json

import pytest
from sklearn.pipeline import Pipeline

from tests.unit.data import run_benchmark
from tlfeatures.benchmarking import run as benchmarking
from tlfeatures.benchmarking.benchmark import load_benchmark
from tlfeatures.benchmarking.store import store as results
from tlfeatures.errors import FormatError
from tlfeatures.heads.classifiers.named_boosting import NamedBoosting
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.heads.parameters import with_new_params

HEADS = ["logreg", "knn", "dummy"]


@pytest.fixture
def file(two_embeddings_file):
    return two_embeddings_file


def test_a_folder_of_an_earlier_version_is_brought_up_to_date(file, tmp_path, no_fits):
    run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out")
    path = tmp_path / "out" / "results.json"
    facts = json.loads(path.read_text())
    del facts["files"], facts["commands"], facts["copy_pairs"]
    path.write_text(json.dumps(facts))
    with pytest.raises(FormatError, match="run its `tlfeatures benchmark"):
        load_benchmark(tmp_path / "out")
    no_fits()
    run_benchmark(file, cv=3, heads=HEADS, out=tmp_path / "out")
    assert load_benchmark(tmp_path / "out").comparison.ranking


# ---- heads that have got parameters since


GROWN = ["mlp", "gradient-boosting"]


BOOSTING = {"max_iter": 5, "max_leaf_nodes": 8, "min_samples_leaf": 5}


@pytest.fixture
def grown(file, tmp_path, monkeypatch):
    """A folder of before mlp had scale and variants, and boosting early_stopping=False."""
    real = benchmarking.entry_key

    def key(base, name, params, grid, seed, *rest):
        if name == "mlp":
            new = ("classifier__scale", "classifier__variants")
            params = {key: value for key, value in params.items() if key not in new}
        else:
            classifier = NamedBoosting(**BOOSTING, random_state=seed)
            steps = [("coordinates", PrincipalCoordinates(64)), ("classifier", classifier)]
            params = Pipeline(steps).get_params()
        return real(base, name, params, grid, seed, *rest)

    monkeypatch.setattr(benchmarking, "entry_key", key)
    run_grown(file, tmp_path)
    monkeypatch.undo()
    for name, value in (("scale", None), ("variants", "all"), ("early_stopping", False)):
        change_params(tmp_path / "out", lambda params, pair=(name, value): drop(params, *pair))
    return file


def run_grown(file, tmp_path, **options):
    defaults = {"heads": GROWN, "embeddings": "grid8.avg", "cv": 3}
    params = {"epochs": 2, "steps": 1, "max_iter": 5, **options.pop("params", {})}
    return run_benchmark(file, out=tmp_path / "out", params=params, **{**defaults, **options})


def drop(params, name, value):
    if name in params:
        assert params.pop(name) == value


def change_params(out, change):
    facts = json.loads((out / "results.json").read_text())
    for entry in facts["heads"]:
        change(entry["params"])
    (out / "results.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("stops", [None, "auto"])
def test_parameters_that_a_head_had_not_yet_are_its_defaults(grown, tmp_path, no_fits, stops):
    if stops is not None:  # as it was written, in place of nothing
        change_params(
            tmp_path / "out",
            lambda params: "max_iter" in params and params.update(early_stopping=stops),
        )
    more = run_grown(grown, tmp_path, repeats=2)
    assert more.computed == 2
    ranking = more.comparison.ranking
    assert sorted((rank.label, rank.repeats) for rank in ranking) == [
        ("gradient-boosting", 2),
        ("mlp", 2),
    ]
    no_fits()
    assert run_grown(grown, tmp_path, repeats=2).computed == 0
    assert load_benchmark(tmp_path / "out").comparison == more.comparison


def test_what_is_computed_again_with_them_takes_the_place_of_the_old(grown, tmp_path):
    keys = [entry.facts["key"] for entry in load_benchmark(tmp_path / "out").entries]
    for name in ("results.json", "predictions.csv"):
        path = tmp_path / "out" / name
        for key in keys:
            path.write_text(path.read_text().replace(key, key[::-1]))
    again = run_grown(grown, tmp_path)
    assert again.computed == 2
    assert sorted(rank.label for rank in again.comparison.ranking) == sorted(GROWN)


def test_a_folder_that_has_them_twice_already_is_mended(grown, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # as it went before old ones were known
        patch.setattr(results, "with_new_params", lambda name, params, rows: params)
        patch.setattr(benchmarking, "without_new_params", lambda name, head, rows: {})
        twice = run_grown(grown, tmp_path)
    assert len(twice.comparison.ranking) == 4
    once = run_grown(grown, tmp_path)
    assert once.computed == 0
    assert sorted((rank.head, rank.repeats) for rank in once.comparison.ranking) == [
        ("gradient-boosting", 1),
        ("mlp", 1),
    ]


def test_a_perceptron_with_turns_is_another_one(grown, tmp_path):
    run_grown(grown, tmp_path, params={"variants": "turns"})
    found = run_grown(grown, tmp_path, params={"scale": 2.0})
    assert found.computed == 1
    assert sorted(rank.label for rank in found.comparison.ranking) == [
        "gradient-boosting",
        "mlp scale=2.0 variants=all",
        "mlp scale=None variants=all",
        "mlp scale=None variants=turns",
    ]


def test_boosting_that_stopped_early_is_another_one():
    for rows, stops in ((10_000, False), (10_001, "auto")):
        assert with_new_params("gradient-boosting", {"early_stopping": "auto"}, rows) == {
            "early_stopping": stops
        }
