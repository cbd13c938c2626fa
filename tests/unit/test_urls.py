"""Images, folders, archives and Parquet files at URLs, without a cluster."""

import tarfile
import zipfile
from pathlib import PurePosixPath

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import rows_of, write_image
from tests.range_server import serving
from tlfeatures import Model, extract, fit, load_dataset
from tlfeatures.cli import main
from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.sources.open_source import open_source

PIXELS = {"backbone": "pixels", "size": 16}


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as address:
        yield address


def write_zip(photos, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(photos.glob("*/*")):
            archive.write(file, file.relative_to(photos))
    return path


def write_tar(photos, path):
    with tarfile.open(path, "w") as archive:
        archive.add(photos, ".")
    return path


def write_parquet(photos, path):
    import pyarrow
    from pyarrow.parquet import write_table

    files = sorted(photos.glob("*/*"))
    images = [
        {"bytes": file.read_bytes(), "path": file.relative_to(photos).as_posix()} for file in files
    ]
    labels = [file.parent.name for file in files]
    write_table(pyarrow.table({"image": images, "label": labels}), path, row_group_size=10)
    return path


WRITERS = {"photos.zip": write_zip, "photos.tar": write_tar, "photos.parquet": write_parquet}


def ids(location):
    return [record.id for record in open_source(location).images()]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.slow
def test_a_file_with_images_at_a_url_gives_the_rows_of_the_folder(
    name, photos, tmp_path, server, memory
):
    path = WRITERS[name](photos, tmp_path / name)
    memory.pipe_file(f"/data/{name}", path.read_bytes())
    extract(photos, tmp_path / "folder.h5", **PIXELS)
    expected_ids, expected = rows_of(tmp_path / "folder.h5")
    for number, url in enumerate((f"memory://data/{name}", f"{server}/{name}", path.as_uri())):
        file = tmp_path / f"{number}.h5"
        assert extract(url, file, **PIXELS).classes == {"blue": 12, "red": 12}
        own_ids, own = rows_of(file)
        assert own_ids == [f"{name}/{id_}" for id_ in expected_ids]
        for key, values in expected.items():
            np.testing.assert_array_equal(own[key], values)
        assert load_dataset(file).y.tolist() == ["blue"] * 12 + ["red"] * 12
        assert extract(url, file).computed == 0


def test_a_folder_that_a_web_server_lists_gives_the_ids_of_the_folder(tmp_path, server):
    for name in ("cat/1 x.png", "cat/ä.png", "dog/100%.png"):
        write_image(tmp_path / "photos" / name, len(name))
    for url in (f"{server}/photos", f"{server}/photos/"):
        assert ids(url) == ids(tmp_path / "photos")
        assert all(record.location for record in open_source(url).images())
    result = extract(f"{server}/photos/", tmp_path / "own.h5", **PIXELS)
    assert (result.computed, result.classes) == (3, {"cat": 2, "dog": 1})


def test_an_archive_at_a_url_without_an_ending_is_known_by_its_bytes(photos, tmp_path, memory):
    path = write_zip(photos, tmp_path / "photos.zip")
    memory.pipe_file("/data/download", path.read_bytes())
    assert ids("memory://data/download")[0] == "download.zip/blue/blue00.png"


def test_the_query_of_a_url_is_no_part_of_an_id(photos, tmp_path, server):
    write_zip(photos, tmp_path / "photos.zip")
    assert ids(f"{server}/photos.zip?token=secret")[0] == "photos.zip/blue/blue00.png"


def test_an_archive_at_a_url_that_is_written_again_is_listed_again(photos, tmp_path, memory):
    memory.pipe_file("/photos.zip", write_zip(photos, tmp_path / "photos.zip").read_bytes())
    source = open_source("memory://photos.zip")
    assert len(list(source.images())) == 24
    (photos / "red" / "red00.png").unlink()
    memory.pipe_file("/photos.zip", write_zip(photos, tmp_path / "photos.zip").read_bytes())
    assert len(list(source.images())) == 23


@pytest.mark.parametrize("name", WRITERS)
def test_a_url_that_is_not_there_is_one_line(name, server, tmp_path):
    for url in (f"{server}/{name}", f"memory://nowhere/{name}", "http://127.0.0.1:9/photos.zip"):
        with pytest.raises((SourceError, ParameterError)) as refused:
            extract(url, tmp_path / "own.h5", **PIXELS)
        assert url in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_server_that_sends_whole_files_only_is_one_line(photos, tmp_path):
    write_zip(photos, tmp_path / "photos.zip")
    with (
        serving(tmp_path, ranges=False) as address,
        pytest.raises(SourceError, match="no range requests"),
    ):
        extract(f"{address}/photos.zip", tmp_path / "own.h5", **PIXELS)


@pytest.mark.slow
def test_predict_takes_an_image_a_folder_and_an_archive_at_a_url(photos, tmp_path, server):
    extract(photos, tmp_path / "photos.h5", **PIXELS)
    fit(tmp_path / "photos.h5", "centroid", model=tmp_path / "m.model")
    write_zip(photos, tmp_path / "photos.zip")
    model = Model.load(tmp_path / "m.model")
    here = {path.name: label for label, path in labelled(model, photos)}
    for url in (f"{server}/photos.zip", f"{server}/photos/"):
        assert {path.name: label for label, path in labelled(model, url)} == here
    url = f"{server}/photos/red/red03.png"
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "m.model"), url])
    assert done.exit_code == 0, done.output
    assert here["red03.png"] in done.output
    with pytest.raises(ParameterError, match="has no files, or is none"):
        list(model.predict([f"{server}/nowhere.png"]))


def labelled(model, images):
    return [(each.label, PurePosixPath(str(each.path))) for each in model.predict(images)]


def test_an_image_is_no_source_of_images(photos, server, tmp_path):
    url = f"{server}/photos/red/red03.png"
    with pytest.raises(ParameterError, match="is a file of another kind"):
        extract(url, tmp_path / "own.h5", **PIXELS)


def test_a_part_that_can_not_be_read_fails_its_image(photos, tmp_path, memory, monkeypatch):
    memory.pipe_file("/photos.zip", write_zip(photos, tmp_path / "photos.zip").read_bytes())
    record = next(open_source("memory://photos.zip").images())

    def refuse(*_, **__):
        raise PermissionError(13, "Access\nDenied")

    monkeypatch.setattr(type(memory), "cat_file", refuse)
    with pytest.raises(ImageError, match=r"^Access Denied$"):
        record.location.read()
