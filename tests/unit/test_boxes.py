"""Boxes in tables: the part of an image is embedded as a file of that part would be."""

import io
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.fakes import rows_of, write_image
from tlfeatures import Model, extract, fit, load_dataset, verify
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, SourceError
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.models.evaluate import evaluate

PIXELS = {"backbone": "pixels", "size": 16}


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def only_row(file):
    ids, tables = rows_of(file)
    assert len(ids) == 1
    return next(iter(tables.values()))[0]


def upright_jpeg(path):
    """Write a JPEG whose EXIF says that it lies on its side; return it as it is seen."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, quality=100, subsampling=0, exif=exif.tobytes())
    with Image.open(path) as image:
        return image.transpose(Image.Transpose.ROTATE_270)


def deep_png(path):
    pixels = np.random.default_rng(0).integers(0, 65_536, (40, 60)).astype(np.uint16)
    Image.fromarray(pixels).save(path)
    with Image.open(path) as image:
        return image.copy()


def plain_png(path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("name", "make"), [("a.jpg", upright_jpeg), ("a.png", deep_png), ("b.png", plain_png)]
)
@pytest.mark.parametrize(
    ("box", "part"),
    [
        ("4,6,20,24", (4, 6, 24, 30)),
        ("0,0,5,5", (0, 0, 5, 5)),
        ("-3,-3,13,13", (0, 0, 10, 10)),
        ("30,30,100,100", (30, 30, 1000, 1000)),
        ("4.5,6.2,20.2,23.5", (4, 6, 25, 30)),
    ],
)
def test_a_part_has_the_embedding_of_a_file_of_it(tmp_path, name, make, box, part):
    (tmp_path / "photos").mkdir()
    whole = make(tmp_path / "photos" / name)
    left, top, right, bottom = part
    crop = whole.crop((left, top, min(right, whole.width), min(bottom, whole.height)))
    (tmp_path / "crops").mkdir()
    crop.save(tmp_path / "crops" / "crop.png")
    table = write(tmp_path / "t.csv", f"path,x,y,width,height\n{name},{box}\n")
    extract(table, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    extract(tmp_path / "crops", tmp_path / "b.h5", **PIXELS)
    np.testing.assert_array_equal(only_row(tmp_path / "a.h5"), only_row(tmp_path / "b.h5"))


def test_a_box_outside_of_its_image_is_an_image_that_can_not_be_read(tmp_path):
    write_image(tmp_path / "photos" / "a.png", 1)
    table = write(
        tmp_path / "t.csv", "path,label,x,y,width,height\na.png,x,1,1,5,5\na.png,y,50,50,5,5\n"
    )
    result = extract(table, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    (failed,) = result.failed
    assert failed["id"] == "a.png#box=50,50,5,5"
    assert "is outside of its image, which has 15 x 12 pixels" in failed["reason"]
    assert load_dataset(tmp_path / "a.h5").ids.tolist() == ["a.png#box=1,1,5,5"]


# ---- how a table writes boxes


@pytest.mark.parametrize(
    "text",
    [
        "path,x,y,width,height\na.png,1,2,3,4\n",
        "path;x;y;width;height\na.png;1,0;2,0;3;4\n",  # decimal commas
        "path,bbox\na.png,\"[1, 2, 3, 4]\"\n",
        "path,bbox\na.png,1 2 3 4\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,15,12,x,1,2,4,6\n",
        "path,left,top,right,bottom\na.png,1,2,4,6\n",
        "path,bbox_x,bbox_y,bbox_w,bbox_h\na.png,1,2,3,4\n",
    ],
)  # fmt: skip
def test_boxes_are_read_in_the_usual_forms(tmp_path, text):
    write_image(tmp_path / "photos" / "a.png", 1)
    source = open_source(write(tmp_path / "t.csv", text), images=tmp_path / "photos")
    assert [image.id for image in source.images()] == ["a.png#box=1,2,3,4"]


def test_columns_of_boxes_can_be_named_and_left_out(tmp_path):
    write_image(tmp_path / "photos" / "a.png", 1)
    table = write(tmp_path / "t.csv", "path,a,b,c,d,x,y,width,height\na.png,1,2,3,4,5,5,5,5\n")
    names = {"x": "a", "y": "b", "width": "c", "height": "d"}

    def ids(columns):
        source = open_source(table, images=tmp_path / "photos", columns=columns)
        return [image.id for image in source.images()]

    assert ids(names) == ["a.png#box=1,2,3,4"]
    assert ids(None) == ["a.png#box=5,5,5,5"]
    assert ids({"x": ""}) == ["a.png"]
    option = "x=a,y=b,width=c,height=d"
    result = run("extract", table, "--images", tmp_path / "photos", "-o", tmp_path / "a.h5",
                 "--backbone", "pixels", "--columns", option)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert rows_of(tmp_path / "a.h5")[0] == ["a.png#box=1,2,3,4"]
    write(tmp_path / "t.csv", "path,a,b,c\na.png,1,2,3\n")
    with pytest.raises(SourceError, match="has no column for height of a box; name all of them"):
        ids({"x": "a", "y": "b", "width": "c"})


def test_the_size_of_images_is_no_box(tmp_path):
    write_image(tmp_path / "photos" / "a.png", 1)
    table = write(tmp_path / "t.csv", "path,width,height\na.png,15,12\n")
    source = open_source(table, images=tmp_path / "photos")
    assert [image.id for image in source.images()] == ["a.png"]


def test_an_image_without_a_box_is_embedded_whole_and_one_with_several_once_for_each(tmp_path):
    for number in range(2):
        write_image(tmp_path / "photos" / f"{number}.png", number)
    text = "path,label,x,y,width,height\n0.png,a,1,1,4,4\n0.png,b,3,3,4,4\n1.png,c,,,,\n"
    extract(
        write(tmp_path / "t.csv", text), tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS
    )
    data = load_dataset(tmp_path / "a.h5")
    assert data.ids.tolist() == ["0.png#box=1,1,4,4", "0.png#box=3,3,4,4", "1.png"]
    assert data.y.tolist() == ["a", "b", "c"]


def test_invalid_boxes_are_counted_and_named(tmp_path, caplog):
    write_image(tmp_path / "photos" / "a.png", 1)
    rows = ["a.png,x,1,1,4,4", "a.png,x,1,1,0,4", "a.png,x,one,1,4,4", "a.png,x,1,1,4,nan",
            "a.png,x,1,1,4,", "a.png,x,1,1,-4,4"]  # fmt: skip
    table = write(tmp_path / "t.csv", "\n".join(["path,label,x,y,width,height", *rows]))
    source = open_source(table, images=tmp_path / "photos")
    assert [image.id for image in source.images()] == ["a.png#box=1,1,4,4"]
    assert "5 rows without a valid box left out, line 3 (a box has the width" in caplog.text


def test_fractions_of_the_image_are_no_pixels(tmp_path):
    write_image(tmp_path / "photos" / "a.png", 1)
    table = write(tmp_path / "t.csv", "path,x,y,width,height\na.png,0.1,0.2,0.5,0.25\n")
    with pytest.raises(SourceError, match="look like fractions of the images"):
        list(open_source(table, images=tmp_path / "photos").images())


# ---- the parts of a photograph belong together


@pytest.fixture
def herd(tmp_path):
    """A table of twelve photographs, each with a cow on the left and a pig on the right."""
    rows = []
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 150, (20, 40, 3), np.uint8)
        pixels[:, :20, 0] += np.uint8(90)
        pixels[:, 20:, 2] += np.uint8(90)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
        rows += [f"{number:02}.png,cow,0,0,20,20", f"{number:02}.png,pig,20,0,20,20"]
    return write(tmp_path / "t.csv", "\n".join(["path,label,x,y,width,height", *rows]))


def test_parts_of_one_photograph_are_in_one_fold_and_drawn_together(herd, tmp_path):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    data = load_dataset(tmp_path / "a.h5")
    assert data.groups is None
    photographs = [id_.partition("#")[0] for id_ in data.ids]
    assert len(set(data.together.tolist())) == 12
    assert len(set(zip(photographs, data.together.tolist(), strict=True))) == 12
    entry = fit(tmp_path / "a.h5", "centroid", cv=4).benchmark.entries[0]
    assert len(set(zip(photographs, entry.fold.tolist(), strict=True))) == 12
    some = data.take(np.arange(1, 13))  # the parts of a photograph stay together in a selection
    assert len(set(some.together.tolist())) == 7


def test_a_given_split_that_separates_parts_of_a_photograph_trains_on_none_of_them(
    herd, tmp_path, caplog
):
    lines = herd.read_text("utf-8").splitlines()
    splits = ["train" if number % 3 else "test" for number in range(24)]
    text = [f"{lines[0]},split", *map(",".join, zip(lines[1:], splits, strict=True))]
    table = write(tmp_path / "s.csv", "\n".join(text))
    extract(table, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    result = fit(tmp_path / "a.h5", "centroid")
    ((train, test),) = result.benchmark.study.folds
    photographs = np.array([id_.partition("#")[0] for id_ in load_dataset(tmp_path / "a.h5").ids])
    assert not set(photographs[train]) & set(photographs[test])
    assert len(test) == 8


def test_a_row_of_a_photograph_labels_and_groups_its_parts(herd, tmp_path):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    rows = [f"{number:02}.png,s{number % 3}" for number in range(12)]
    groups = write(tmp_path / "g.csv", "\n".join(["id,group", *rows]))
    data = load_dataset(tmp_path / "a.h5", groups=groups)
    assert data.y.tolist() == ["cow", "pig"] * 12
    assert data.groups.tolist() == [f"s{number % 3}" for number in range(12) for _ in "ab"]
    labels = write(tmp_path / "l.csv", "\n".join(["id,label", *rows]))
    assert load_dataset(tmp_path / "a.h5", labels=labels).y.tolist() == data.groups.tolist()


def test_labels_of_boxes_need_boxes_only_where_the_images_have_them(herd, tmp_path):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    assert load_dataset(tmp_path / "a.h5", labels=herd).y.tolist() == ["cow", "pig"] * 12
    extract(tmp_path / "photos", tmp_path / "whole.h5", **PIXELS)
    with pytest.raises(DatasetError, match=r"'00.png' twice \(lines 2 and 3\) with different"):
        load_dataset(tmp_path / "whole.h5", labels=herd)
    one = "\n".join(["path,label,x,y,width,height", "00.png,a,1,1,5,5", "01.png,b,2,2,5,5"])
    data = load_dataset(tmp_path / "whole.h5", labels=write(tmp_path / "one.csv", one))
    assert data.y.tolist() == ["a", "b"]
    other = herd.read_text("utf-8").replace(",20,20\n", ",19,19\n").replace("20,0,20,20", "1,1,2,2")
    with pytest.raises(DatasetError, match="the boxes of the labels are other ones"):
        load_dataset(tmp_path / "a.h5", labels=write(tmp_path / "other.csv", other))


def test_predict_evaluate_and_verify_take_the_parts(herd, tmp_path):
    table = write(tmp_path / "photos" / "t.csv", herd.read_text("utf-8"))
    extract(table, tmp_path / "a.h5", **PIXELS)
    fit(tmp_path / "a.h5", "centroid", cv=4, model=tmp_path / "m.model")
    predictions = list(Model.load(tmp_path / "m.model").predict(table))
    assert [each.label for each in predictions] == ["cow", "pig"] * 12
    assert predictions[1].path.endswith("00.png#box=20,0,20,20")
    assert verify(tmp_path / "a.h5", table, sample=5).ok
    for path in (tmp_path / "photos").glob("*.png"):  # other bytes, the same pixels
        path.write_bytes(path.read_bytes() + b"\0")
    trial = evaluate(tmp_path / "m.model", table)
    assert trial.images == 24
    assert (trial.y == np.array(trial.classes)[trial.predicted]).all()
    boxes = "\n".join(["path,x,y,width,height", "03.png,1,1,9,9"])
    result = run("predict", tmp_path / "m.model", write(tmp_path / "photos" / "new.csv", boxes))
    assert result.exit_code == 0, result.output
    assert "03.png#box=1,1,9,9" in result.stdout


def test_evaluate_takes_the_columns_of_a_table_and_other_groups(herd, tmp_path):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    fit(tmp_path / "a.h5", "centroid", cv=4, model=tmp_path / "m.model")
    for path in (tmp_path / "photos").glob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    table = write(herd, herd.read_text("utf-8").replace("path,label", "photo,kind"))
    options = {"images": tmp_path / "photos", "columns": {"id": "photo", "label": "kind"}}
    trial = evaluate(tmp_path / "m.model", table, groups="^([0-9])", **options)
    assert (trial.images, trial.classes.tolist()) == (24, ["cow", "pig"])


def test_predict_takes_the_options_of_tables(herd, tmp_path, fitted_model):
    folder = tmp_path / "photos"
    boxes = write(tmp_path / "new.csv", "photo,x,y,width,height\n03.png,1,1,9,9\n")
    options = ["--images", folder, "--columns", "id=photo"]
    page = tmp_path / "labels.html"
    result = run("predict", fitted_model, boxes, *options, "--report", page)
    assert result.exit_code == 0, result.output
    assert f"{folder}/03.png#box=1,1,9,9" in result.stdout
    assert "data:image" in page.read_text("utf-8")
    both = run("predict", fitted_model, folder / "03.png", boxes, *options)
    assert both.exit_code == 0, both.output
    assert both.stdout.count("03.png") == 2  # the whole image and its part
    for wrong, said in (
        (tmp_path / "none.csv", "none.csv does not exist"),
        (folder / "03.png", "is no table"),
        (folder, "is no table"),
        ("-", "stream"),
    ):
        refused = run("predict", fitted_model, wrong, *options)
        assert refused.exit_code == 2
        assert said in refused.stderr
    features = tmp_path / "photos.h5"
    extract(folder, features, backbone="pixels", size=16, pools=["flatten"])
    refused = run("predict", fitted_model, features, *options)
    assert refused.exit_code == 2
    assert "has features; leave --images out" in refused.stderr


def test_workers_of_a_cluster_embed_the_parts(herd, tmp_path, client):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    extract(herd, tmp_path / "b.h5", images=tmp_path / "photos", cluster=client, **PIXELS)
    (ids, tables), (own_ids, own) = rows_of(tmp_path / "a.h5"), rows_of(tmp_path / "b.h5")
    assert ids == own_ids
    for name, rows in tables.items():
        np.testing.assert_array_equal(own[name], rows)


def test_a_moved_box_is_computed_and_the_others_are_not(herd, tmp_path):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    write(herd, herd.read_text("utf-8").replace("05.png,pig,20,0,20,20", "05.png,pig,19,1,18,18"))
    result = extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    assert (result.computed, result.reused, result.removed) == (1, 23, 1)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predict_takes_numbered_corners_and_lists_for_boxes_and_not_for_features(
    herd, tmp_path, kind
):
    extract(herd, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    fit(tmp_path / "a.h5", "centroid", cv=4, model=tmp_path / "m.model")
    table = tmp_path / "photos" / f"new.{kind}"
    if kind == "csv":
        write(table, "path,x1,y1,x2,y2\n03.png,1,1,10,10\n")
    else:
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(pyarrow.table({"path": ["03.png"], "bbox": [[1.0, 1.0, 9.0, 9.0]]}), table)
    result = run("predict", tmp_path / "m.model", table)
    assert result.exit_code == 0, result.output
    assert "03.png#box=1,1,9,9" in result.stdout


# ---- COCO


def coco(**changes):
    content = {
        "images": [
            {"id": number, "file_name": f"{number:02}.png", "width": 40, "height": 20}
            for number in range(4)
        ],
        "categories": [{"id": 1, "name": "cow"}, {"id": 2, "name": "pig"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 20, 20], "iscrowd": 0},
            {"id": 2, "image_id": 0, "category_id": 2, "bbox": [20.5, 0, 19.5, 20]},
            {"id": 3, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]},
        ],
    }
    return {**content, **changes}


def opened(tmp_path, content, **options):
    path = write(tmp_path / "photos.json", json.dumps(content))
    return open_source(path, images=tmp_path / "photos", **options)


def test_boxes_of_coco_are_rows(herd, tmp_path, caplog):
    source = opened(tmp_path, coco())
    labels = {
        "00.png#box=0,0,20,20": "cow",
        "00.png#box=20.5,0,19.5,20": "pig",
        "01.png#box=1,2,3,4": "pig",
    }
    assert {id_: row.label for id_, row in source.labels().items()} == labels
    assert [image.id for image in source.images()] == list(labels)
    assert "2 images without annotations are left out" in caplog.text


def annotation(image=0, category=1, **fields):
    return {"id": 9, "image_id": image, "category_id": category, **fields}


@pytest.mark.parametrize(
    ("annotations", "ids", "said"),
    [
        ([annotation(bbox=[1, 1, 2, 2]), annotation(bbox=[3, 3, 4, 4], iscrowd=1)],
         ["00.png#box=1,1,2,2"], "1 annotations of crowds are left out"),
        ([annotation(bbox=[], segmentation=[[1, 1, 5, 1, 5, 7], [2, 2, 6, 2, 6, 3]])],
         ["00.png#box=1,1,5,6"], ""),
        ([annotation(bbox=[1, 1, 2, 2]), annotation(1, segmentation={"counts": "x"})],
         ["00.png#box=1,1,2,2"], "1 annotations whose only outline is a mask are left out"),
        ([annotation(bbox=[1, 1, 2, 2]), annotation()],
         ["00.png#box=1,1,2,2"], "1 annotations without a box, of images that have boxes"),
        ([annotation(bbox=[1, 1, 0, 2]), annotation(bbox=[1, 1, 2, 2])],
         ["00.png#box=1,1,2,2"], "1 row without a valid box left out, image 1 "),
        ([annotation(), annotation(1), annotation(2), annotation(3)],
         ["00.png", "01.png", "02.png", "03.png"], ""),
        ([], ["00.png", "01.png", "02.png", "03.png"], ""),
    ],
)  # fmt: skip
def test_other_annotations_of_coco_are_counted(herd, tmp_path, caplog, annotations, ids, said):
    source = opened(tmp_path, coco(annotations=annotations))
    assert [image.id for image in source.images()] == ids
    assert said in caplog.text


def test_a_box_with_two_categories_has_no_label(herd, tmp_path, caplog):
    source = opened(tmp_path, coco(annotations=[annotation(), annotation(0, 2), annotation(1, 2)]))
    assert [row.label for row in source.labels().values()] == [None, "pig"]
    assert "1 images or boxes have several categories, and therefore no label" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (annotation(99), "annotation 1 has the image_id 99, which is none of the images"),
        (annotation(0, 7), "annotation 1 has the category_id 7, which is none of the categories"),
    ],
)
def test_annotations_of_nothing_are_an_error(herd, tmp_path, wrong, said):
    with pytest.raises(SourceError, match=re.escape(said)):
        opened(tmp_path, coco(annotations=[wrong])).labels()


def test_coco_gives_the_labels_of_an_embeddings_file(herd, tmp_path):
    path = write(
        tmp_path / "coco.json", json.dumps(coco(annotations=[annotation(), annotation(1, 2)]))
    )
    extract(tmp_path / "photos", tmp_path / "a.h5", **PIXELS)
    data = load_dataset(tmp_path / "a.h5", labels=path)
    assert (data.ids.tolist(), data.y.tolist()) == (["00.png", "01.png"], ["cow", "pig"])


def test_cameras_and_sequences_are_groups(herd, tmp_path):
    content = coco(annotations=[annotation(number, 1 + number % 2) for number in range(4)])
    content["images"][0] |= {"seq_id": "a", "location": 7}
    content["images"][1] |= {"seq_id": "b", "location": 7}
    content["images"][2] |= {"seq_id": "b"}
    rows = opened(tmp_path, content).labels()
    assert [row.group for row in rows.values()] == [
        "location 7", "location 7", "sequence b", "03.png"
    ]  # fmt: skip
    extract(tmp_path / "photos.json", tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    assert load_dataset(tmp_path / "a.h5").groups[0] == "location 7"
    chosen = opened(tmp_path, content, columns={"group": "seq_id"}).labels()
    assert [row.group for row in chosen.values()] == ["a", "b", "b", None]


# ---- Label Studio and Hugging Face


def rectangle(label="cow", x=0.0, width=50.0, **more):
    return {"x": x, "y": 0, "width": width, "height": 100, "rectanglelabels": [label],
            "original_width": 40, "original_height": 20} | more  # fmt: skip


JSON_MIN = [
    {"id": 7, "image": "/data/upload/1/00.png", "annotation_id": 1,
     "label": [rectangle(), rectangle("pig", 50.0)]},
    {"id": 8, "image": "/data/upload/1/01.png", "annotation_id": 2, "label": [rectangle("pig")]},
    {"id": 9, "image": "/data/upload/1/02.png", "annotation_id": 3},
]  # fmt: skip
FOUND = {
    "00.png#box=0,0,20,20": "cow",
    "00.png#box=20,0,20,20": "pig",
    "01.png#box=0,0,20,20": "pig",
}


def as_csv(records):
    import csv

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(records[0]), quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for record in records:
        cells = {
            key: json.dumps(value) if isinstance(value, list) else value
            for key, value in record.items()
        }
        writer.writerow(cells)
    return buffer.getvalue()


def as_export(records):
    return [
        {
            "id": record["id"],
            "data": {"image": record["image"]},
            "annotations": [
                {
                    "was_cancelled": False,
                    "result": [
                        {
                            "type": "rectanglelabels",
                            "original_width": region.pop("original_width"),
                            "original_height": region.pop("original_height"),
                            "value": region,
                        }
                        for region in record.get("label", ())
                    ],
                }
            ],
        }
        for record in json.loads(json.dumps(records))
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("project.json", json.dumps(JSON_MIN)),
        ("project.csv", as_csv(JSON_MIN)),
        ("export.json", json.dumps(as_export(JSON_MIN))),
    ],
)
def test_rectangles_of_label_studio_are_boxes(herd, tmp_path, caplog, name, text):
    source = open_source(write(tmp_path / name, text), images=tmp_path / "photos")
    assert {id_: row.label for id_, row in source.labels().items()} == FOUND
    assert [image.id for image in source.images()] == list(FOUND)
    assert "1 images without rectangles are left out" in caplog.text
    assert "the paths begin with '/data/upload/1/'" in caplog.text


def test_percent_are_rounded_to_the_pixels_that_were_drawn(tmp_path):
    region = rectangle(x=10.0 * 3, width=100 * 7 / 40)  # 30 % of 40 pixels are 12, and 7 pixels
    write_image(tmp_path / "photos" / "00.png", 1, side=40)
    path = write(tmp_path / "p.json", json.dumps([{"image": "00.png", "label": [region]}]))
    (record,) = open_source(path, images=tmp_path / "photos").images()
    assert record.box.pixels(40, 20) == (12, 0, 19, 20)


@pytest.mark.parametrize(
    ("region", "ids", "said"),
    [
        ({"rotation": 90, "x": 50.0, "width": 25.0, "height": 25.0},
         ["00.png#box=15,0,5,10"], "1 rectangles are rotated; the upright ones around them"),
        ({"original_width": None}, [], "percent of an unknown size"),
        ({"image_rotation": 90}, [], "the image was rotated in Label Studio"),
        ({"rectanglelabels": ["a", "b"]}, ["00.png#box=0,0,20,20"], ""),
    ],
)  # fmt: skip
def test_other_rectangles_are_counted(herd, tmp_path, caplog, region, ids, said):
    regions = [rectangle(**region), {"points": [[1, 2]], "polygonlabels": ["x"]}]
    path = write(tmp_path / "p.json", json.dumps([{"image": "00.png", "label": regions}]))
    source = open_source(path, images=tmp_path / "photos")
    assert [image.id for image in source.images()] == ids
    assert said in caplog.text
    assert "1 regions that are no rectangles are left out" in caplog.text


@pytest.mark.parametrize("several", [{"choices": ["cow", "pig"]}, [{"choices": ["cow", "pig"]}]])
def test_several_choices_are_no_label(herd, tmp_path, caplog, several):
    rows = [{"image": "00.png", "choice": "cow"}, {"image": "01.png", "choice": several}]
    path = write(tmp_path / "p.json", json.dumps(rows))
    labels = open_source(path, images=tmp_path / "photos").labels()
    assert [row.label for row in labels.values()] == ["cow", None]
    assert "1 images have several choices, and therefore no label" in caplog.text


@pytest.mark.parametrize(
    "form", ["/data/upload/1/{}", "/data/upload/1/0a1b2c3d-{}", "/data/local-files/?d=a/photos/{}"]
)
def test_label_studio_gives_the_labels_of_an_embeddings_file(herd, tmp_path, form, caplog):
    names = [f"{number:02}.png" for number in range(12)]
    rows = [{"image": form.format(name), "choice": name[1]} for name in names]
    path = write(tmp_path / "p.json", json.dumps(rows))
    extract(tmp_path / "photos", tmp_path / "a.h5", **PIXELS)
    data = load_dataset(tmp_path / "a.h5", labels=path)
    assert (data.ids.tolist(), data.y.tolist()) == (names, [name[1] for name in names])
    assert f"{form.format('00.png')!r} is taken for '00.png'" in caplog.text
    boxes = [{**row, "label": [rectangle()]} for row in JSON_MIN[:2]]
    path = write(tmp_path / "b.json", json.dumps(boxes))
    extract(path, tmp_path / "b.h5", images=tmp_path / "photos", **PIXELS)
    assert load_dataset(tmp_path / "b.h5", labels=path).y.tolist() == ["cow", "cow"]


def test_choices_of_a_full_export_are_labels(herd, tmp_path):
    def task(image, *choices):
        results = [{"type": "choices", "value": {"choices": list(choices)}}]
        return {"data": {"img": image}, "annotations": [{"result": results}]}

    tasks = [
        task("00.png", "cow"),
        task("01.png", "pig"),
        {"data": {"img": "02.png"}, "annotations": []},
    ]
    path = write(tmp_path / "p.json", json.dumps(tasks))
    labels = open_source(path, images=tmp_path / "photos").labels()
    assert {id_: row.label for id_, row in labels.items()} == {"00.png": "cow", "01.png": "pig"}


def test_objects_of_hugging_face_are_boxes(herd, tmp_path, caplog):
    lines = [
        {
            "file_name": "00.png",
            "objects": {"bbox": [[0, 0, 20, 20], [20, 0, 20, 20]], "categories": ["cow", "pig"]},
        },
        {"file_name": "01.png", "objects": {"bbox": [[0, 0, 20, 20]], "categories": ["pig"]}},
        {"file_name": "02.png", "objects": {"bbox": [], "categories": []}},
    ]
    text = "\n".join(map(json.dumps, lines))
    source = open_source(write(tmp_path / "photos" / "metadata.jsonl", text))
    assert {id_: row.label for id_, row in source.labels().items()} == FOUND
    assert "1 image without boxes left out" in caplog.text
    wrong = json.dumps({"file_name": "a", "objects": {"bbox": [[1, 1, 2, 2]], "categories": []}})
    with pytest.raises(SourceError, match="line 1 has 1 bounding box and 0 labels in 'objects'"):
        open_source(write(tmp_path / "m.jsonl", wrong)).labels()
