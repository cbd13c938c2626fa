import csv
import json

from tests.contract.sources import Given, SourceContract


def relative_paths(folder):
    """Return label and path of each image below the folder, sorted."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    return [(path.parts[0], path.as_posix()) for path in paths]


class TestFolder(SourceContract):
    title = "folder"
    states_labels = False

    def write(self, folder, target):
        return Given(folder)


class TestCsv(SourceContract):
    title = "table: CSV"
    name, delimiter = "photos.csv", ","

    def write(self, folder, target):
        with (target / self.name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.delimiter)
            writer.writerow(["path", "label"])
            writer.writerows((path, label) for label, path in relative_paths(folder))
        return Given(target / self.name, folder)


class TestTsv(TestCsv):
    title = "table: TSV"
    name, delimiter = "photos.tsv", "\t"


class TestTableInTheFolder(TestCsv):
    """The table is beside the images, as Hugging Face's `metadata.csv`."""

    title = "table in the folder"

    def write(self, folder, target):
        given = super().write(folder, folder)
        return Given(given.location)


class TestJsonLines(SourceContract):
    title = "table: JSON lines"

    def write(self, folder, target):
        rows = [{"file_name": path, "label": label} for label, path in relative_paths(folder)]
        text = "\n".join(map(json.dumps, rows))
        (target / "metadata.jsonl").write_text(text or "{}", "utf-8")
        return Given(target / "metadata.jsonl", folder)


class TestParquet(SourceContract):
    title = "table: Parquet"

    def write(self, folder, target):
        import pyarrow
        from pyarrow.parquet import write_table

        rows = relative_paths(folder)
        columns = {"path": [path for _, path in rows], "label": [label for label, _ in rows]}
        table = pyarrow.table(columns, pyarrow.schema([("path", "string"), ("label", "string")]))
        write_table(table, target / "photos.parquet")
        return Given(target / "photos.parquet", folder)


class TestCoco(SourceContract):
    title = "COCO JSON"

    def write(self, folder, target):
        rows = relative_paths(folder)
        content = {
            "images": [
                {"id": number, "file_name": path, **self.of_image(path)}
                for number, (_, path) in enumerate(rows)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 1 + (label == "dog")}
                for number, (label, _) in enumerate(rows)
            ],
        }
        (target / "photos.json").write_text(json.dumps(content), "utf-8")
        return Given(target / "photos.json", folder)

    def of_image(self, path):
        return {}


class TestCameraTraps(TestCoco):
    title = "camera-trap JSON"

    def of_image(self, path):
        return {"seq_id": path[-6:], "location": path[-5:]}


class TestLabelStudio(SourceContract):
    title = "Label Studio JSON-MIN"

    def write(self, folder, target):
        rows = [
            {"id": number, "image": path, "choice": label, "annotator": 1, "lead_time": 2.5}
            for number, (label, path) in enumerate(relative_paths(folder))
        ]
        (target / "project.json").write_text(json.dumps(rows), "utf-8")
        return Given(target / "project.json", folder)


class TestSeveral(SourceContract):
    """The folders of the classes, given one by one."""

    title = "several"
    states_labels = False

    def write(self, folder, target):
        return Given(sorted(path for path in folder.iterdir() if path.is_dir()))
