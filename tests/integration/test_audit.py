"""Planted errors in folders of photographs, and what finds them.

Promise: `audit` lists copies with contradicting labels and probable label errors, worst first.
Promise: `--outliers` flags images unlike those that the model was fitted on, and few like them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import write_copy
from tests.photographs import PLACES, save_crops, save_textures
from tlfeatures import Model, extract, load_dataset, make_head
from tlfeatures.model_selection.audit.audit import audit

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Case:
    """What is planted among images of a size, and how much of it the first rows must hold."""

    size: int
    wrong: int
    copies: dict[str, int]
    rows: int
    copies_found: int
    wrong_found: int


CASES = {
    "crops": Case(64, 6, {"identical": 2, "recompressed": 2, "resized": 2}, 12, 6, 5),
    # 5 % of 1,078 labels are wrong.
    "reference": Case(150, 54, {"identical": 10, "recompressed": 5, "resized": 5}, 100, 19, 32),
}


@pytest.fixture(scope="module")
def planted(form, scene_images, tmp_path_factory) -> tuple[Path, set[str], set[frozenset[str]]]:
    """A folder; ids with a wrong label, and pairs of ids that show one photograph."""
    case, folder = CASES[form], tmp_path_factory.mktemp("planted")
    ids = sorted(path.relative_to(scene_images).as_posix() for path in scene_images.glob("*/*"))
    one, two = sorted({id_.partition("/")[0] for id_ in ids})
    other = {one: two, two: one}
    hows = [how for how, count in case.copies.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(ids))
    chosen = [ids[i] for i in order[: case.wrong + len(hows)]]
    where = {id_: id_ for id_ in ids}
    for id_ in chosen[: case.wrong]:
        label, _, name = id_.partition("/")
        where[id_] = f"{other[label]}/{name}"
    for label in other:
        (folder / label).mkdir()
    for id_, target in where.items():
        shutil.copyfile(scene_images / id_, folder / target)
    pairs = set()
    for number, (id_, how) in enumerate(zip(chosen[case.wrong :], hows, strict=True)):
        copy = f"{other[id_.partition('/')[0]]}/copy{number:02d}.jpg"
        write_copy(folder / id_, folder / copy, how)
        pairs.add(frozenset((id_, copy)))
    return folder, {where[id_] for id_ in chosen[: case.wrong]}, pairs


@pytest.mark.slow
def test_planted_labels_and_copies_are_in_the_first_rows(form, planted, embedded, tmp_path):
    (folder, wrong, pairs), case = planted, CASES[form]
    shutil.copyfile(embedded(case.size), tmp_path / "x.h5")  # only the copies are computed
    extract(folder, tmp_path / "x.h5", prune=True)
    result = audit(tmp_path / "x.h5", output=tmp_path / "rows.csv")
    first = result.findings[: case.rows]
    copies = pairs & {
        frozenset((each.id, each.other)) for each in first if each.kind == "near-duplicate"
    }
    labels = wrong & {each.id for each in first if each.kind == "label"}
    top = result.findings[: case.rows // 2]
    right = sum(each.id in wrong or frozenset((each.id, each.other)) in pairs for each in top)
    print(
        f"in the first {case.rows} of {len(result.findings)} rows: {len(labels)} of {len(wrong)} "
        f"wrong labels and {len(copies)} of {len(pairs)} copies; {right} of the first {len(top)} "
        "rows were planted"
    )
    assert len(copies) >= case.copies_found
    assert len(labels) >= case.wrong_found
    assert right >= 0.68 * len(top)
    assert {each.kind for each in result.findings[: len(copies)]} == {"near-duplicate"}
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == len(result.findings) + 1


@pytest.fixture(scope="module")
def strangers(form, scene_images, embedded, request, tmp_path_factory):
    """A model, new images of the kind that it was fitted on, and images of another kind."""
    data, folder = load_dataset(embedded(CASES[form].size), "block5_pool.avg"), scene_images
    if form == "crops":
        folder = tmp_path_factory.mktemp("strangers")
        alike = sorted(save_textures(folder / "alike", 20, 60).glob("*/*"))
        classes = {label: name for label, name in PLACES.items() if label != "grass"}
        unlike = sorted(save_crops(folder / "unlike", classes, 12).glob("*/*"))
        return Model.fit(make_head("centroid"), data), alike, unlike
    held = np.arange(len(data.ids)) % 5 == 0
    alike = [scene_images / id_ for id_ in data.ids[held]][::3]
    unlike = sorted(request.getfixturevalue("data").glob("hymenoptera/*/*/*"))[::6]
    return Model.fit(make_head("centroid"), data.take(np.flatnonzero(~held))), alike, unlike


@pytest.mark.slow
def test_images_of_another_kind_are_flagged_and_few_of_the_same_kind(strangers):
    model, alike, unlike = strangers
    flagged = [
        np.mean([each.outlier for each in model.predict(paths, outliers=True)])
        for paths in (alike, unlike)
    ]
    print(f"{flagged[0]:.3f} of {len(alike)} new ones, {flagged[1]:.3f} of {len(unlike)} others")
    assert flagged[0] <= 0.1
    assert flagged[1] >= 0.9
