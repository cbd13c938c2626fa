"""The real VGG16 finds copies of training images among new images.

Promise: a copy that was recompressed, resized or cropped a little is left out of an evaluation and
named, and no other image is left out.
"""

from pathlib import Path

import pytest

from tests.integration.conftest import link_all, write_copy
from tests.photographs import save_crops
from tlfeatures import extract, fit
from tlfeatures.models.evaluate import evaluate

pytestmark = pytest.mark.integration

HOW = ("recompressed", "resized", "cropped", "identical")


def test_copies_of_training_images_are_left_out_and_named(tmp_path: Path) -> None:
    classes = {"grass": "grass", "tissue": "immunohistochemistry"}
    images = save_crops(tmp_path / "images", classes, 14)
    old, new = tmp_path / "old", tmp_path / "new"
    for label in classes:
        paths = sorted((images / label).iterdir())
        link_all(paths[:10], old / label)
        link_all(paths[10:], new / label)
        for path, how in zip(paths, HOW, strict=False):
            write_copy(path, new / label / f"{how}{path.suffix}", how)
    extract(old, tmp_path / "old.h5", size=64)
    fit(tmp_path / "old.h5", "logreg", cv=3, model=tmp_path / "m.model", n_jobs=1)
    found = evaluate(tmp_path / "m.model", new)
    assert (found.images, found.seen) == (16, 2)
    named = {(Path(id_).parent.name, Path(id_).stem) for id_ in found.nearly_seen}
    assert named == {(label, how) for label in classes for how in HOW[:3]}
    every = evaluate(tmp_path / "m.model", new, near_duplicates=None)
    assert (every.tested, every.nearly_seen) == (14, None)
