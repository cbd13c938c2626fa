"""Archives and Parquet files on real processes: kill -9 in the middle, and a cluster's workers."""

import zipfile

import pytest

from tests.fakes import assert_same, rows_of, write_image
from tests.integration.test_kill import BATCH, Run, Story
from tests.range_server import serving
from tlfeatures import extract

pytestmark = pytest.mark.integration

PIXELS = {"backbone": "pixels", "batch_size": BATCH, "size": 16}
COUNT = 40


@pytest.fixture
def folder(tmp_path):
    for number in range(COUNT):
        write_image(tmp_path / "photos" / "ab"[number % 2] / f"{number:03d}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def archive(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.glob("*/*")):
            archive.write(path, path.relative_to(folder))
    return tmp_path / "photos.zip"


@pytest.fixture
def parquet(folder, tmp_path):
    import pyarrow
    from pyarrow.parquet import write_table

    paths = sorted(folder.glob("*/*"))
    images = [
        {"bytes": path.read_bytes(), "path": path.relative_to(folder).as_posix()} for path in paths
    ]
    write_table(pyarrow.table({"image": images}), tmp_path / "photos.parquet", row_group_size=7)
    return tmp_path / "photos.parquet"


@pytest.mark.parametrize("kind", ["archive", "parquet"])
@pytest.mark.parametrize(
    "moments", [2, *(pytest.param(moments, marks=pytest.mark.long) for moments in (1, 5))]
)
@pytest.mark.slow
def test_killed_in_the_middle_it_is_finished_bit_for_bit(kind, moments, request, tmp_path):
    source = request.getfixturevalue(kind)
    to_do = extract(source, tmp_path / "whole.h5", **PIXELS).computed
    assert to_do == COUNT
    story = Story(source, PIXELS, None, to_do, rows_of(tmp_path / "whole.h5"))
    run = Run(story, tmp_path / "own.h5", last=moments - 1)
    run.listen(moments)
    assert not run.kill()
    assert story.finish(tmp_path / "own.h5").computed <= COUNT - run.rows
    assert_same(tmp_path / "own.h5", story.expected)


@pytest.mark.slow
def test_workers_read_archives_and_parquet_files_of_their_own_accord(archive, parquet, tmp_path):
    from distributed import Client

    cluster = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with serving(tmp_path) as address, cluster:
        sources = [archive, f"{address}/photos.parquet?"]
        for number, source in enumerate(sources):
            extract(source, tmp_path / f"{number}.h5", **PIXELS)
            expected = rows_of(tmp_path / f"{number}.h5")
            extract(source, tmp_path / f"{number}-cluster.h5", cluster=cluster, **PIXELS)
            assert_same(tmp_path / f"{number}-cluster.h5", expected)
