"""The embeddings file against a plain dictionary, on manifests and writes that hypothesis makes."""

import re
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data import SPEC
from tlfeatures.errors import FormatError
from tlfeatures.features.file import format as format_
from tlfeatures.features.file.create import Contents, create
from tlfeatures.features.file.format import DTYPES
from tlfeatures.features.file.reader import open_embeddings, read_header
from tlfeatures.features.file.writer import Writer, checksums
from tlfeatures.features.images.augment import Augmentation
from tlfeatures.features.images.identify import Manifest
from tlfeatures.features.images.properties import PROPERTIES
from tlfeatures.features.images.reading import digest
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.spec import Spec

EMBEDDINGS = {"a.avg": 3, "b.flatten": 5}

names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1, max_size=30
)
specs = st.sampled_from(
    [SPEC, *(replace(SPEC, augmentation=Augmentation(v, 30.0)) for v in (1, 3))]
)
manifests = st.lists(
    st.tuples(names, st.integers(0, 12)), min_size=1, max_size=20, unique_by=lambda x: x[0]
)
examples = settings(max_examples=8, deadline=None)


def as_manifest(rows) -> Manifest:
    rows = sorted(rows)
    images = [ImageRecord(name, ".", name) for name, _ in rows]
    stamps = [(content, 10**18 + row) for row, (_, content) in enumerate(rows)]
    return Manifest(images, [digest(bytes([content])) for _, content in rows], stamps)


def values_of(manifest: Manifest, rows) -> dict[str, np.ndarray]:
    """What a backbone would give: decided by the bytes of the image alone."""
    firsts = np.array([manifest.digests[row][0] for row in rows], np.float32)
    return {
        name: firsts[:, None] + np.arange(d, dtype=np.float32) for name, d in EMBEDDINGS.items()
    }


def variants_of(manifest: Manifest, rows, spec: Spec) -> dict[str, np.ndarray]:
    """The same of its variants."""
    numbers = np.arange(1, 1 + spec.variants, dtype=np.float32)[:, None] * 16
    return {name: rows[:, None] + numbers for name, rows in values_of(manifest, rows).items()}


def properties_of(manifest: Manifest, rows) -> np.ndarray:
    """The same of its properties."""
    firsts = np.array([manifest.digests[row][1] for row in rows], np.float32)
    return firsts[:, None] * 1e6 + np.arange(len(PROPERTIES), dtype=np.float32)


def write(writer: Writer, manifest: Manifest, rows, spec: Spec = SPEC) -> None:
    """Write everything that a backbone would give of some rows."""
    writer.write(
        rows,
        values_of(manifest, rows),
        variants_of(manifest, rows, spec),
        properties_of(manifest, rows),
    )


def read_properties(path: Path) -> np.ndarray:
    with open_embeddings(path) as reader:
        return reader.read_properties()


def read_variants(path: Path, name: str, spec: Spec) -> np.ndarray:
    with open_embeddings(path) as reader:
        return reader.read_variants(name, spec.variants)


def read(path: Path, name: str) -> np.ndarray:
    with open_embeddings(path) as reader:
        return reader.read(name)


def assert_checksums(path: Path, rows) -> None:
    """As the format says it, by h5py and zlib alone."""
    with h5py.File(path) as file:
        kinds = {"embeddings", "variants"} & set(file)
        tables = [f"{kind}/{name}" for kind in kinds for name in file[kind]]
        for name in [*tables, "properties"]:
            table, sums = file[name], file[f"checksums/{name}"]
            assert (sums.shape, sums.dtype) == (table.shape[:1], np.uint32)
            for row in rows:
                assert sums[row] == zlib.crc32(table[row].tobytes())


@examples
@given(rows=manifests, spec=specs, data=st.data(), dtype=st.sampled_from(DTYPES))
def test_what_was_written_is_read_and_nothing_else(rows, spec, data, dtype):
    manifest = as_manifest(rows)
    count = len(manifest.images)
    written = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    failed = sorted(set(range(count)) - set(written))[: data.draw(st.integers(0, 3))]
    reason = data.draw(names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.h5")
        create(path, Contents(manifest, spec, EMBEDDINGS, dtype))
        with Writer(path) as writer:
            if written:
                write(writer, manifest, written, spec)
            if failed:
                writer.fail(failed, reason)
        header = read_header(path)
        assert header.ids == manifest.ids
        assert (header.digests, header.stamps) == (manifest.digests, manifest.stamps)
        assert set(np.flatnonzero(header.done)) == set(written)
        assert set(header.failures) == {manifest.ids[row] for row in failed}
        assert (header.spec, header.embeddings, header.dtype) == (spec, EMBEDDINGS, dtype)
        expected = values_of(manifest, sorted(written))
        properties = properties_of(manifest, sorted(written))
        np.testing.assert_array_equal(read_properties(path), properties)
        variants = variants_of(manifest, sorted(written), spec)
        for name in EMBEDDINGS:
            np.testing.assert_array_equal(read(path, name), expected[name])
            assert_checksums(path, written)
            if spec.augmentation:
                np.testing.assert_array_equal(read_variants(path, name, spec), variants[name])


@examples
@given(old=manifests, new=manifests, spec=specs, data=st.data())
def test_carrying_takes_every_finished_row_with_the_same_bytes(old, new, spec, data):
    before, after = as_manifest(old), as_manifest(new)
    done = data.draw(st.lists(st.integers(0, len(old) - 1), unique=True, min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "1.h5"), Path(folder, "2.h5")
        create(first, Contents(before, spec, EMBEDDINGS, "float32"))
        with Writer(first) as writer:
            write(writer, before, done, spec)
        create(second, Contents(after, spec, EMBEDDINGS, "float32"))
        with Writer(second) as writer:
            writer.carry(first)
        header = read_header(second)
        finished = {before.digests[row] for row in done}
        carried = [row for row, found in enumerate(after.digests) if found in finished]
        assert np.flatnonzero(header.done).tolist() == carried
        assert_checksums(second, carried)
        np.testing.assert_array_equal(read_properties(second), properties_of(after, carried))
        for name, expected in values_of(after, carried).items():
            np.testing.assert_array_equal(read(second, name), expected)
        if spec.augmentation:
            for name, expected in variants_of(after, carried, spec).items():
                np.testing.assert_array_equal(read_variants(second, name, spec), expected)


@examples
@given(old=manifests, new=manifests, had=specs, wanted=specs, data=st.data())
def test_rows_of_images_are_carried_to_other_variants_and_left_as_they_are(
    old, new, had, wanted, data
):
    before, after = as_manifest(old), as_manifest(new)
    done = data.draw(st.lists(st.integers(0, len(old) - 1), unique=True, min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "1.h5"), Path(folder, "2.h5")
        create(first, Contents(before, had, EMBEDDINGS, "float32"))
        with Writer(first) as writer:
            write(writer, before, done, had)
        finished = {before.digests[row] for row in done}
        carried = [row for row, found in enumerate(after.digests) if found in finished]
        create(second, Contents(after, wanted, EMBEDDINGS, "float32"))
        with Writer(second) as writer:
            writer.carry(first)
            whole = had == wanted or not wanted.augmentation
            assert np.flatnonzero(writer.done).tolist() == (carried if whole else [])
            if carried:
                writer.write(carried, {}, variants_of(after, carried, wanted))
        np.testing.assert_array_equal(read_properties(second), properties_of(after, carried))
        for name, expected in values_of(after, carried).items():
            np.testing.assert_array_equal(read(second, name), expected)
        if wanted.augmentation:
            for name, expected in variants_of(after, carried, wanted).items():
                np.testing.assert_array_equal(read_variants(second, name, wanted), expected)


@examples
@given(cut=st.floats(0, 0.999), spec=specs)
def test_a_truncated_file_is_an_error_of_this_package(cut, spec):
    manifest = as_manifest([("a", 1), ("b", 2)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.h5")
        create(path, Contents(manifest, spec, EMBEDDINGS, "float32"))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * cut)])
        with pytest.raises(FormatError):
            read_header(path)


def test_damage_is_carried_with_its_checksum_and_not_blessed(tmp_path):
    manifest = as_manifest([("a", 1), ("b", 2)])
    spec = replace(SPEC, augmentation=Augmentation(2))
    first, second = tmp_path / "1.h5", tmp_path / "2.h5"
    create(first, Contents(manifest, spec, EMBEDDINGS, "float16"))
    with Writer(first) as writer:
        write(writer, manifest, [0, 1], spec)
    with h5py.File(first, "r+") as file:
        file["embeddings/a.avg"][0, 1] += 1
        file["variants/b.flatten"][1, 1, 3] += 1
        file["properties"][1, 0] = 7
    create(second, Contents(manifest, spec, EMBEDDINGS, "float16"))
    with Writer(second) as writer:
        writer.carry(first)
        assert writer.done.all()
    wrong = {}
    with open_embeddings(second) as reader:
        for path in reader.header.tables:
            sums = checksums(reader.copy_rows(path, np.arange(2)))
            said = reader.copy_checksums(path, np.arange(2))
            wrong[path] = np.flatnonzero(sums != said).tolist()
    damaged = {"embeddings/a.avg": [0], "variants/b.flatten": [1], "properties": [1]}
    assert {path: rows for path, rows in wrong.items() if rows} == damaged


@pytest.mark.parametrize(
    "part",
    [
        *("stat", "properties", "checksums", "checksums/properties"),
        *("checksums/embeddings", "checksums/embeddings/a.avg"),
    ],
)
@pytest.mark.parametrize("change", ["gone", "other", "link"])
def test_a_file_without_its_stamps_properties_or_checksums_is_damaged(tmp_path, part, change):
    path = tmp_path / "x.h5"
    create(path, Contents(as_manifest([("a", 1), ("b", 2)]), SPEC, EMBEDDINGS, "float32"))
    with h5py.File(path, "r+") as file:
        del file[part]
        if change == "other":
            file[part] = np.zeros((3, 2), np.int32)
        if change == "link":
            file[part] = h5py.ExternalLink("elsewhere.h5", part)
    with pytest.raises(FormatError):
        read_header(path)


def test_a_row_taken_back_is_written_again(tmp_path):
    manifest = as_manifest([("a", 1), ("b", 2), ("c", 3)])
    path = tmp_path / "x.h5"
    create(path, Contents(manifest, SPEC, EMBEDDINGS, "float32"))
    with Writer(path) as writer:
        write(writer, manifest, [0, 1, 2])
        writer.unmark([2, 0])
        assert writer.done.tolist() == [False, True, False]
    assert read_header(path).done.tolist() == [False, True, False]
    with Writer(path) as writer:
        write(writer, manifest, [0])
    assert read_header(path).done.tolist() == [True, True, False]
    assert_checksums(path, [0, 1])


def test_stamps_alone_are_renewed(tmp_path):
    manifest = as_manifest([("a", 1), ("b", 2)])
    path = tmp_path / "x.h5"
    create(path, Contents(manifest, SPEC, EMBEDDINGS, "float32"))
    with Writer(path) as writer:
        write(writer, manifest, [0, 1])
    before = path.read_bytes()
    with Writer(path) as writer:
        writer.stamp(manifest.stamps)
    assert path.read_bytes() == before
    with Writer(path) as writer:
        writer.stamp([(1, 10**18 + 7), (0, 0)])
    header = read_header(path)
    assert header.stamps == [(1, 10**18 + 7), (0, 0)]
    assert header.identified() == {"a": ((1, 10**18 + 7), manifest.digests[0])}
    assert len(path.read_bytes()) == len(before)


def test_long_ids_and_reasons_are_not_cut_in_a_character(tmp_path):
    manifest = as_manifest([("é" * 300, 1)])
    path = tmp_path / "x.h5"
    create(path, Contents(manifest, SPEC, EMBEDDINGS, "float32"))
    with Writer(path) as writer:
        writer.fail([0], "ü" * 500)
    header = read_header(path)
    assert header.ids == ["é" * 300]
    assert set(header.reasons[0]) == {"ü"}


def test_the_specification_lists_every_dataset_with_its_shape_and_type():
    rows = re.findall(r"^``/(\S+)``\s+\((.+?)\) (\w+)", format_.__doc__, re.MULTILINE)
    specified = [(path, shape.rstrip(","), dtype) for path, shape, dtype in rows]
    expected = [
        (entry.path, ", ".join(map(str, entry.shape)), entry.dtype) for entry in format_.DATASETS
    ]
    assert specified == expected


def test_specs_differ_only_in_what_counts():
    assert SPEC.differences(SPEC) == []
    assert SPEC.differences(replace(SPEC, weights="elsewhere", random_state=3)) == []
    assert SPEC.differences(replace(SPEC, augmentation=Augmentation(2))) == []
    assert SPEC.differences(replace(SPEC, top_sha256="00")) == []
    assert SPEC.differences(replace(SPEC, size=(9, 9))) == [("size", (8, 8), (9, 9))]
    assert Spec.from_dict(SPEC.to_dict()) == SPEC
