"""A benchmark's folder keeps entries with and without variants apart."""

import numpy as np
import pytest

from tests.unit.data import use_fit_version
from tlfeatures import (
    benchmark,
    cross_validate,
    extract,
    load_benchmark,
    load_dataset,
    make_head,
    report,
)
from tlfeatures.benchmarking.digests import fingerprint
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.reports.benchmark_analyses import Analyses


@pytest.fixture
def file(augmented_file):
    """Embeddings of 24 images, with three variants of each."""
    return augmented_file


def run_benchmark(file, out, **options):
    defaults = {"heads": "logreg", "embeddings": "grid4.flatten", "cv": 3, "n_jobs": 1}
    return benchmark(file, out=out, **{**defaults, **options})


def labels_of(result):
    return sorted(rank.label for rank in result.comparison.ranking)


@pytest.mark.slow
def test_entries_with_and_without_variants_are_apart(file, tmp_path):
    out = tmp_path / "out"
    assert labels_of(run_benchmark(file, out)) == ["logreg (3 variants)"]
    both = run_benchmark(file, out, variants=0)
    assert labels_of(both) == ["logreg", "logreg (3 variants)"]
    assert both.computed == 1
    assert {rank.embedding for rank in both.comparison.ranking} == {"grid4.flatten"}
    assert [entry.facts["variants"] for entry in both.entries] == [3, 0]
    tables = [entry.probabilities for entry in both.entries]
    assert (tables[0] != tables[1]).any()
    for variants in (None, 3, 0):
        again = run_benchmark(file, out, variants=variants)
        assert again.computed == 0
        assert len(again.entries) == 2
    more = run_benchmark(file, out, variants=2, tune=True)
    assert "logreg (tuned, 2 variants)" in labels_of(more)
    assert (more.computed, len(more.entries)) == (1, 3)
    assert load_benchmark(out).comparison == more.comparison


def test_what_was_fitted_on_variants_in_another_way_is_computed_again(file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    use_fit_version(monkeypatch, 1)
    for variants in (None, 0):
        run_benchmark(file, out, variants=variants)
    monkeypatch.undo()
    again = [run_benchmark(file, out, variants=variants) for variants in (None, 0, None)]
    assert [result.computed for result in again] == [1, 1, 0]
    assert labels_of(again[-1]) == ["logreg", "logreg (3 variants)"]


def test_the_same_images_without_variants_by_another_file_are_not_computed_again(file, tmp_path):
    run_benchmark(file, tmp_path / "out", variants=0)
    again = run_benchmark(file.with_name("plain.h5"), tmp_path / "out")
    assert again.computed == 0
    assert labels_of(again) == ["logreg"]


def test_each_of_a_head_with_and_without_variants_can_be_shown(file, tmp_path):
    for variants in (0, 2, 3):
        run_benchmark(file, tmp_path / "out", variants=variants)
    analyses = Analyses(load_benchmark(tmp_path / "out"))
    for label, variants in (("logreg", 0), ("logreg (2 variants)", 2), ("logreg (3 variants)", 3)):
        assert analyses.entry(analyses.rank(label)).facts["variants"] == variants
        assert [rank.label for rank in analyses.ranks(label, "grid4.flatten")] == [label]
    with pytest.raises(ParameterError, match=r"logreg \(2 variants\)"):
        analyses.rank("logreg (1 variant)")


def test_parameters_tell_heads_with_and_without_variants_apart(file, tmp_path):
    out = tmp_path / "out"
    run_benchmark(file, out, variants=0, params={"C": 3.0})
    assert labels_of(run_benchmark(file, out)) == ["logreg C=0.01 (3 variants)", "logreg C=3.0"]
    assert Analyses(load_benchmark(out)).ranks("logreg") == load_benchmark(out).comparison.ranking


def test_entries_are_what_cross_validation_gives(file, tmp_path):
    result = run_benchmark(file, tmp_path / "out", heads=["knn", "ridge"])
    for entry in result.entries:
        head = make_head(entry.facts["head"])
        alone = cross_validate(head, load_dataset(file, "grid4.flatten"), cv=3)
        np.testing.assert_array_equal(entry.probabilities, alone.probabilities)
        np.testing.assert_array_equal(entry.fold, alone.fold)


def test_two_recipes_of_as_many_variants_are_told_apart_by_their_files(photos, tmp_path):
    for name, how in (("a.h5", "rotation=30"), ("b.h5", "brightness=0.5")):
        made = {"backbone": "pixels", "size": 16, "layers": ["grid8.flatten"]}
        extract(photos, tmp_path / name, **made, augment=2, augment_spec=how)
    found = benchmark([tmp_path / "a.h5", tmp_path / "b.h5"], heads="logreg", n_jobs=1)
    assert {rank.embedding for rank in found.comparison.ranking} == {
        "a.h5:grid8.flatten",
        "b.h5:grid8.flatten",
    }


# ---- pages and analyses


@pytest.mark.slow
def test_a_page_can_be_made_of_both(file, tmp_path):
    out, params = tmp_path / "out", {"epochs": 3, "steps": 1}
    run_benchmark(file, out, heads=["mlp"], params=params, variants=0)
    run_benchmark(file, out, heads=["mlp", "dummy"], params=params)
    report(out, tmp_path / "page.html", n_jobs=1)
    html = (tmp_path / "page.html").read_text()
    assert "dummy (3 variants)" in html
    for part in ("more-images", "epochs", "map", "audit"):
        assert f'<section id="{part}"' in html


def test_analyses_load_as_many_variants_again(file, tmp_path):
    params = {"epochs": 3, "steps": 1}
    for variants in (None, 0, 2):
        found = run_benchmark(file, tmp_path / "out", heads="mlp", params=params, variants=variants)
    analyses = Analyses(load_benchmark(tmp_path / "out"), n_jobs=1)
    seen = set()
    for rank in found.comparison.ranking:
        facts, data = analyses.entry(rank).facts, analyses.dataset(rank)
        assert data.n_variants == facts["variants"]
        assert fingerprint(data) == facts["matrix"]
        curve = analyses.training(rank)
        np.testing.assert_allclose(
            curve.validation_accuracy[:, -1], facts["scores"]["accuracy"]["folds"]
        )
        np.testing.assert_allclose(
            curve.validation_loss[:, -1], facts["scores"]["log_loss"]["folds"], rtol=1e-6
        )
        seen.add(data.n_variants)
    assert seen == {0, 2, 3}


def test_other_variants_in_the_file_are_noticed(file, augmented_folder, tmp_path):
    result = run_benchmark(file, tmp_path / "out")
    (rank,) = result.comparison.ranking
    file.unlink()
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4", "grid8"], "pools": "flatten"}
    extract(
        augmented_folder / "photos", file, augment=3, augment_spec="rotation=10,seed=1", **settings
    )
    with pytest.raises(DatasetError, match="has changed since the benchmark was computed"):
        Analyses(load_benchmark(tmp_path / "out")).dataset(rank)
