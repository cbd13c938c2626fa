"""A second run computes what is new or changed, and nothing else."""

import os
import shutil
import warnings

import h5py
import numpy as np
import pytest

from tests.fakes import refuse_loading, write_image
from tests.unit.data import extract_pixels, rows_by_id
from tlfeatures import Extractor, extract
from tlfeatures.errors import SourceError
from tlfeatures.features.file.reader import read_header


def test_every_image_is_computed_once(photos, file, monkeypatch):
    first = extract_pixels(photos, file)
    assert (first.images, first.computed, first.reused) == (24, 24, 0)
    assert first.embeddings == {"grid8.avg": 3}
    refuse_loading(monkeypatch)
    before = file.read_bytes()
    again = extract_pixels(photos, file)
    assert (again.images, again.computed, again.reused) == (24, 0, 24)
    assert file.read_bytes() == before


def test_rows_are_those_of_the_backbone_alone(photos, file):
    extract_pixels(photos, file)
    rows = rows_by_id(file)
    expected = Extractor(backbone="pixels", size=16).transform([photos / id_ for id_ in rows])
    np.testing.assert_allclose(np.stack(list(rows.values())), expected, rtol=1e-6)


def test_added_images_alone_are_computed(photos, file):
    extract_pixels(photos, file)
    before = rows_by_id(file)
    for seed in range(3):
        write_image(photos / "red" / f"new{seed}.png", seed)
    result = extract_pixels(photos, file)
    assert (result.images, result.computed, result.reused) == (27, 3, 24)
    after = rows_by_id(file)
    assert len(after) == 27
    assert all((after[id_] == before[id_]).all() for id_ in before)


def test_moved_renamed_and_duplicated_images_are_not_computed(photos, file, monkeypatch):
    extract_pixels(photos, file)
    before = rows_by_id(file)
    (photos / "red" / "red00.png").rename(photos / "blue" / "moved.png")
    (photos / "red" / "red01.png").rename(photos / "red" / "renamed.png")
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    refuse_loading(monkeypatch)
    result = extract_pixels(photos, file)
    assert (result.images, result.computed, result.reused, result.removed) == (25, 0, 25, 0)
    after = rows_by_id(file)
    assert (after["blue/moved.png"] == before["red/red00.png"]).all()
    assert (after["red/renamed.png"] == before["red/red01.png"]).all()
    assert (after["blue/copy.png"] == before["red/red02.png"]).all()
    assert "red/red00.png" not in after


def test_duplicates_in_a_first_run_are_computed_once(photos, file):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    result = extract_pixels(photos, file)
    assert (result.images, result.computed, result.reused) == (25, 24, 1)
    rows = rows_by_id(file)
    assert (rows["blue/copy.png"] == rows["red/red02.png"]).all()


def test_a_duplicate_whose_twin_is_done_is_done_without_computing(photos, file):
    shutil.copy(photos / "red" / "red02.png", photos / "blue" / "copy.png")
    extract_pixels(photos, file)
    with h5py.File(file, "r+") as opened:
        opened["done"][0] = opened["done"][[b"copy" in i for i in opened["ids"][:]].index(True)] = 0
    (photos / "blue" / "blue00.png").touch()
    result = extract_pixels(photos, file)
    assert (result.computed, read_header(file).done.sum()) == (1, 25)


def test_changed_image_is_computed_again(photos, file):
    extract_pixels(photos, file)
    before = rows_by_id(file)
    write_image(photos / "red" / "red00.png", 7)
    result = extract_pixels(photos, file)
    assert (result.computed, result.removed) == (1, 0)
    assert (rows_by_id(file)["red/red00.png"] != before["red/red00.png"]).any()


def test_removed_images_leave_the_file_and_are_counted(photos, file):
    extract_pixels(photos, file)
    (photos / "red" / "red00.png").unlink()
    result = extract_pixels(photos, file)
    assert (result.images, result.computed, result.removed) == (23, 0, 1)
    assert "red/red00.png" not in rows_by_id(file)


def test_many_images_gone_needs_a_word(photos, file):
    extract_pixels(photos, file)
    with pytest.raises(SourceError, match=r"12 of the 24 images.*--prune"):
        extract_pixels(photos / "red", file)
    assert len(rows_by_id(file)) == 24
    assert extract_pixels(photos / "red", file, prune=True).removed == 12


def test_an_added_embedding_keeps_the_old_rows(photos, file):
    extract_pixels(photos, file)
    with h5py.File(file, "r+") as opened:  # marks that tell a carried row from a computed one
        opened["embeddings/grid8.avg"][:] += 100
    result = extract_pixels(photos, file, layers=["grid8", "mean"], pools=["flatten"])
    assert result.computed == 24
    assert set(result.embeddings) == {"grid8.avg", "grid8.flatten", "mean.none"}
    assert min(row.min() for row in rows_by_id(file).values()) >= 100
    assert rows_by_id(file, "grid8.flatten")["red/red00.png"].shape == (192,)


def test_settings_left_out_follow_the_file(photos, file):
    extract_pixels(photos, file, size="20,30", pools=["max"], dtype="float16")
    write_image(photos / "red" / "new.png", 0)
    result = extract(photos, file)
    assert (result.computed, result.embeddings) == (1, {"grid8.max": 3})
    header = read_header(file)
    assert (header.spec.size, header.dtype) == ((20, 30), "float16")


def test_one_of_layer_and_pooling_follows_the_file(photos, file):
    extract_pixels(photos, file, layers=["grid4"], pools=["flatten"])
    assert set(extract_pixels(photos, file, pools=["max"]).embeddings) == {
        "grid4.flatten",
        "grid4.max",
    }
    added = extract_pixels(photos, file, layers=["grid8"]).embeddings
    assert set(added) == {"grid4.flatten", "grid4.max", "grid8.flatten", "grid8.max"}


def test_one_name_is_a_list_of_one(photos, file):
    assert set(extract_pixels(photos, file, layers="grid4", pools="max").embeddings) == {
        "grid4.max"
    }


def test_a_link_stays_a_link(photos, file):
    extract_pixels(photos, file)
    link = file.with_name("link.h5")
    link.symlink_to(file.name)
    write_image(photos / "red" / "new.png", 0)
    extract_pixels(photos, link)
    assert link.is_symlink()
    assert len(rows_by_id(file)) == 25


def test_pipes_and_foreign_formats_are_left_out(photos, file, caplog):
    os.mkfifo(photos / "red" / "pipe.jpg")
    for name in ("1.HEIC", "2.heic", "3.cr2", "notes.txt"):
        (photos / "red" / name).write_text("x")
    assert extract_pixels(photos, file).images == 24
    assert "2 .heic, 1 .cr2, 1 .txt; .cr2, HEIC can't be read" in caplog.text


def test_extracting_leaves_the_filters_of_warnings_alone(photos, file):
    before = list(warnings.filters)
    extract_pixels(photos, file)
    assert warnings.filters == before


def test_the_file_says_where_its_images_are_and_how_it_came_about(photos, file):
    extract_pixels(photos, file, command="first")
    write_image(photos / "red" / "more.png", 99)
    extract_pixels(photos, file, command="second")
    extract_pixels(photos, file, command="nothing to do")
    kept = read_header(file).provenance
    assert (kept["source"], kept["commands"]) == (str(photos), ["first", "second"])
    assert "numpy" in kept["versions"]
