"""Damage of every kind, made by h5py on a real file, is found, named, and mended as it is told."""

import json
import os
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock
from PIL import Image

from tests.fakes import Failing, record_batches, use_backbone, write_image
from tlfeatures import extract, verify
from tlfeatures.cli import main
from tlfeatures.errors import BusyError, FormatError, ParameterError, SourceError, StoreError
from tlfeatures.features import row_checks
from tlfeatures.features.backbones.pixels import PixelBackbone
from tlfeatures.features.file.lock import partial_path
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.file.writer import checksums


@pytest.fixture
def file(photos, tmp_path):
    path = tmp_path / "photos.h5"
    extract(photos, path, backbone="pixels", size=16, layers=["grid4", "grid8"], augment=2)
    return path


def tables_of(file):
    with open_embeddings(file) as reader:
        every = np.arange(len(reader.header.ids))
        return {path: reader.copy_rows(path, every) for path in reader.header.tables}


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def kinds(result):
    return {each.kind: each.ids for each in result.findings}


def follow(remedy):
    """Run the commands of a remedy, as a reader of it would."""
    (commands,) = re.findall("`(.+)`", remedy)
    for command in commands.split("; "):
        program, *arguments = shlex.split(command)
        assert program == "tlfeatures"
        last = invoke(*arguments)
    assert last.exit_code == 0, last.output


def test_a_clean_file_is_clean(photos, file):
    before = file.read_bytes()
    for source in (None, photos):
        result = verify(file, source)
        assert (result.ok, result.findings, result.mended) == (True, [], 0)
        assert (result.images, result.done, result.failed, result.waiting) == (24, 24, 0, 0)
        assert result.tables == read_header(file).tables
        assert len(result.tables) == 5
    assert (result.sampled, result.smallest_cosine) == (16, 1)
    assert result.largest_difference < 1e-6
    assert file.read_bytes() == before


ROW = 17  # red05.png

DAMAGE = {
    "checksum": lambda h: change(h, "embeddings/grid4.avg", 0.001),
    "checksum of a variant": lambda h: change(h, "variants/grid8.avg", 0.001),
    "checksum of properties": lambda h: change(h, "properties", 0.5),
    "not-finite": lambda h: change(h, "embeddings/grid4.avg", np.nan),
    "not-finite in a variant": lambda h: change(h, "variants/grid4.avg", np.inf),
    "not-finite in properties": lambda h: change(h, "properties", np.nan),
    "zeros": lambda h: h["embeddings/grid8.avg"].__setitem__(ROW, 0),
    "zeros in variants": lambda h: h["variants/grid8.avg"].__setitem__(ROW, 0),
    "done-and-failed": lambda h: h["reason"].__setitem__(ROW, b"it was cold"),
}


def change(opened, path, by):
    row = opened[path][ROW]
    row.flat[-1] += by
    opened[path][ROW] = row


def damage(file, name):
    with h5py.File(file, "r+") as opened:
        DAMAGE[name](opened)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_named_and_mended_by_the_command_that_is_told(name, photos, file):
    before = tables_of(file)
    damage(file, name)
    result = verify(file)
    assert kinds(result) == {name.split(" ")[0]: ["red/red05.png"]}
    follow(result.findings[0].remedy)
    assert verify(file, photos, sample=24).ok
    for path, values in tables_of(file).items():
        np.testing.assert_array_equal(values, before[path])


def test_other_values_with_their_checksums_are_found_by_embedding_again(photos, file):
    """As of a run that embedded other pixels."""
    before = tables_of(file)
    with h5py.File(file, "r+") as opened:
        for path in before:
            opened[path][3] = opened[path][20]
        opened["embeddings/grid4.avg"][9] = [0.9, 0.01, 0.01]
        opened["variants/grid4.avg"][11, 1] = [0.9, 0.01, 0.01]
        for path in before:
            opened[f"checksums/{path}"][:] = checksums(opened[path][:])
    assert verify(file).ok
    assert verify(file, photos, sample=0).ok
    result = verify(file, photos, sample=24)
    ids = read_header(file).ids
    assert kinds(result) == {"differs": [ids[row] for row in (3, 9, 11)]}
    assert result.smallest_cosine < 0.999
    assert result.largest_difference > 0.1
    follow(result.findings[0].remedy)
    assert verify(file, photos, sample=24).ok
    for path, values in tables_of(file).items():
        np.testing.assert_array_equal(values, before[path])


def test_the_sample_is_seeded_and_leaves_out_what_is_damaged(photos, file, monkeypatch):
    damage(file, "checksum")
    drawn = record_batches(monkeypatch)
    assert kinds(verify(file, photos, sample=23)).keys() == {"checksum"}
    made = []
    for seed in (1, 1, 2):
        drawn.clear()
        assert verify(file, photos, sample=3, random_state=seed).sampled == 3
        made.append(np.concatenate(drawn).tobytes())
    assert made[0] == made[1] != made[2]


def test_rows_not_done_wait_whatever_they_hold(photos, file):
    damage(file, "not-finite")
    with h5py.File(file, "r+") as opened:
        opened["done"][ROW] = False
    result = verify(file)
    assert kinds(result) == {"waiting": ["red/red05.png"]}
    assert (result.done, result.waiting) == (23, 1)
    follow(result.findings[0].remedy)
    assert verify(file, photos).ok


def test_images_that_failed_are_counted_and_no_finding(photos, file):
    (photos / "red" / "text.jpg").write_text("no image")
    extract(photos, file)
    result = verify(file, photos)
    assert (result.ok, result.done, result.failed, result.waiting) == (True, 24, 1, 0)


def test_black_images_have_zeros_rightly(photos, tmp_path):
    Image.new("RGB", (16, 16)).save(photos / "red" / "black.png")
    file = tmp_path / "black.h5"
    extract(photos, file, backbone="pixels", size=16)
    assert verify(file, photos, sample=25).ok


def test_a_folder_that_is_another_is_told_image_by_image(photos, file):
    (photos / "red" / "red00.png").unlink()
    (photos / "red" / "red01.png").rename(photos / "red" / "moved.png")
    write_image(photos / "red" / "red02.png", 5)
    write_image(photos / "red" / "new.png", 6)
    result = verify(file, photos)
    assert kinds(result) == {
        "gone": ["red/red00.png", "red/red01.png"],
        "new": ["red/moved.png", "red/new.png"],
        "changed": ["red/red02.png"],
    }
    assert {each.remedy for each in result.findings} == {f"`tlfeatures extract {photos} -o {file}`"}
    follow(result.findings[0].remedy)
    assert verify(file, photos).ok


def test_many_images_gone_are_told_with_prune(photos, file):
    for path in photos.glob("blue/*"):
        path.unlink()
    result = verify(file, photos)
    assert "--prune`, if it is the right folder" in result.findings[0].remedy
    follow(result.findings[0].remedy)
    assert verify(file, photos).ok


def test_images_that_can_not_be_read_are_told(photos, file, monkeypatch):
    real = os.open

    def opened(path, *how, **more):
        if Path(path).name == "red03.png":
            raise PermissionError(13, "Permission denied")
        return real(path, *how, **more)

    monkeypatch.setattr(os, "open", opened)
    result = verify(file, photos, sample=24)
    assert (kinds(result), result.sampled) == ({"unreadable": ["red/red03.png"]}, 23)
    assert result.findings[0].remedy.startswith("mend or remove them, then `tlfeatures extract")


def test_mending_takes_back_marks_alone_and_only_of_damaged_rows(file):
    damage(file, "checksum")
    before = tables_of(file)
    with h5py.File(file, "r+") as opened:
        opened["done"][2] = False
    result = verify(file, mend=True)
    assert (result.mended, kinds(result).keys()) == (1, {"checksum", "waiting"})
    assert result.findings[0].remedy.startswith("`tlfeatures extract")
    assert np.flatnonzero(~read_header(file).done).tolist() == [2, ROW]
    for path, values in tables_of(file).items():
        np.testing.assert_array_equal(values, before[path])


def test_damage_is_mended_also_in_what_a_cut_off_run_left_beside(photos, file, monkeypatch):
    damage(file, "checksum")
    write_image(photos / "red" / "new.png", 6)
    beside = partial_path(file)
    with monkeypatch.context() as patch:
        use_backbone(patch, lambda names: Failing(PixelBackbone(names), 0))
        with pytest.raises(StoreError, match="cut off"):
            extract(photos, file)
    assert kinds(verify(beside))["checksum"] == ["red/red05.png"]
    follow(verify(file).findings[0].remedy)
    assert not beside.exists()
    assert verify(file, photos, sample=25).ok
    damage(file, "checksum")
    beside.write_text("of no use")
    assert verify(file, mend=True).mended == 1


def test_mending_waits_for_no_writer(file):
    damage(file, "checksum")
    with FileLock(file.with_name(f".{file.name}.lock")):
        assert not verify(file).ok  # reading needs no lock
        with pytest.raises(BusyError):
            verify(file, mend=True)
    assert read_header(file).done.all()


def test_a_link_is_mended_where_it_points_to(file):
    damage(file, "checksum")
    link = file.with_name("link.h5")
    link.symlink_to(file.name)
    assert verify(link, mend=True).mended == 1
    assert link.is_symlink()
    assert read_header(file).done.sum() == 23


def test_wrong_usage_is_told(photos, file, tmp_path):
    with pytest.raises(ParameterError, match="does not exist"):
        verify(tmp_path / "nowhere.h5", mend=True)
    assert not list(tmp_path.glob(".nowhere*"))
    with pytest.raises(ParameterError, match="does not exist"):
        verify(file, tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="sample must be 0"):
        verify(file, photos, sample=-1)
    with pytest.raises(ParameterError, match="random_state must be 0"):
        verify(file, photos, random_state=-1)
    with pytest.raises(ParameterError, match=r"there are: .*auto"):
        verify(file, photos, device="tpu")
    with pytest.raises(ParameterError, match="--source DIR"):
        verify(file, weights="x.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images"):
        verify(file, tmp_path / "empty")
    with pytest.raises(FormatError):
        verify(photos / "red" / "red00.png")


def test_blocks_are_read_one_by_one_and_progress_is_told(photos, file, monkeypatch):
    damage(file, "checksum")
    monkeypatch.setattr(row_checks, "BLOCK_BYTES", 100)
    told = []
    result = verify(file, photos, sample=4, progress=lambda *each: told.append(each))
    assert kinds(result) == {"checksum": ["red/red05.png"]}
    steps = np.diff([done for done, _ in told])
    assert 0 < steps.max() <= 8
    assert told[-1] == (5 * 24 + 4, 5 * 24 + 4)
    assert told == sorted(told)


# ---- the command line


def test_the_command_says_what_was_checked_and_exits_by_what_was_found(photos, file):
    clean = invoke("verify", file, "--source", photos)
    assert clean.exit_code == 0
    assert "24 images (24 embedded" in clean.stdout
    assert "checksum" in clean.stdout
    assert "16 images embedded again (smallest cosine similarity 1.000000" in clean.stdout
    assert clean.stdout.rstrip().endswith("no problems found")
    with h5py.File(file, "r+") as opened:
        opened["embeddings/grid4.avg"][:7] += 1
    found = invoke("verify", file)
    assert found.exit_code == 1
    assert "checksum: 7 images with other values" in found.stdout
    assert "blue/blue04.png and 2 more" in found.stdout
    assert f"`tlfeatures verify {file} --mend; tlfeatures extract {photos} -o" in found.stdout
    mended = invoke("verify", file, "--mend")
    assert mended.exit_code == 1
    assert "7 rows marked as missing" in mended.stdout
    assert invoke("verify", file.with_name("x.h5")).exit_code == 2
    assert invoke("verify", file, "--weights", "x").exit_code == 2


def test_json_has_all_of_it(photos, file):
    with h5py.File(file, "r+") as opened:
        opened["embeddings/grid4.avg"][:7] += 1
    result = invoke("verify", file, "--source", photos, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert set(found) == {
        "file",
        "images",
        "done",
        "failed",
        "waiting",
        "tables",
        "source",
        "sampled",
        "smallest_cosine",
        "largest_difference",
        "findings",
        "mended",
        "seconds",
        "ok",
    }
    assert (found["ok"], found["sampled"]) == (False, 16)
    (finding,) = found["findings"]
    assert set(finding) == {"kind", "ids", "what", "remedy"}
    assert (finding["kind"], len(finding["ids"])) == ("checksum", 7)


def test_a_folder_that_a_file_names_is_no_command(file):
    with h5py.File(file, "r+") as opened:
        kept = json.loads(opened.attrs["provenance"])
        opened["done"][0] = False
    for said, named in (("a; rm x", "'a; rm x'"), ("a\nb", "SOURCE"), (7, "SOURCE")):
        with h5py.File(file, "r+") as opened:
            opened.attrs["provenance"] = json.dumps({**kept, "source": said})
        assert f"extract {named} -o" in verify(file).findings[0].remedy
