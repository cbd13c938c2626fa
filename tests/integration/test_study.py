"""The whole study, on few photographs at sizes that take seconds.

Promise: `make study` is a whole study, from folders of images to its write-up (section "More").
Promise: `--augment` adds seeded variants, on which heads are trained (its reference's setting).
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.conftest import link_all
from tests.photographs import save_textures
from tlfeatures import HEADS

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def study(study_folder):
    import study

    return study


def link_first(source: Path, target: Path, most: int) -> None:
    """Link the first images of each class."""
    for folder in sorted(path for path in source.rglob("*") if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        link_all(files[:most], target / folder.relative_to(source))


def tune_little(monkeypatch):
    """Leave tuning two values of one parameter of each head."""
    for name, head in HEADS.items():
        grid = {key: values[len(values) // 2 :][:2] for key, values in head.grid.items()}
        monkeypatch.setitem(HEADS, name, replace(head, grid=dict(list(grid.items())[:1])))


@pytest.fixture
def plan(form, request, study, weights, tmp_path, monkeypatch):
    """Little of everything; of the crops fewer heads, too: mlp takes minutes to tune."""
    images, insects = tmp_path / "images", tmp_path / "insects"
    if form == "crops":
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # so few are done before processes are up
        tune_little(monkeypatch)
        save_textures(images, 16)
        save_textures(insects / "train", 12)
        save_textures(insects / "val", 6, 12)
        heads = ("linear-svm", "rbf-svm", "knn", "gradient-boosting", "centroid")
        more = {"few": {3: (3, 4, 6, 8), 6: (13,)}, "heads": heads, "sizes": {32: 2, 64: 0, 72: 0}}
    else:
        data = request.getfixturevalue("data")
        link_first(data / "intel", images, 40)
        link_first(data / "hymenoptera", insects, 20)
        more = {"few": {3: (3, 5, 8, 12), 8: (35,)}, "sizes": {32: 2, 64: 0, 96: 0}}
    counts = {"splits": 3, "repeats": 1, "seeds": 1, "reference_size": 32}
    places = {"work": tmp_path / "work", "out": tmp_path, "images": images, "hymenoptera": insects}
    return study.Plan(**places, weights=weights, **counts, **more)


# Training and validation images of the reference's setting; folds of each point of a curve, which
# ends with all images.
EXPECTED = {
    "crops": ((24, 8), [3, 3, 3, 3, 3, 6]),
    "reference": ((60, 20), [3, 3, 3, 3, 3, 8]),
}


def test_the_whole_study_from_folders_of_images(form, study, plan):
    study.run(plan)
    results = study.write_up.load(plan.out)
    parts, folds = EXPECTED[form]
    curve = results["reference"]["augmented"]
    assert len(curve["accuracy"]) == plan.splits
    assert all(len(row) == 5 for row in curve["validation_loss"])
    assert (results["reference"]["train"], results["reference"]["validation"]) == parts
    assert results["reference"]["variants"] == curve["variants"] == 2
    assert len(results["better"]["table"]) == len(study.rows(plan))
    assert 0.5 < results["better"]["selected"]["accuracy"] <= 1
    assert sum(results["better"]["selected"]["chosen"].values()) == 5
    assert [point["folds"] for point in results["few"]["points"]["best"]] == folds
    assert len(results["hymenoptera"]["table"]) == 7
    study.write_up.draw_all(results, plan.out / "figures")
    text = study.write_up.render(results, claim=lambda true: "")
    assert f"{results['better']['selected']['accuracy']:.3f}" in text
    before = json.loads((plan.out / "results" / "extraction.json").read_text())
    study.embed(plan)  # there is nothing to do, and what was measured is kept
    assert json.loads((plan.out / "results" / "extraction.json").read_text()) == before
