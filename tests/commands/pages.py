"""A benchmark with a page of it, pages of other benchmarks, and what is read from a page."""

import json
import re
import shutil
from functools import partial

import tlfeatures
from tests.fakes import write_image
from tlfeatures import extract, report
from tlfeatures.reports.page.contents import OPTIONAL

HEADS = ["logreg", "mlp", "dummy"]
SECTIONS = [
    *("heads", "controls", "errors", "probabilities"),
    *("more-images", "epochs", "map", "audit", "made"),
]

benchmark = partial(tlfeatures.benchmark, cv=3, n_jobs=1)


def make_page(photos, folder):
    """Fill a folder: photos with two copies of one, a.h5, its benchmark, report.html of it all."""
    shutil.copytree(photos, folder / "photos")
    shutil.copy(folder / "photos/red/red00.png", folder / "photos/red/again.png")
    extract(
        folder / "photos",
        folder / "a.h5",
        backbone="pixels",
        size=16,
        pools=["avg", "flatten"],
        command="tlfeatures extract photos",
    )
    benchmark(
        folder / "a.h5",
        heads=HEADS,
        params={"steps": 20},  # of mlp
        out=folder / "out",
        command="tlfeatures benchmark a.h5",
    )
    report(folder / "out", folder / "report.html", n_jobs=1)


def page_of(folder, only=(), **options):
    """Write a page of a benchmark's folder, with only those sections that can be left out.

    Give what `report` gives, and the page.
    """
    path = folder.parent / f"page of {folder.name}.html"
    without = [name for name in OPTIONAL if name not in only]
    made = report(folder, path, without=without, n_jobs=1, **options)
    return made, path.read_text()


def write_split(folder, counts):
    """Write images of two classes in train and val; `counts` are by (part, label)."""
    for (part, label), count in counts.items():
        for number in range(count):
            seed = 100 * (label == "red") + 20 * (part == "val") + number
            write_image(folder / part / label / f"{number}.png", seed)


def sections(html):
    return re.findall(r'<section id="([\w-]+)"', html)


def album(html):
    """Read what the page's script shows: ids, labels, predictions and pictures."""
    return json.loads(re.search(r'id="album">(.*?)</script>', html, re.DOTALL)[1])
