"""Images in zip and tar archives: which are found, what is refused, and what is computed."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import age, rows_of, write_image, write_members
from tlfeatures import Model, extract, fit, load_dataset, verify
from tlfeatures.cli import main
from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.identify import scan
from tlfeatures.features.sources.containers import names, zip_index
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.models.evaluate import evaluate

PIXELS = {"backbone": "pixels", "size": 16}


def image(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 15, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def tar_of(path, members):
    """Write a tar of these members: bytes, or a `TarInfo` that is written as it is."""
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.addfile(member)
    return path


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    write_members(path, members, compression)
    return path


WRITERS = {"zip": zip_of, "tar": tar_of}


@pytest.fixture(params=["zip", "tar"])
def write(request, tmp_path):
    """Write an archive of these members; its name is `a.zip` or `a.tar`."""
    return lambda members: WRITERS[request.param](tmp_path / f"a.{request.param}", members)


def ids(location):
    return [record.id for record in open_source(location).images()]


def reason(path):
    """Why the only image of an archive can't be read."""
    (record,) = open_source(path).images()
    with pytest.raises(ImageError) as refused:
        record.location.read()
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ---- what is found


def test_images_are_those_that_a_folder_of_the_same_files_has(write, tmp_path, caplog):
    files = {
        "b/2.JPG": image(2),
        "a/z ä.png": image(1),
        "a/10.png": image(3),
        "a/x.jpg_large": image(4),
        "a/notes.txt": b"x",
        "a/archive.zip": b"PK",
        "a/scan.dcm": b"x",
        "Thumbs.db": b"x",
        ".hidden.png": image(5),
        ".old/1.png": image(6),
        "__MACOSX/a/._10.png": b"x",
        "@eaDir/10.png": image(7),
        "a/thumbnails/10.png": image(8),
    }
    for name, data in files.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    in_folder = ids(tmp_path / "photos")
    said = caplog.messages
    caplog.clear()
    archive = write(files)
    assert ids(archive) == [f"{archive.name}/{id_}" for id_ in in_folder]
    assert len(in_folder) == 4
    assert [text.removeprefix(f"{archive}: ") for text in caplog.messages] == said
    assert "1 .dcm" in caplog.text
    assert "1 .zip" in caplog.text
    assert "to embed the images inside of .zip, give those files" in caplog.text


def test_an_archive_is_known_by_its_first_bytes_too(tmp_path):
    for name, write in WRITERS.items():
        path = write(tmp_path / name, {"a/1.png": image()})
        assert ids(path) == [f"{name}.{name}/a/1.png"]  # so that labels come from the folder


def test_the_same_rows_from_folder_zip_and_tar(photos, tmp_path):
    members = {
        path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.glob("*/*")
    }
    extract(photos, tmp_path / "folder.h5", **PIXELS)
    expected_ids, expected = rows_of(tmp_path / "folder.h5")
    archives = [
        zip_of(tmp_path / "stored.zip", members),
        zip_of(tmp_path / "deflated.zip", members, zipfile.ZIP_DEFLATED),
        zip_of(tmp_path / "bzip2.zip", members, zipfile.ZIP_BZIP2),
        tar_of(tmp_path / "photos.tar", members),
    ]
    for archive in archives:
        extract(archive, tmp_path / "own.h5", **PIXELS)
        own_ids, own = rows_of(tmp_path / "own.h5")
        assert own_ids == [f"{archive.name}/{id_}" for id_ in expected_ids]
        for name, values in expected.items():
            np.testing.assert_array_equal(own[name], values)


def test_a_file_of_a_folder_goes_on_with_the_zip_of_it_and_computes_nothing(photos, tmp_path):
    file = tmp_path / "photos.h5"
    extract(photos, file, **PIXELS)
    members = {
        path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.glob("*/*")
    }
    archive = zip_of(tmp_path / "photos.zip", members)
    result = extract(archive, file)
    assert (result.computed, result.reused, result.removed) == (0, 24, 0)
    assert read_header(file).provenance["source"] == str(archive)
    assert load_dataset(file).y.tolist() == ["blue"] * 12 + ["red"] * 12
    assert extract(photos, file).computed == 0


def test_names_as_other_programs_write_them(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"cat\\2.png": image(), "./dog//3.png": image(1)})
    assert ids(path) == ["a.zip/cat/2.png", "a.zip/dog/3.png"]


def test_a_name_in_utf8_without_its_flag_is_read_as_utf8(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"cafXX/1.png": image()})
    path.write_bytes(path.read_bytes().replace(b"cafXX", "caf\u00e9".encode()))
    assert ids(path) == ["a.zip/caf\u00e9/1.png"]


def test_a_tar_of_a_folder_with_long_names_and_bytes_that_are_no_utf8(tmp_path):
    for format_ in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=format_) as archive:
            for name in (f"./{'x' * 120}/1.png", "b/\udce9.png"):
                member = tarfile.TarInfo(name)
                member.size = len(image())
                archive.addfile(member, io.BytesIO(image()))
        found = list(open_source(tmp_path / "a.tar").images())
        assert [each.id for each in found] == [r"a.tar/b/\udce9.png", f"a.tar/{'x' * 120}/1.png"]
        assert all(each.location.read() == image() for each in found)


# ---- what is refused


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "c:x.png"])
def test_names_that_lead_out_are_left_out_and_named(write, name, caplog):
    archive = write({"a/1.png": image(), name: image(2)})
    assert ids(archive) == [f"{archive.name}/a/1.png"]
    assert f"lead out of the archive or are empty: 1 file, the first one is {name!r}" in caplog.text


def test_backslashes_in_a_zip_lead_nowhere_either(tmp_path, caplog):
    path = zip_of(tmp_path / "a.zip", {"a\\1.png": image(), "..\\x.png": image(2)})
    assert ids(path) == ["a.zip/a/1.png"]
    assert "'../x.png'" in caplog.text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_name_that_is_there_twice_the_last_one_counts(tmp_path, caplog):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/1.png", image(1))
        archive.writestr("a/1.png", image(2))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for seed in (1, 2):
            member = tarfile.TarInfo("a/1.png")
            member.size = len(image(seed))
            archive.addfile(member, io.BytesIO(image(seed)))
    for name in WRITERS:
        (record,) = open_source(tmp_path / f"a.{name}").images()
        assert record.location.read() == image(2)
        assert "a later file in the archive has the same name: 1 file" in caplog.text
        caplog.clear()


def test_links_devices_and_holes_in_a_tar_are_left_out_and_counted(tmp_path, caplog):
    members = {"a/1.png": image()}
    for name, kind in (("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE), ("p", b"6")):
        members[name] = tarfile.TarInfo(name)
        members[name].type, members[name].linkname = kind, "/etc/passwd"
    assert ids(tar_of(tmp_path / "a.tar", members)) == ["a.tar/a/1.png"]
    assert "they are links: 2 files, the first one is 'l.png'" in caplog.text
    assert "they are neither files nor folders: 1 file, the first one is 'p'" in caplog.text


def test_an_encrypted_image_fails_with_the_reason(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"1.png": image()})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    assert "encrypted" in reason(path)
    with pytest.raises(SourceError, match="encrypted"):
        extract(path, tmp_path / "a.h5", **PIXELS)


def test_a_compression_that_is_not_read_is_named(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"1.png": image()}, zipfile.ZIP_LZMA)
    assert "compressed by LZMA" in reason(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_image_fails_and_the_others_go_on(compression, tmp_path):
    members = {f"a/{n}.png": image(n) for n in range(4)}
    path = zip_of(tmp_path / "a.zip", members, compression)
    data = bytearray(path.read_bytes())
    data[data.index(b"a/2.png") + 60] ^= 1
    path.write_bytes(data)
    result = extract(path, tmp_path / "a.h5", **PIXELS)
    assert result.computed == 3
    assert [each["id"] for each in result.failed] == ["a.zip/a/2.png"]
    assert "damaged in the archive" in result.failed[0]["reason"]


def test_an_archive_that_is_cut_off_is_one_line(write, tmp_path):
    archive = write({f"{n}.png": image(n) for n in range(4)})
    whole = archive.read_bytes()
    for size in (0, 10, 600, len(whole) // 2, len(whole) - 12_000, len(whole) - 30):
        archive.write_bytes(whole[: max(0, size)])
        if archive.suffix == ".tar" and size == len(whole) - 30:
            continue  # only zeros of the end are missing
        with pytest.raises(SourceError, match="can't be read as a ") as refused:
            extract(archive, tmp_path / "a.h5", **PIXELS)
        assert "copy or download it again" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "a.h5").exists()


def test_a_damaged_header_in_a_tar_does_not_end_the_list_in_silence(tmp_path):
    path = tar_of(tmp_path / "a.tar", {f"{n}.png": image(n) for n in range(4)})
    data = bytearray(path.read_bytes())
    data[data.index(b"2.png")] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="there is no header at byte"):
        ids(path)


def test_tars_that_were_joined_by_cat_are_one_line(tmp_path):
    one = tar_of(tmp_path / "a.tar", {"1.png": image(1)})
    one.write_bytes(one.read_bytes() * 2)
    with pytest.raises(SourceError, match="joined by cat, give them one by one"):
        ids(one)


def test_a_text_that_is_called_zip_or_tar_is_one_line(tmp_path):
    for name in ("a.zip", "a.tar"):
        (tmp_path / name).write_text("<html>404</html>" * 100)
        with pytest.raises(SourceError, match="can't be read as a "):
            ids(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.tar.gz", "gunzip < a.tar.gz > a-1.tar"),
        ("a.tar", "gunzip < a.tar > a-1.tar"),
        ("a.tgz", "gunzip"),
        ("a.tar.xz", "unxz"),
        ("a.tar.bz2", "bunzip2"),
        ("a.tar.zst", "unzstd"),
    ],
)
def test_a_tar_that_is_compressed_as_a_whole_names_the_command(tmp_path, name, command):
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(ParameterError, match=f"make a .tar of it: {command}"):
        extract(tmp_path / name, tmp_path / "a.h5", **PIXELS)


def test_an_archive_without_images_says_what_it_has(write, tmp_path):
    archive = write({"a/notes.txt": b"x", "b/more.txt": b"x"})
    with pytest.raises(SourceError, match=r"a\.\w+ has 2 files and no image: 2 \.txt"):
        extract(archive, tmp_path / "a.h5", **PIXELS)
    with pytest.raises(SourceError, match="has no images"):
        extract(write({}), tmp_path / "a.h5", **PIXELS)


# ---- bombs


def test_an_image_that_unpacks_to_more_than_it_says_is_stopped(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"1.png": bytes(10**7)}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", data, data.index(mark) + offset, 100)
    path.write_bytes(data)
    assert "checksum" in reason(path)


def test_an_image_that_says_that_it_is_huge_is_not_unpacked(write, monkeypatch):
    monkeypatch.setattr(zip_index, "LARGEST", 10)
    monkeypatch.setattr("tlfeatures.features.sources.containers.tar_index.LARGEST", 10)
    assert names.LARGEST == 256 * 2**20
    assert "unpack the archive" in reason(write({"1.png": image()}))


def test_files_that_share_their_bytes_are_refused(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"1.png": image(), "2.png": image()})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, second + 42, 0)  # where the second one's header is
    path.write_bytes(data)
    with pytest.raises(SourceError, match="zip bombs"):
        ids(path)


# ---- changes


def test_a_record_in_another_process_has_the_path_alone(write):
    archive = write({f"a/{n}.png": image(n) for n in range(100)})
    records = list(open_source(archive).images())
    assert len(pickle.dumps(records[0].place)) < 300
    assert pickle.loads(pickle.dumps(records[7].location)).read() == records[7].location.read()


def test_an_archive_that_is_written_again_is_noticed(write):
    archive = write({"a.png": image(1), "b.png": image(2)})
    one, other = open_source(archive).images()
    assert one.location.read() == image(1)
    write({"b.png": image(3)})
    assert other.location.read() == image(3)
    with pytest.raises(ImageError, match="no longer in the archive"):
        one.location.read()
    archive.unlink()
    with pytest.raises(ImageError, match="can't be read: No such file"):
        other.location.read()


def test_with_trust_the_time_of_the_archive_decides_for_all_of_its_images(write, tmp_path, caplog):
    members = {f"a/{n}.png": image(n) for n in range(3)}
    archive, file = write(members), tmp_path / "a.h5"
    age(archive)
    extract(archive, file, **PIXELS)
    stamp, changed = archive.stat(), bytearray(archive.read_bytes())
    changed[changed.index(members["a/1.png"]) + 60] ^= 1
    archive.write_bytes(changed)
    os.utime(archive, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
    before = read_header(file).digests
    extract(archive, file, trust_mtime=True)
    assert (read_header(file).digests, caplog.text) == (before, "")
    age(archive, 60)
    extract(archive, file, trust_mtime=True)  # a zip has a checksum, a tar has none
    assert read_header(file).digests != before or "1 images can't be read now" in caplog.text
    write({**members, "a/new.png": image(9)})
    assert extract(archive, file, trust_mtime=True).computed >= 1


# ---- labels


@pytest.mark.parametrize("above", ["", "photos/", "data/photos/"])
def test_labels_are_the_folders_in_the_archive(write, tmp_path, above):
    archive = write({f"{above}{label}/{n}.png": image(10 * n + (label == "dog"))
                     for label in ("cat", "dog") for n in range(3)})  # fmt: skip
    result = extract(archive, tmp_path / "a.h5", **PIXELS)
    assert result.classes == {"cat": 3, "dog": 3}
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["cat"] * 3 + ["dog"] * 3


@pytest.mark.parametrize("above", ["", "SPLIT/", "all/"])
def test_archives_named_train_and_test_are_splits(tmp_path, above):
    archives = []
    for seed, split in enumerate(("train", "test")):
        inside = above.replace("SPLIT", split)
        members = {f"{inside}{label}/{n}.png": image(100 * seed + 10 * n + (label == "dog"))
                   for label in ("cat", "dog") for n in range(3)}  # fmt: skip
        archives.append(zip_of(tmp_path / f"{split}.zip", members))
    result = extract(archives, tmp_path / "a.h5", **PIXELS)
    assert (result.classes, result.splits) == ({"cat": 6, "dog": 6}, {"train": 6, "test": 6})
    assert load_dataset(tmp_path / "a.h5").split.tolist() == ["test"] * 6 + ["train"] * 6


def test_archives_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        zip_of(tmp_path / folder / "0.zip", {"cat/1.png": image(len(folder))})
    both = [tmp_path / "train" / "0.zip", tmp_path / "test" / "0.zip"]
    assert ids(both) == ["test/0.zip/cat/1.png", "train/0.zip/cat/1.png"]
    result = extract(both, tmp_path / "a.h5", **PIXELS)
    assert (result.classes, result.splits) == ({"cat": 2}, {"train": 1, "test": 1})


# ---- commands


@pytest.fixture
def archive(photos, tmp_path):
    """The images of `photos` in photos.zip."""
    members = {
        path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.glob("*/*")
    }
    return zip_of(tmp_path / "photos.zip", members)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_extract_verify_predict_and_evaluate_take_an_archive(archive, tmp_path):
    file, model = tmp_path / "photos.h5", tmp_path / "m.model"
    done = run("extract", archive, "-o", file, "--backbone", "pixels", "--size", 16)
    assert done.exit_code == 0, done.output
    assert "blue 12" in done.output
    checked = run("verify", file, "--source", archive)
    assert checked.exit_code == 0, checked.output
    fit(file, "centroid", model=model)
    predicted = run("predict", model, archive)
    assert predicted.exit_code == 0, predicted.output
    assert "photos.zip/blue/blue00.png" in predicted.output
    named = list(Model.load(model).predict(archive))
    assert [each.path for each in named][:1] == [f"{archive}/blue/blue00.png"]
    members = {record.name: record.location.read() for record in open_source(archive).images()}
    new = zip_of(tmp_path / "new.zip", {name: data + b"x" for name, data in members.items()})
    assert evaluate(model, new).tested == 24


def test_verify_finds_what_changed_in_an_archive(archive, tmp_path):
    extract(archive, tmp_path / "photos.h5", **PIXELS)
    members = {record.name: record.location.read() for record in open_source(archive).images()}
    del members["blue/blue00.png"]
    members["red/red00.png"] += b"x"
    zip_of(archive, members)
    found = {each.kind: each.ids for each in verify(tmp_path / "photos.h5", archive).findings}
    assert found["gone"] == ["photos.zip/blue/blue00.png"]
    assert found["changed"] == ["photos.zip/red/red00.png"]


def test_threads_read_one_archive_at_the_same_time(tmp_path):
    members = {f"a/{n:03d}.png": image(n) for n in range(300)}
    manifest = scan(open_source(zip_of(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)))
    for number in range(300):
        write_image(tmp_path / "a" / f"{number:03d}.png", number)
    assert len(set(manifest.digests)) == 300
    for name, data in members.items():
        (tmp_path / name).write_bytes(data)
    assert scan(open_source(tmp_path / "a")).digests == manifest.digests
