"""Sources inside of other files, and at URLs, keep the promises of every source."""

import io
import shutil
import tarfile
import zipfile

import pytest

from tests.contract.sources import Given, SourceContract
from tests.contract.test_sources import relative_paths
from tests.range_server import serving


class TestZip(SourceContract):
    title = "zip"
    states_labels = False
    name, compression = "photos.zip", zipfile.ZIP_STORED

    def write(self, folder, target):
        with zipfile.ZipFile(target / self.name, "w", self.compression) as archive:
            for path in sorted(folder.rglob("*.png")):
                archive.write(path, path.relative_to(folder.parent).as_posix())
        return Given(target / self.name)

    def id_of(self, path):
        return f"{self.name}/photos/{path}"


class TestDeflatedZip(TestZip):
    title = "zip, deflated"
    compression = zipfile.ZIP_DEFLATED


class TestTar(SourceContract):
    title = "tar"
    states_labels = False

    def write(self, folder, target):
        with tarfile.open(target / "photos.tar", "w") as archive:
            archive.add(folder, ".")
        return Given(target / "photos.tar")

    def id_of(self, path):
        return f"photos.tar/{path}"


class TestWebDataset(SourceContract):
    """Two shards, with a label beside each image."""

    title = "WebDataset"

    def write(self, folder, target):
        shards = [target / f"photos-{number}.tar" for number in range(2)]
        for number, shard in enumerate(shards):
            with tarfile.open(shard, "w") as archive:
                for label, path in relative_paths(folder):
                    if (label == "dog") == number:
                        data = (folder / path).read_bytes()
                        add_member(archive, path, data)
                        add_member(archive, path.removesuffix("png") + "cls", label.encode())
        return Given(shards)

    def id_of(self, path):
        return f"photos-{int(path.startswith('dog'))}.tar/{path}"


def add_member(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


class TestParquetOfImages(SourceContract):
    """As Hugging Face's datasets, with names of classes for their numbers."""

    title = "Parquet with images"

    def write(self, folder, target):
        import pyarrow
        from pyarrow.parquet import write_table

        image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        features = '{"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}'
        schema = pyarrow.schema(
            [("image", image), ("label", pyarrow.int64())],
            {"huggingface": f'{{"info": {{"features": {features}}}}}'},
        )
        rows = relative_paths(folder)
        images = [{"bytes": (folder / path).read_bytes(), "path": path} for _, path in rows]
        table = {"image": images, "label": [int(label == "dog") for label, _ in rows]}
        write_table(pyarrow.table(table, schema), target / "photos.parquet", row_group_size=5)
        return Given(target / "photos.parquet")

    def id_of(self, path):
        return f"photos.parquet/{path}"


class TestFolderAtUrl(SourceContract):
    title = "folder at a URL"
    states_labels = False

    def write(self, folder, target):
        copy = target / "served"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        (copy / "notes.txt").write_text("an empty folder has no URL in an object store")
        return Given(copy.as_uri())


class TestZipAtUrl(TestZip):
    title = "zip at a URL"

    @pytest.fixture(autouse=True)
    def server(self, tmp_path):
        with serving(tmp_path) as self.address:
            yield

    def write(self, folder, target):
        super().write(folder, target)
        return Given(f"{self.address}/{self.name}?version=1")
