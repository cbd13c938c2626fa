"""What every source of images must do. A test class inherits it and writes its kind of source."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.fakes import age, rows_of, write_image
from tlfeatures import extract, fit, load_dataset, verify
from tlfeatures.cli import main
from tlfeatures.errors import SourceError
from tlfeatures.features.file.reader import read_header
from tlfeatures.features.images.identify import scan
from tlfeatures.features.images.reading import open_content
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.features.sources.protocol import Source

PIXELS = {"backbone": "pixels", "size": 16}
COUNT = 12  # images of a class


@dataclass(frozen=True)
class Given:
    """What a user gives to `extract`: the location of a source, and the folder of its images."""

    location: Path | str | list[Path | str]
    images: Path | str | None = None

    def open(self) -> Source:
        """Open the source."""
        return open_source(self.location, images=self.images)

    def extract(self, file: Path, **options):
        """Embed the images of the source by a backbone that needs no weights."""
        return extract(self.location, file, images=self.images, **PIXELS, **options)


class SourceContract:
    """Finds and identifies the images, keeps ids and rows, and says what it can't read.

    Attributes
    ----------
    title : str
        Name of the kind in the table of the documentation.
    states_labels : bool
        Whether the source states labels; otherwise the folders in the ids name them.
    """

    title: str
    states_labels = True

    def write(self, folder: Path, target: Path) -> Given:
        """Write the source of the images below a folder, whose subfolders are their labels.

        Parameters
        ----------
        folder : Path
            Changes between calls: images are added, moved, damaged or removed.
        target : Path
            Folder for files of the source; what an earlier call wrote is to be replaced.
        """
        raise NotImplementedError

    def id_of(self, path: str) -> str:
        """Return the id of an image, by its path relative to the folder."""
        return path

    # ---- fixtures

    @pytest.fixture
    def folder(self, tmp_path):
        """Twelve images each of cats and dogs."""
        for number in range(COUNT):
            write_image(tmp_path / "photos" / "cat" / f"cat{number:02}.png", number)
            write_image(tmp_path / "photos" / "dog" / f"dog{number:02}.png", 100 + number)
        return tmp_path / "photos"

    @pytest.fixture
    def given(self, folder, tmp_path):
        """The source of these images."""
        return self.write(folder, tmp_path)

    @pytest.fixture
    def file(self, given, tmp_path):
        """The embeddings of the source."""
        given.extract(tmp_path / "own.h5")
        return tmp_path / "own.h5"

    def paths(self, folder):
        """Return the images below the folder by id, sorted."""
        files = (path for path in folder.rglob("*") if path.suffix == ".png")
        return dict(
            sorted((self.id_of(path.relative_to(folder).as_posix()), path) for path in files)
        )

    # ---- promises

    def test_find_each_image_once_in_the_order_of_the_ids(self, given, folder):
        records = list(given.open().images())
        assert [record.id for record in records] == list(self.paths(folder))
        for record, path in zip(records, self.paths(folder).values(), strict=True):
            with open_content(record.location) as content:
                assert content.whole() == path.read_bytes()

    def test_find_nothing_is_one_line(self, folder, tmp_path):
        for path in folder.rglob("*.png"):
            path.unlink()
        given = self.write(folder, tmp_path)
        with pytest.raises(SourceError) as refused:
            given.extract(tmp_path / "own.h5")
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "own.h5").exists()

    def test_open_twice_gives_equal_records_and_labels(self, given):
        one, other = given.open(), given.open()
        assert list(one.images()) == list(other.images())
        assert one.labels() == other.labels()
        assert list(one.images()) == list(other.images())  # a source can be listed again

    def test_identify_by_the_bytes_of_each_image(self, given, folder):
        manifest = scan(given.open())
        own = [hashlib.sha256(path.read_bytes()).digest() for path in self.paths(folder).values()]
        assert manifest.digests == own

    def test_identify_in_another_process(self, given):
        """A cluster's workers get pickled records."""
        records = list(given.open().images())
        copies = pickle.loads(pickle.dumps(records))
        for record, copy in zip(records, copies, strict=True):
            assert copy.id == record.id
            with open_content(record.location) as one, open_content(copy.location) as other:
                assert one.whole() == other.whole()

    def test_embeddings_are_those_of_the_folder(self, file, folder, tmp_path):
        extract(folder, tmp_path / "folder.h5", **PIXELS)
        ids, tables = rows_of(tmp_path / "folder.h5")
        own_ids, own_tables = rows_of(file)
        assert own_ids == [self.id_of(id_) for id_ in ids]
        for name, rows in tables.items():
            np.testing.assert_array_equal(own_tables[name], rows)

    def test_labels_are_those_of_the_images(self, given, file):
        assert (given.open().labels() is not None) == self.states_labels
        data = load_dataset(file)
        assert data.y.tolist() == ["cat"] * COUNT + ["dog"] * COUNT
        assert given.extract(file).classes == {"cat": COUNT, "dog": COUNT}

    def test_add_computes_the_new_image_alone(self, file, folder, tmp_path):
        write_image(folder / "dog" / "new.png", 300)
        result = self.write(folder, tmp_path).extract(file)
        assert (result.images, result.computed, result.reused) == (2 * COUNT + 1, 1, 2 * COUNT)

    def test_move_computes_nothing(self, file, folder, tmp_path):
        (folder / "cat" / "cat00.png").rename(folder / "dog" / "moved.png")
        result = self.write(folder, tmp_path).extract(file)
        assert (result.images, result.computed, result.removed) == (2 * COUNT, 0, 0)
        data = load_dataset(file)
        assert data.y[data.ids.tolist().index(self.id_of("dog/moved.png"))] == "dog"

    def test_damage_is_named_and_stops_nothing(self, folder, tmp_path):
        damaged = folder / "cat" / "cat03.png"
        damaged.write_bytes(damaged.read_bytes()[:60])
        age(damaged)
        result = self.write(folder, tmp_path).extract(tmp_path / "own.h5")
        assert [each["id"] for each in result.failed] == [self.id_of("cat/cat03.png")]
        assert result.failed[0]["reason"]
        assert result.computed == 2 * COUNT - 1

    def test_removed_images_lose_their_rows(self, file, folder, tmp_path):
        (folder / "cat" / "cat00.png").unlink()
        assert self.write(folder, tmp_path).extract(file).removed == 1
        for number in range(1, 6):
            (folder / "cat" / f"cat{number:02}.png").unlink()
        given = self.write(folder, tmp_path)
        with pytest.raises(SourceError, match="are not in this folder"):
            given.extract(file)
        assert len(read_header(file).ids) == 2 * COUNT - 1
        assert given.extract(file, prune=True).removed == 5

    def test_verify_finds_no_difference(self, given, file):
        assert verify(file, given.location, sample=3).ok

    def test_predict_labels_each_image(self, given, file, tmp_path):
        fit(file, "centroid", model=tmp_path / "m.model", cv=2)
        locations = given.location if isinstance(given.location, list) else [given.location]
        folder = [] if given.images is None else ["--images", given.images]
        arguments = map(str, ["predict", tmp_path / "m.model", *locations, *folder, "--json"])
        result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
        predictions = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(predictions) == 2 * COUNT
        assert not any("error" in each for each in predictions)

    def test_cluster_gives_the_same_rows(self, given, file, client, tmp_path):
        result = given.extract(tmp_path / "cluster.h5", cluster=client)
        assert result.computed == 2 * COUNT
        ids, tables = rows_of(tmp_path / "cluster.h5")
        own_ids, own_tables = rows_of(file)
        assert ids == own_ids
        for name, rows in tables.items():
            np.testing.assert_array_equal(rows, own_tables[name])
