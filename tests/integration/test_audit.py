"""How many planted errors of real photos the audit finds in its first 100 rows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlfeatures import extract
from tlfeatures.auditing import audit

pytestmark = pytest.mark.integration

OTHER = {"glacier": "mountain", "mountain": "glacier"}
WRONG, COPIES = 54, 20  # 5 % of 1,078 labels


def _copy(source: Path, target: Path, number: int) -> None:
    """Ten identical files, five of JPEG quality 70, five of 120 % of the size."""
    if number < 10:
        shutil.copyfile(source, target)
        return
    image = Image.open(source).convert("RGB")
    if number < 15:
        image.save(target, "JPEG", quality=70)
    else:
        larger = image.resize(
            (image.width * 6 // 5, image.height * 6 // 5), Image.Resampling.BICUBIC
        )
        larger.save(target, "JPEG", quality=90)


@pytest.fixture(scope="module")
def planted(tmp_path_factory, data) -> tuple[Path, set[str], set[frozenset[str]]]:
    """The photos; ids with a wrong label, and pairs of ids that show one photo."""
    folder = tmp_path_factory.mktemp("planted")
    ids = [path.relative_to(data / "intel").as_posix() for path in sorted(data.glob("intel/*/*"))]
    chosen = [ids[i] for i in np.random.default_rng(0).permutation(len(ids))[: WRONG + COPIES]]
    where = {id_: id_ for id_ in ids}
    for id_ in chosen[:WRONG]:
        label, _, name = id_.partition("/")
        where[id_] = f"{OTHER[label]}/{name}"
    for label in OTHER:
        (folder / label).mkdir()
    for id_, target in where.items():
        shutil.copyfile(data / "intel" / id_, folder / target)
    pairs = set()
    for number, id_ in enumerate(chosen[WRONG:]):
        copy = f"{OTHER[id_.partition('/')[0]]}/copy{number:02d}.jpg"
        _copy(folder / id_, folder / copy, number)
        pairs.add(frozenset((id_, copy)))
    return folder, {where[id_] for id_ in chosen[:WRONG]}, pairs


def test_planted_labels_and_copies_are_in_the_first_100_rows(planted, weights, tmp_path):
    folder, wrong, pairs = planted
    extract(folder, tmp_path / "x.h5", weights=weights, size=150)
    result = audit(tmp_path / "x.h5", output=tmp_path / "rows.csv")
    first = result.findings[:100]
    copies = pairs & {
        frozenset((each.id, each.other)) for each in first if each.kind == "near-duplicate"
    }
    labels = wrong & {each.id for each in first if each.kind == "label"}
    top = result.findings[:50]
    right = sum(each.id in wrong or frozenset((each.id, each.other)) in pairs for each in top)
    print(
        f"in the first 100 of {len(result.findings)} rows: {len(labels)} of {WRONG} wrong labels "
        f"and {len(copies)} of {COPIES} copies; {right} of the first 50 rows were planted"
    )
    assert len(copies) >= 19
    assert len(labels) >= 32
    assert right >= 34
    assert {each.kind for each in result.findings[: len(copies)]} == {"near-duplicate"}
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == len(result.findings) + 1
