"""What a second run computes, keeps and refuses; by the backbone that needs no TensorFlow."""

import os
import shutil
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from filelock import FileLock

from tests.fakes import age, write_image
from tlfeatures import extract
from tlfeatures.errors import (
    BusyError,
    FormatError,
    ParameterError,
    SourceError,
    SpecError,
    StoppedError,
    StoreError,
)
from tlfeatures.features import images
from tlfeatures.features.pixels import PixelBackbone
from tlfeatures.features.store import Reader, read_header


def rows_by_id(file, name="grid8.avg"):
    with Reader(file) as reader:
        ids = [id_ for id_, done in zip(reader.header.ids, reader.header.done, strict=True) if done]
        return dict(zip(ids, reader.read(name), strict=True))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "photos.h5"


def run(photos, file, **options):
    return extract(photos, file, **({"backbone": "pixels", "size": 16, "batch_size": 5} | options))


@pytest.fixture
def no_backbone(monkeypatch):
    """Make loading a backbone an error, once the first run is done."""

    def refuse():
        def load(*_, **__):
            raise AssertionError("a backbone was loaded")

        monkeypatch.setattr("tlfeatures.features.extract.load_backbone", load)

    return refuse


def test_every_image_is_computed_once(photos, file, no_backbone):
    first = run(photos, file)
    assert (first.images, first.computed, first.reused) == (24, 24, 0)
    assert first.embeddings == {"grid8.avg": 3}
    no_backbone()
    before = file.read_bytes()
    again = run(photos, file)
    assert (again.images, again.computed, again.reused) == (24, 0, 24)
    assert file.read_bytes() == before


def test_rows_are_those_of_the_backbone_alone(photos, file):
    from tlfeatures import Extractor

    run(photos, file)
    rows = rows_by_id(file)
    expected = Extractor(backbone="pixels", size=16).transform([photos / id_ for id_ in rows])
    np.testing.assert_allclose(np.stack(list(rows.values())), expected, rtol=1e-6)


def test_added_images_alone_are_computed(photos, file):
    run(photos, file)
    before = rows_by_id(file)
    for seed in range(3):
        write_image(photos / "red" / f"new{seed}.png", seed)
    result = run(photos, file)
    assert (result.images, result.computed, result.reused) == (27, 3, 24)
    after = rows_by_id(file)
    assert len(after) == 27
    assert all((after[id_] == before[id_]).all() for id_ in before)


def test_moved_renamed_and_duplicated_images_are_not_computed(photos, file, no_backbone):
    run(photos, file)
    before = rows_by_id(file)
    (photos / "red" / "red00.png").rename(photos / "blue" / "moved.png")
    (photos / "red" / "red01.png").rename(photos / "red" / "renamed.png")
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    no_backbone()
    result = run(photos, file)
    assert (result.images, result.computed, result.reused, result.removed) == (25, 0, 25, 0)
    after = rows_by_id(file)
    assert (after["blue/moved.png"] == before["red/red00.png"]).all()
    assert (after["red/renamed.png"] == before["red/red01.png"]).all()
    assert (after["blue/copy.png"] == before["red/red02.png"]).all()
    assert "red/red00.png" not in after


def test_duplicates_in_a_first_run_are_computed_once(photos, file):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    result = run(photos, file)
    assert (result.images, result.computed, result.reused) == (25, 24, 1)
    rows = rows_by_id(file)
    assert (rows["blue/copy.png"] == rows["red/red02.png"]).all()


def test_changed_image_is_computed_again(photos, file):
    run(photos, file)
    before = rows_by_id(file)
    write_image(photos / "red" / "red00.png", 7)
    result = run(photos, file)
    assert (result.computed, result.removed) == (1, 0)
    assert (rows_by_id(file)["red/red00.png"] != before["red/red00.png"]).any()


def test_removed_images_leave_the_file_and_are_counted(photos, file):
    run(photos, file)
    (photos / "red" / "red00.png").unlink()
    result = run(photos, file)
    assert (result.images, result.computed, result.removed) == (23, 0, 1)
    assert "red/red00.png" not in rows_by_id(file)


def test_an_added_embedding_keeps_the_old_rows(photos, file):
    run(photos, file)
    with h5py.File(file, "r+") as opened:  # marks that tell a carried row from a computed one
        opened["embeddings/grid8.avg"][:] += 100
    result = run(photos, file, layers=["grid8", "mean"], pools=["flatten"])
    assert result.computed == 24
    assert set(result.embeddings) == {"grid8.avg", "grid8.flatten", "mean.none"}
    assert min(row.min() for row in rows_by_id(file).values()) >= 100
    assert rows_by_id(file, "grid8.flatten")["red/red00.png"].shape == (192,)


def test_settings_left_out_follow_the_file(photos, file):
    run(photos, file, size="20,30", pools=["max"], dtype="float16")
    write_image(photos / "red" / "new.png", 0)
    result = extract(photos, file)
    assert (result.computed, result.embeddings) == (1, {"grid8.max": 3})
    header = read_header(file)
    assert (header.spec.size, header.dtype) == ((20, 30), "float16")


@pytest.mark.parametrize(
    ("options", "named"),
    [({"size": 150}, "--size"), ({"dtype": "float16"}, "--dtype")],
)
def test_other_settings_are_refused_and_nothing_is_lost(photos, file, options, named):
    run(photos, file)
    before = file.read_bytes()
    with pytest.raises(SpecError, match=f"{next(iter(options))}.*{named}.*-o"):
        run(photos, file, **options)
    assert file.read_bytes() == before


def test_another_folder_is_refused(photos, file, tmp_path):
    run(photos, file)
    write_image(tmp_path / "other" / "a" / "1.png", 1)
    with pytest.raises(SourceError, match="--prune"):
        run(tmp_path / "other", file)
    assert len(rows_by_id(file)) == 24


def test_unreadable_images_are_named_recorded_and_tried_again(photos, file, no_backbone):
    whole = (photos / "red" / "red03.png").read_bytes()
    (photos / "red" / "red03.png").write_bytes(whole[:80])
    (photos / "blue" / "text.jpg").write_text("no image at all")
    result = run(photos, file)
    assert [failure["id"] for failure in result.failed] == ["blue/text.jpg", "red/red03.png"]
    assert (result.images, result.computed) == (25, 23)
    header = read_header(file)
    assert set(header.failures) == {"blue/text.jpg", "red/red03.png"}
    assert len(rows_by_id(file)) == 23
    (photos / "red" / "red03.png").write_bytes(whole)
    mended = run(photos, file)
    assert (mended.computed, [f["id"] for f in mended.failed]) == (1, ["blue/text.jpg"])
    no_backbone()
    assert [f["id"] for f in run(photos, file).failed] == ["blue/text.jpg"]


def test_no_file_is_made_when_nothing_can_be_read(tmp_path, file):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").write_text("text")
    with pytest.raises(SourceError, match=r"a/1.jpg \(not an image"):
        run(tmp_path / "photos", file)
    assert not file.exists()


def test_no_file_is_made_when_the_weights_are_missing(photos, file):
    with pytest.raises(ParameterError, match="weights must be"):
        run(photos, file, backbone="vgg16", size=32, weights="nowhere.h5")
    assert not file.exists()


def test_no_images_says_so(tmp_path, file):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images"):
        run(tmp_path / "empty", file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["grid9"]}, "there are: grid"),
        ({"pools": ["none"]}, "feature map"),
        ({"size": "0"}, "size must be"),
        ({"size": "a,b"}, "size must be"),
        ({"size": 4}, "8 pixels"),
        ({"backbone": "vgg61"}, "there are: vgg16"),
        ({"dtype": "float8"}, "float16"),
        ({"precision": "bfloat16"}, "leave out"),
        ({"weights": "random"}, "pixels has no weights"),
        ({"backbone": "vgg16", "size": 32, "precision": "int4"}, "there are: .*float32"),
        ({"backbone": "vgg16", "size": 32, "engine": "theano"}, "there are: .*openvino"),
        (
            {"backbone": "vgg16", "size": 32, "engine": "keras", "precision": "int8"},
            "float32 or bfloat16, not in int8: leave out --engine",
        ),
        ({"backbone": "vgg16", "size": 32, "engine": "ncnn", "device": "gpu"}, "ncnn has no GPU"),
        ({"engine": "openvino"}, "leave out"),
        ({"batch_size": 0}, "batch_size must be 1"),
        ({"size": 20.5}, "size must be"),
        ({"backbone": "vgg16", "size": 224, "layers": ["block5_pol"]}, "there are: block5_pool"),
        ({"backbone": "vgg16", "layers": ["fc2"], "size": 150}, "needs --size 224"),
        ({"backbone": "vgg16", "size": 31}, "32 pixels"),
    ],
)
def test_wrong_settings_name_the_right_ones(photos, file, options, message):
    with pytest.raises(ParameterError, match=message):
        run(photos, file, **options)
    assert not file.exists()


def test_a_file_of_another_kind_is_left_alone(photos, file):
    with h5py.File(file, "w") as other:
        other["data"] = [1, 2, 3]
    before = file.read_bytes()
    with pytest.raises(FormatError, match="not one that `tlfeatures extract` made"):
        run(photos, file)
    file.write_text("not even HDF5")
    with pytest.raises(FormatError, match="not an embeddings file"):
        run(photos, file)
    assert before != file.read_bytes() == b"not even HDF5"


def test_a_newer_version_is_left_alone(photos, file):
    run(photos, file)
    with h5py.File(file, "r+") as opened:
        opened.attrs["format_version"] = 5
    with pytest.raises(FormatError, match=r"version 5.*up to 4.*upgrade"):
        run(photos, file)


@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "external storage"])
def test_values_outside_the_file_are_refused(photos, file, tmp_path, kind):
    run(photos, file)
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["x"] = np.ones((24, 3), np.float32)
    with h5py.File(file, "r+") as opened:
        group = opened["embeddings"]
        del group["grid8.avg"]
        if kind == "soft":
            group["grid8.avg"] = h5py.SoftLink("/digest")
        elif kind == "external":
            group["grid8.avg"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((24, 3), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "x", (24, 3))
            group.create_virtual_dataset("grid8.avg", layout)
        else:
            storage = [(str(secret), 0, 24 * 12)]
            group.create_dataset("grid8.avg", (24, 3), np.float32, external=storage)
    with pytest.raises(FormatError, match=r"grid8.avg"):
        read_header(file)


def test_a_second_writer_is_refused_and_told_who_writes(photos, file):
    with FileLock(file.with_name(".photos.h5.lock")):
        file.with_name(".photos.h5.lock").write_text("4711\n")
        with pytest.raises(BusyError, match="4711"):
            run(photos, file)


class Breaking(PixelBackbone):
    """A backbone that stops working after some batches, as a killed process would."""

    def __init__(self, names, batches):
        super().__init__(names)
        self.left = batches

    def embed(self, images):
        if not self.left:
            raise StoreError("the power went")
        self.left -= 1
        return super().embed(images)


def interrupted(monkeypatch, photos, file, batches, **options):
    """A run that stops after some batches, as a killed process would."""

    def load(spec, names, **_):
        return Breaking(names, batches)

    with monkeypatch.context() as patch:
        patch.setattr("tlfeatures.features.extract.load_backbone", load)
        with pytest.raises(StoreError, match="the power went"):
            run(photos, file, **options)


def partial_of(file):
    return file.with_name(f"{file.name}.partial")


def test_a_leftover_never_replaces_a_fresh_file(photos, file, monkeypatch):
    run(photos, file)
    write_image(photos / "red" / "new.png", 1)
    interrupted(monkeypatch, photos, file, 0)
    assert partial_of(file).exists()
    file.unlink()
    run(photos, file, size=20)
    header = read_header(file)
    assert (header.spec.size, header.done.sum()) == ((20, 20), 25)


def test_a_leftover_gives_its_rows_to_a_run_in_place(photos, file, monkeypatch):
    interrupted(monkeypatch, photos, file, 1)
    for seed in range(3):
        write_image(photos / "blue" / f"a{seed}.png", seed)
    interrupted(monkeypatch, photos, file, 2)
    for path in photos.glob("blue/a*.png"):
        path.unlink()
    result = run(photos, file)
    assert result.computed + result.reused == 24 == read_header(file).done.sum()
    assert result.reused > 5
    assert not partial_of(file).exists()


def test_a_duplicate_whose_twin_is_done_is_done_without_computing(photos, file, no_backbone):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    run(photos, file)
    with h5py.File(file, "r+") as opened:
        opened["done"][0] = opened["done"][[b"copy" in i for i in opened["ids"][:]].index(True)] = 0
    (photos / "blue" / "blue00.png").touch()
    result = run(photos, file)
    assert (result.computed, read_header(file).done.sum()) == (1, 25)


def test_a_begun_layer_is_finished_by_a_plain_run(photos, file, monkeypatch):
    run(photos, file)
    interrupted(monkeypatch, photos, file, 2, layers=["grid4"], pools=["flatten"])
    result = run(photos, file)
    assert (result.computed, result.reused) == (14, 10)
    assert set(result.embeddings) == {"grid8.avg", "grid4.flatten"}


def test_one_of_layer_and_pooling_follows_the_file(photos, file):
    run(photos, file, layers=["grid4"], pools=["flatten"])
    assert set(run(photos, file, pools=["max"]).embeddings) == {"grid4.flatten", "grid4.max"}
    added = run(photos, file, layers=["grid8"]).embeddings
    assert set(added) == {"grid4.flatten", "grid4.max", "grid8.flatten", "grid8.max"}


def test_failures_are_recorded_also_after_a_cut_off_run(photos, file, monkeypatch):
    (photos / "red" / "zz.jpg").write_text("text")
    interrupted(monkeypatch, photos, file, 4)
    for _ in range(2):
        run(photos, file)
        assert set(read_header(file).failures) == {"red/zz.jpg"}


def unreadable(monkeypatch, *names):
    """Reading these files fails, as it does without permission; tests run as root."""
    real = os.open

    def opened(path, *how, **more):
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(os, "open", opened)


def test_images_that_can_not_be_read_now_keep_their_embeddings(photos, file, monkeypatch, caplog):
    run(photos, file)
    before = rows_by_id(file)
    unreadable(monkeypatch, "red00.png", "blue03.png")
    result = run(photos, file)
    assert (result.reused, result.failed) == (24, [])
    assert "2 images can't be read now" in caplog.text
    assert rows_by_id(file).keys() == before.keys()


def test_images_without_a_digest_are_not_one_image(photos, file, monkeypatch):
    with monkeypatch.context() as patch:
        unreadable(patch, "red00.png", "blue03.png")
        first = run(photos, file)
    assert [failure["reason"] for failure in first.failed] == ["Permission denied"] * 2
    assert run(photos, file).computed == 2
    rows = rows_by_id(file)
    assert (rows["red/red00.png"] != rows["blue/blue03.png"]).any()


def test_a_folder_that_can_not_be_listed_is_an_error(photos, file, monkeypatch):
    run(photos, file)
    real = os.scandir

    def scandir(path):
        if Path(path).name == "red":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match="red can't be listed: Permission denied"):
        run(photos, file)
    assert len(rows_by_id(file)) == 24


def test_many_images_gone_needs_a_word(photos, file):
    run(photos, file)
    with pytest.raises(SourceError, match=r"12 of the 24 images.*--prune"):
        run(photos / "red", file)
    assert len(rows_by_id(file)) == 24
    assert run(photos / "red", file, prune=True).removed == 12


def test_values_that_float16_can_not_hold_are_refused(photos, file, monkeypatch):
    class Huge(PixelBackbone):
        def embed(self, images):
            return {name: rows + 1e5 for name, rows in super().embed(images).items()}

    monkeypatch.setattr("tlfeatures.features.extract.load_backbone", lambda s, n, **_: Huge(n))
    with pytest.raises(StoreError, match=r"grid8.avg .*--dtype float32"):
        run(photos, file, dtype="float16")
    assert not read_header(file).done.any()


def test_pipes_and_foreign_formats_are_left_out(photos, file, caplog):
    os.mkfifo(photos / "red" / "pipe.jpg")
    for name in ("1.HEIC", "2.heic", "3.cr2", "notes.txt"):
        (photos / "red" / name).write_text("x")
    assert run(photos, file).images == 24
    assert "1 .cr2, 2 .heic" in caplog.text


def test_one_name_is_a_list_of_one(photos, file):
    assert set(run(photos, file, layers="grid4", pools="max").embeddings) == {"grid4.max"}


def test_a_link_stays_a_link(photos, file):
    run(photos, file)
    link = file.with_name("link.h5")
    link.symlink_to(file.name)
    write_image(photos / "red" / "new.png", 0)
    run(photos, link)
    assert link.is_symlink()
    assert len(rows_by_id(file)) == 25


def test_another_seed_names_the_option_for_it(photos, file, monkeypatch):
    options = {"backbone": "vgg16", "weights": "random", "precision": "float32", "size": 32}

    class NoKeras(PixelBackbone):
        def embed(self, images):
            return {"block5_pool.avg": np.zeros((len(images), 512), np.float32)}

    monkeypatch.setattr("tlfeatures.features.extract.load_backbone", lambda *_, **__: NoKeras([]))
    run(photos, file, **options)
    with pytest.raises(SpecError, match="leave out --random-state"):
        run(photos, file, **options, random_state=7)


def test_extracting_leaves_the_filters_of_warnings_alone(photos, file):
    before = list(warnings.filters)
    run(photos, file)
    assert warnings.filters == before


def test_a_folder_that_can_not_be_written_is_one_line(photos, file):
    with pytest.raises(ParameterError, match="no folder"):
        run(photos, file.parent / "nowhere" / "photos.h5")
    with pytest.raises(ParameterError, match="is a folder"):
        run(photos, photos)


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_cut_off_first_run_is_finished_by_the_next(photos, file, monkeypatch, batches):
    interrupted(monkeypatch, photos, file, batches)
    assert read_header(file).done.sum() == 5 * batches
    result = run(photos, file)
    assert (result.computed, result.reused) == (24 - 5 * batches, 5 * batches)
    assert len(rows_by_id(file)) == 24


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_cut_off_addition_leaves_the_file_and_goes_on(photos, file, monkeypatch, batches):
    run(photos, file)
    before = file.read_bytes()
    interrupted(monkeypatch, photos, file, batches, layers=["grid4"], pools=["max"])
    assert file.read_bytes() == before
    result = run(photos, file, layers=["grid4"], pools=["max"])
    assert (result.computed, result.reused) == (24 - 5 * batches, 5 * batches)
    assert len(rows_by_id(file, "grid4.max")) == 24
    assert not list(file.parent.glob("*.partial"))


def test_who_is_asked_between_batches_can_stop_and_goes_on_later(photos, file):
    answers = iter([False, False, True])
    with pytest.raises(StoppedError, match=r"after 10 of 24 images, which are safe in photos\.h5$"):
        run(photos, file, stop=lambda: next(answers))
    assert read_header(file).done.sum() == 10
    result = run(photos, file, stop=lambda: False)
    assert (result.computed, result.reused) == (14, 10)


def test_a_run_stopped_while_it_adds_says_where_its_rows_are(photos, file):
    run(photos, file)
    before = file.read_bytes()
    answers = iter([False, True])
    options = {"layers": ["grid4"], "pools": ["max"]}
    with pytest.raises(StoppedError, match=r"5 of 24 .*photos\.h5\.partial \(photos\.h5 is as"):
        run(photos, file, stop=lambda: next(answers), **options)
    assert file.read_bytes() == before
    assert run(photos, file).computed == 19


def test_a_run_that_has_done_all_is_not_stopped(photos, file):
    asked = []
    run(photos, file, stop=lambda: bool(asked.append(1)) or len(asked) > 5)
    assert len(asked) == 5
    assert read_header(file).done.all()
    run(photos, file, stop=lambda: True)  # nothing to do, so nobody is asked


def test_a_run_stopped_before_its_first_batch_says_so(photos, file):
    with pytest.raises(StoppedError, match="before the first batch"):
        run(photos, file, stop=lambda: True)
    assert run(photos, file).computed == 24


def test_the_file_says_where_its_images_are_and_how_it_came_about(photos, file):
    run(photos, file, command="first")
    write_image(photos / "red" / "more.png", 99)
    run(photos, file, command="second")
    run(photos, file, command="nothing to do")
    kept = read_header(file).provenance
    assert (kept["source"], kept["commands"]) == (str(photos), ["first", "second"])
    assert "numpy" in kept["versions"]


# ---- sizes and times in place of bytes


@pytest.fixture
def reads(monkeypatch):
    """Names of the image files that were read, in order."""
    read = []
    real = images.read_bytes

    def read_bytes(path):
        read.append(Path(path).name)
        return real(path)

    monkeypatch.setattr("tlfeatures.features.images.read_bytes", read_bytes)
    monkeypatch.setattr("tlfeatures.features.batches.read_bytes", read_bytes)
    return read


def trusting(photos, file, reads):
    """What a run that trusts reads, and what it computes."""
    reads.clear()
    result = extract(photos, file, trust_mtime=True)
    assert result.images == result.computed + result.reused + len(result.failed)
    return sorted(reads), result.computed


def test_images_of_the_same_size_and_time_are_read_only_without_trust(photos, file, reads):
    run(photos, file)
    before = file.read_bytes()
    assert trusting(photos, file, reads) == ([], 0)
    run(photos, file)
    assert len(reads) == 24
    assert file.read_bytes() == before


def test_a_first_run_that_trusts_reads_everything(photos, file, reads):
    assert run(photos, file, trust_mtime=True).computed == 24
    assert len(set(reads)) == 24


def replace_bytes(path, **times):
    """Other bytes, of the same size unless they are longer; the time is kept unless given."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1  # a bit of the last chunks: the file is another one, whatever decodes of it
    path.write_bytes(bytes(data) + times.get("more", b""))
    time = times.get("time", before.st_mtime_ns)
    os.utime(path, ns=(time, time))


def test_bytes_that_keep_size_and_time_are_taken_for_unchanged_only_with_trust(photos, file, reads):
    run(photos, file)
    replace_bytes(photos / "red" / "red05.png")
    before = read_header(file).digests
    assert trusting(photos, file, reads) == ([], 0)
    assert read_header(file).digests == before
    run(photos, file)
    assert read_header(file).digests != before


def test_a_changed_size_or_time_is_read(photos, file, reads):
    run(photos, file)
    names = ["red03.png", "red04.png", "red05.png"]
    paths = [photos / "red" / name for name in names]
    was = [path.stat().st_mtime_ns for path in paths]
    replace_bytes(paths[0], more=b"x")
    replace_bytes(paths[1], time=was[1] + 1)
    replace_bytes(paths[2], time=was[2] - 10**12)  # a clock that was set back
    before = read_header(file).digests
    read, _ = trusting(photos, file, reads)
    assert set(read) == set(names)
    assert sum(a != b for a, b in zip(before, read_header(file).digests, strict=True)) == 3
    assert trusting(photos, file, reads)[1] == 0


@pytest.mark.parametrize("seconds", [1, -3600])
def test_a_time_just_now_or_in_the_future_is_never_believed(photos, file, reads, seconds):
    age(photos / "red" / "red03.png", seconds)
    run(photos, file)
    row = read_header(file).ids.index("red/red03.png")
    assert read_header(file).stamps[row] == (0, 0)
    age(photos / "red" / "red03.png", seconds)
    assert trusting(photos, file, reads) == (["red03.png"], 0)


def test_a_time_that_lies_in_the_future_now_is_not_believed(photos, file, reads, monkeypatch):
    run(photos, file)
    then = time.time_ns() - 2 * 3600 * 10**9
    monkeypatch.setattr("tlfeatures.features.images.time.time_ns", lambda: then)
    read, computed = trusting(photos, file, reads)
    assert (len(read), computed) == (24, 0)


def test_images_that_were_touched_are_read_once_more(photos, file, reads):
    run(photos, file)
    before = file.stat().st_ino
    for path in photos.glob("red/*"):
        age(path, 60)
    read, computed = trusting(photos, file, reads)
    assert (len(read), computed) == (12, 0)
    assert trusting(photos, file, reads) == ([], 0)
    for path in photos.glob("blue/*"):
        age(path, 50)
    run(photos, file)  # reads all and keeps their times, too
    assert trusting(photos, file, reads) == ([], 0)
    assert file.stat().st_ino == before


def test_trust_goes_along_with_new_moved_and_unreadable_images(photos, file, reads):
    (photos / "red" / "text.jpg").write_text("no image at all")
    age(photos / "red" / "text.jpg")
    run(photos, file)
    write_image(photos / "red" / "new.png", 5)
    (photos / "red" / "red03.png").rename(photos / "blue" / "moved.png")
    read, computed = trusting(photos, file, reads)
    assert set(read) == {"new.png", "moved.png", "text.jpg"}  # an unfinished one is tried again
    assert computed == 1
    assert set(trusting(photos, file, reads)[0]) == {"text.jpg"}
    assert extract(photos, file).computed == 0


def test_a_mistaken_trust_is_found_where_the_image_is_read_after_all(photos, file, reads):
    run(photos, file)
    replace_bytes(photos / "red" / "red05.png")
    result = run(photos, file, layers=["grid4"], pools=["max"], trust_mtime=True)
    assert [(each["id"], "changed" in each["reason"]) for each in result.failed] == [
        ("red/red05.png", True)
    ]
    reads.clear()
    assert extract(photos, file, trust_mtime=True).computed <= 1
    assert "red05.png" in reads  # no longer trusted


def test_stamps_of_a_file_that_can_not_be_written_stay_as_they_are(photos, file, monkeypatch):
    run(photos, file)
    age(photos / "red" / "red03.png", 60)
    before = file.read_bytes()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tlfeatures.features.store.Writer.__init__", refuse)
    assert extract(photos, file).reused == 24
    assert file.read_bytes() == before
