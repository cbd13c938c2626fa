"""The study runs, whole, on a few real images at sizes that take seconds."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def study(study_folder):
    import study

    return study


def linked(source: Path, target: Path, most: int) -> Path:
    """The first images of each class."""
    for folder in sorted(path for path in source.rglob("*") if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.is_file())[:most]
        (target / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
        for path in files:
            (target / path.relative_to(source)).symlink_to(path)
    return target


@pytest.mark.integration
def test_the_whole_study_from_folders_of_images(study, data, weights, tmp_path, capsys):
    plan = study.Plan(
        images=linked(data / "intel", tmp_path / "images", 40),
        hymenoptera=linked(data / "hymenoptera", tmp_path / "insects", 20),
        work=tmp_path / "work",
        out=tmp_path,
        weights=weights,
        sizes={32: 2, 64: 0, 96: 0},
        reference_size=32,
        splits=2,
        repeats=1,
        few={3: (3, 5, 8, 12), 8: (35,)},
        seeds=1,
    )
    study.run(plan)
    results = study.write_up.load(tmp_path)
    curve = results["reference"]["augmented"]
    assert len(curve["accuracy"]) == 2
    assert all(len(row) == 5 for row in curve["validation_loss"])
    assert (results["reference"]["train"], results["reference"]["validation"]) == (60, 20)
    assert results["reference"]["variants"] == curve["variants"] == 2
    assert len(results["better"]["table"]) == len(study.rows(plan))
    assert 0.5 < results["better"]["selected"]["accuracy"] <= 1
    assert sum(results["better"]["selected"]["chosen"].values()) == 5
    assert [point["folds"] for point in results["few"]["points"]["best"]] == [3, 3, 3, 3, 3, 8]
    assert len(results["hymenoptera"]["table"]) == 7
    study.write_up.draw_all(results, tmp_path / "figures")
    text = study.write_up.render(results, claim=lambda true: "")
    assert f"{results['better']['selected']['accuracy']:.3f}" in text
    before = json.loads((tmp_path / "results" / "extraction.json").read_text())
    study.embed(plan)  # there is nothing to do, and what was measured is kept
    assert json.loads((tmp_path / "results" / "extraction.json").read_text()) == before
