"""Tables as sources of images: paths, columns, what has no match, and the files of programs."""

import json
import re
import unicodedata
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import write_image
from tlfeatures import extract, load_dataset, verify
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, ParameterError, SourceError
from tlfeatures.features.sources.open_source import open_source

PIXELS = {"backbone": "pixels", "size": 16}


@pytest.fixture
def flat(tmp_path):
    """A folder of eight images without subfolders."""
    for number in range(8):
        write_image(tmp_path / "photos" / f"img{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def nested(tmp_path):
    """Two images each in the folders of three sites."""
    for number in range(6):
        write_image(tmp_path / "photos" / f"site{number % 3}" / f"img{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def table(tmp_path):
    """`table(text)` writes photos.csv beside the folder of the images, and gives its path."""

    def write(text, encoding="utf-8", name="photos.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def ids(path, images=None, columns=None):
    return [image.id for image in open_source(path, images=images, columns=columns).images()]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# ---- the file of a colleague

GERMAN = [
    "filename;species;site;depth",
    *(f"img{n}.png;{'Bär' if n % 2 else 'Löwe'};s{n % 4};{n},5" for n in range(8)),
]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\r\n".join(GERMAN), "cp1252"),
        ("\r\n".join(GERMAN), "utf-8-sig"),
        ("\r\n".join(["sep=;", *GERMAN]), "cp1252"),
        ("\r\n".join(GERMAN).replace(";", "\t"), "utf-16"),  # Excel's "Unicode text"
    ],
)
def test_a_table_of_excel_on_a_flat_folder_needs_no_edit(flat, table, tmp_path, text, encoding):
    path = table(text, encoding)
    result = run("extract", path, "--images", flat, "-o", tmp_path / "a.h5", "--backbone", "pixels")
    assert result.exit_code == 0, result.output
    assert "filename as path, species as label, site as group" in result.stderr
    assert "Bär" in result.stdout
    fitted = run("fit", tmp_path / "a.h5", "--head", "centroid", "--cv", 2)
    assert fitted.exit_code == 0, fitted.output
    assert "4 groups kept together" in fitted.stdout
    by_table = load_dataset(tmp_path / "a.h5")
    assert by_table.y.tolist() == ["Löwe", "Bär"] * 4
    assert by_table.groups.tolist() == ["s0", "s1", "s2", "s3"] * 2
    extract(flat, tmp_path / "b.h5", **PIXELS)
    by_labels = load_dataset(tmp_path / "b.h5", labels=path)
    for name in ("ids", "y", "groups", "X"):
        assert (getattr(by_table, name) == getattr(by_labels, name)).all() or name == "X"


def test_the_first_sheet_of_a_spreadsheet_is_read(flat, table, tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for line in GERMAN:
        book.active.append(line.split(";"))
    book.create_sheet().append(["something", "else"])
    path = tmp_path / "photos.xlsx"
    book.save(path)
    extract(path, tmp_path / "a.h5", images=flat, **PIXELS)
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["Löwe", "Bär"] * 4
    extract(flat, tmp_path / "b.h5", **PIXELS)
    assert load_dataset(tmp_path / "b.h5", labels=path).y.tolist() == ["Löwe", "Bär"] * 4
    with pytest.raises(SourceError, match="save it as CSV UTF-8"):
        ids(table(b"PK\x03\x04 no spreadsheet", name="other.xlsx"))


# ---- columns


@pytest.mark.parametrize(
    "head",
    ["id,label", "Path,Class", "FILE,Species", "File Name,category", "image_path,target",
     "filepath,choice", "img,Class Name"],
)  # fmt: skip
def test_columns_are_recognised_by_their_usual_names(flat, table, head):
    path = table(f"{head}\nimg0.png,x\nimg1.png,y\n")
    assert {row.label for row in open_source(path, images=flat).labels().values()} == {"x", "y"}


def test_numbers_of_rows_are_no_paths(flat, table):
    path = table("id,file,label\n1,img0.png,x\n2,img1.png,y\n")
    assert ids(path, flat) == ["img0.png", "img1.png"]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("file,class,species", "'class' and 'species', and each may be the label; choose one: "
         "--columns label=class, or label= for none"),
        ("file,image,label", "'file' and 'image', and each may be the path; choose one: "
         "--columns id=file"),
        ("file,site,location", "each may be the group"),
        ("file,name,Name ", None),
    ],
)  # fmt: skip
def test_two_columns_for_one_role_are_an_error_that_says_how_to_choose(flat, table, head, said):
    path = table(f"{head}\nimg0.png,x,y\n")
    if said is None:
        assert ids(path, flat) == ["img0.png"]
        return
    with pytest.raises(SourceError, match=re.escape(said)):
        ids(path, flat)
    role = re.search("--columns ([a-z]+=[a-z]+)", said)
    if role:
        assert ids(path, flat, dict([role[1].split("=")])) == ["img0.png"]


def test_a_column_can_be_left_out(flat, table, tmp_path):
    path = table("file,species,site\nimg0.png,a,\nimg1.png,b,s\n")
    extract(path, tmp_path / "a.h5", images=flat, **PIXELS)
    with pytest.raises(DatasetError, match="1 of 2 labelled images have no group"):
        load_dataset(tmp_path / "a.h5")
    assert load_dataset(tmp_path / "a.h5", columns={"group": ""}).groups is None
    other = load_dataset(tmp_path / "a.h5", columns={"label": "site", "group": ""})
    assert other.y.tolist() == ["s"]
    extract(path, tmp_path / "a.h5", images=flat, columns={"group": ""}, **PIXELS)
    assert load_dataset(tmp_path / "a.h5").groups is None
    by_labels = load_dataset(tmp_path / "a.h5", labels=path, columns={"group": ""})
    assert by_labels.groups is None


def test_a_table_without_labels_has_those_of_the_folders(nested, table, tmp_path):
    lines = [f"site{number % 3}/img{number}.png" for number in range(6)]
    extract(table("\n".join(["path", *lines])), tmp_path / "a.h5", images=nested, **PIXELS)
    assert load_dataset(tmp_path / "a.h5").classes == ["site0", "site1", "site2"]
    text = "\n".join(["path,group", *(f"{line},g{line[4]}" for line in lines)])
    extract(table(text), tmp_path / "a.h5", images=nested, **PIXELS)
    data = load_dataset(tmp_path / "a.h5")
    assert (data.classes, set(data.groups)) == (["site0", "site1", "site2"], {"g0", "g1", "g2"})


def test_options_of_tables_are_not_for_folders(flat, table):
    with pytest.raises(ParameterError, match="is no table"):
        open_source(flat, images=flat)
    with pytest.raises(ParameterError, match="columns has 'name'"):
        open_source(table("id\nimg0.png\n"), columns={"name": "x"})


# ---- paths


def test_paths_are_relative_to_the_table_or_to_the_folder_of_images(flat, table):
    beside = table("path,label\nphotos/img0.png,x\nphotos/img1.png,y\n")
    assert ids(beside) == ["photos/img0.png", "photos/img1.png"]
    inside = table("path,label\nimg0.png,x\nimg1.png,y\n", name="photos/photos.csv")
    assert ids(inside) == ["img0.png", "img1.png"]
    apart = table("path,label\n../photos/img0.png,x\n", name="tables/photos.csv")
    assert ids(apart) == ["../photos/img0.png"]


@pytest.mark.parametrize("form", ["{root}/site0/img0.png", "file://{root}/site0/img0.png",
                                  ".\\site0\\img0.png", "./site0/../site0/img0.png",
                                  " site0/img0.png "])  # fmt: skip
def test_a_path_below_the_folder_is_the_id_however_it_is_written(nested, table, form):
    path = table(f"path,label\n{form.format(root=nested)},x\n")
    assert ids(path, nested) == ["site0/img0.png"]
    assert list(open_source(path, images=nested).labels()) == ["site0/img0.png"]


def test_an_absolute_path_elsewhere_is_its_own_id(flat, table, tmp_path):
    path = table(f"path,label\n{flat}/img0.png,x\n", name="elsewhere/photos.csv")
    assert ids(path) == [f"{flat}/img0.png"]
    extract(path, tmp_path / "a.h5", **PIXELS)
    assert load_dataset(tmp_path / "a.h5").ids.tolist() == [f"{flat}/img0.png"]


def test_urls_are_read_below_a_url_and_elsewhere(table):
    system = fsspec.filesystem("memory")
    for name in ("a/1.png", "b/2.png"):
        write_image(Path(table("").parent, "one.png"), 1)
        system.pipe_file(f"/bucket/{name}", Path(table("").parent, "one.png").read_bytes())
    try:
        below = table("path,label\na/1.png,x\nmemory://bucket/b/2.png,y\n")
        assert ids(below, "memory://bucket") == ["a/1.png", "b/2.png"]
        elsewhere = table("path,label\nmemory://bucket/b/2.png,y\n")
        assert ids(elsewhere) == ["memory://bucket/b/2.png"]
        system.pipe_file("/bucket/photos.csv", b"path,label\na/1.png,x\nb/2.png,y\n")
        assert ids("memory://bucket/photos.csv") == ["a/1.png", "b/2.png"]
    finally:
        system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_a_path_is_found_in_either_unicode_form(tmp_path, table, written, on_disk):
    name = unicodedata.normalize(on_disk, "zoë.png")
    write_image(tmp_path / "photos" / name, 1)
    path = table(f"path,label\n{unicodedata.normalize(written, 'zoë.png')},x\n")
    assert ids(path, tmp_path / "photos") == [name]  # as in the folder as a source
    assert extract(path, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS).classes == {
        "x": 1
    }
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["x"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("C:\\Users\\anna\\photos\\site{site}\\img{n}.png", "begin with 'C:/Users/anna/photos/'"),
        ("/home/anna/photos/site{site}/img{n}.png", "begin with '/home/anna/photos/'"),
        ("img{n}.png", "lack the folders"),
        ("/data/local-files/?d=photos/site{site}/img{n}.png", "begin with 'photos/'"),
    ],
)
def test_paths_of_another_form_are_matched_and_it_is_said(
    nested, table, tmp_path, form, said, caplog
):
    rows = [f"{form.format(site=n % 3, n=n)},{n % 2}" for n in range(6)]
    path = table("\n".join(["path,label", *rows]))
    expected = sorted(f"site{n % 3}/img{n}.png" for n in range(6))
    assert ids(path, nested) == expected
    assert f"the paths {said}" in caplog.text
    assert "'site0/img0.png'" in caplog.text
    extract(path, tmp_path / "a.h5", images=nested, **PIXELS)
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["0", "1", "1", "0", "0", "1"]


@pytest.mark.parametrize("prefix", ["/data/upload/3/", "http://localhost:8080/data/upload/3/"])
@pytest.mark.parametrize("renamed", [True, False])
def test_uploads_of_label_studio_are_matched_with_the_images(flat, table, prefix, renamed, caplog):
    """Label Studio adds eight digits to the name of an upload; the user may have either file."""
    if not renamed:
        for path in list(flat.iterdir()):
            path.rename(path.with_name(f"0a1b2c3d-{path.name}"))
    rows = [{"image": f"{prefix}0a1b2c3d-img{n}.png", "choice": "x"} for n in range(8)]
    path = table(json.dumps(rows), name="project.json")
    assert ids(path, flat) == sorted(path.name for path in flat.iterdir())
    assert ("what Label Studio adds" in caplog.text) == renamed


def test_paths_that_may_mean_two_images_are_not_guessed(tmp_path, table):
    write_image(tmp_path / "photos" / "IMG_1.png", 1)
    path = table("path,label\n/a/site1/IMG_1.png,x\n/a/site2/IMG_1.png,y\n")
    with pytest.raises(SourceError, match=r"no path of .* is that of an image below"):
        extract(path, tmp_path / "a.h5", images=tmp_path / "photos", **PIXELS)
    write_image(tmp_path / "photos" / "sub" / "IMG_2.png", 2)
    write_image(tmp_path / "photos" / "other" / "IMG_2.png", 3)
    path = table("path,label\nIMG_2.png,x\n")
    assert ids(path, tmp_path / "photos") == []


def test_one_path_as_written_keeps_all_of_them_as_they_are_written(nested, table, caplog):
    path = table("path,label\nsite0/img0.png,x\nimg1.png,y\n")
    assert ids(path, nested) == ["site0/img0.png"]
    assert "1 of 2 rows of" in caplog.text
    assert "'img1.png' (line 3); the ids of the table lack the folder" in caplog.text


# ---- what doesn't match


def test_rows_without_an_image_and_images_without_a_row_are_counted(flat, table, tmp_path, caplog):
    path = table("path,label\nimg0.png,x\nimg1.png,y\ngone.png,y\nGONE.png,x\n,z\nimg0.png,x\n")
    result = extract(path, tmp_path / "a.h5", images=flat, **PIXELS)
    assert (result.images, result.classes) == (2, {"x": 1, "y": 1})
    assert "2 of 4 rows of" in caplog.text
    assert "have no image: 'gone.png' (line 4), 'GONE.png' (line 5)" in caplog.text
    assert "6 of 8 images below" in caplog.text
    assert "left out: 'img2.png', 'img3.png', 'img4.png' and 3 more" in caplog.text
    assert "1 row without a path left out, line 6 first" in caplog.text


def test_an_image_with_two_labels_is_an_error(flat, table):
    path = table("path,label\nimg0.png,x\n./img0.png,y\n")
    with pytest.raises(SourceError, match=r"'img0.png' twice \(lines 2 and 3\) with different"):
        ids(path, flat)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("IMG0.PNG", "differ in upper and lower case"),
        ("img0", "lack the file ending"),
        ("other.png", ""),
    ],
)
def test_a_table_of_which_nothing_matches_is_one_line_that_says_why(
    flat, table, tmp_path, written, hint
):
    path = table(f"path,label\n{written},x\n")
    result = run("extract", path, "--images", flat, "-o", tmp_path / "a.h5", "--backbone", "pixels")
    assert result.exit_code == 1
    *_, line = result.stderr.splitlines()
    assert f"no path of {path} is that of an image below {flat}" in line
    assert f"{written!r} (line 2)" in line
    assert "8 images, such as 'img0.png'" in line
    assert hint in line
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(("name", "said"), [("gone", "does not exist"), ("t.csv", "is a file")])
def test_a_folder_of_images_that_is_none_is_wrong_usage(flat, table, tmp_path, name, said):
    path = table("path,label\nimg0.png,x\n", name="t.csv")
    with pytest.raises(ParameterError, match=f"{name} {said}; expected the folder of the images"):
        extract(path, tmp_path / "a.h5", images=tmp_path / name, **PIXELS)


def test_labels_are_read_without_the_images(flat, table, tmp_path):
    path = table("path,label\nimg0.png,x\nimg1.png,y\n")
    extract(path, tmp_path / "a.h5", images=flat, **PIXELS)
    for image in flat.iterdir():
        image.unlink()
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["x", "y"]
    flat.rmdir()
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["x", "y"]
    path.unlink()
    with pytest.raises(SourceError, match="give --labels FILE"):
        load_dataset(tmp_path / "a.h5")


def test_verify_opens_the_table_with_its_own_options(flat, table, tmp_path):
    text = "photo,what\n" + "".join(f"img{number}.png,x\n" for number in range(8))
    path = table(text)
    columns = {"id": "photo", "label": "what"}
    extract(path, tmp_path / "a.h5", images=flat, columns=columns, **PIXELS)
    assert verify(tmp_path / "a.h5", path).ok
    (flat / "img0.png").unlink()
    assert [each.kind for each in verify(tmp_path / "a.h5", path).findings] == ["gone"]


# ---- several sources


def test_a_table_and_a_folder_give_the_labels_of_both(flat, table, tmp_path):
    write_image(tmp_path / "more" / "cat" / "1.png", 50)
    path = table("path,label,group\nimg0.png,x,g\nimg1.png,y,g\n")
    extract([path, tmp_path / "more"], tmp_path / "a.h5", images=flat, **PIXELS)
    with pytest.raises(DatasetError, match="1 of 3 labelled images have no group"):
        load_dataset(tmp_path / "a.h5")
    path = table("path,label\nimg0.png,x\nimg1.png,y\n")
    extract([path, tmp_path / "more"], tmp_path / "a.h5", images=flat, **PIXELS)
    data = load_dataset(tmp_path / "a.h5")
    assert data.ids.tolist() == ["img0.png", "img1.png", "more/cat/1.png"]
    assert data.y.tolist() == ["x", "y", "cat"]


def test_two_tables_are_one_source_and_contradictions_are_errors(flat, table, tmp_path):
    one = table("path,label\nimg0.png,x\nimg1.png,y\n", name="one.csv")
    two = table("path,label\nimg1.png,y\nimg2.png,x\n", name="two.csv")
    extract([one, two], tmp_path / "a.h5", images=flat, **PIXELS)
    data = load_dataset(tmp_path / "a.h5")
    assert dict(zip(data.ids, data.y, strict=True)) == {
        "img0.png": "x", "img1.png": "y", "img2.png": "x"
    }  # fmt: skip
    assert verify(tmp_path / "a.h5", [one, two]).ok
    table("path,label\nimg1.png,z\n", name="two.csv")
    with pytest.raises(SourceError, match="two sources state different labels for the image 'img1"):
        extract([one, two], tmp_path / "b.h5", images=flat, **PIXELS)


def test_another_table_of_the_same_images_changes_the_labels(flat, table, tmp_path, client):
    one = table("path,label\nimg0.png,x\nimg1.png,y\n", name="one.csv")
    two = table("path,label\nimg0.png,u\nimg1.png,v\n", name="two.csv")
    for options in ({}, {"cluster": client}):
        file = tmp_path / f"{len(options)}.h5"
        extract(one, file, images=flat, **PIXELS, **options)
        result = extract(two, file, images=flat, **PIXELS)
        assert (result.computed, result.classes) == (0, {"u": 1, "v": 1})
        assert load_dataset(file).y.tolist() == ["u", "v"]
        assert verify(file).ok


# ---- formats


VALUES = st.recursive(
    st.none() | st.integers(-3, 3) | st.floats() | st.sampled_from(["a.png", "x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("x"), inner, max_size=1),
    max_leaves=4,
)


def objects(*names, **fixed):
    """Objects that have some of these keys, with any values, and the fixed ones."""
    keys = dict.fromkeys(names, VALUES) | fixed
    return st.lists(st.fixed_dictionaries({}, optional=keys), max_size=3)


REGIONS = objects(
    *("x", "y", "width", "height", "rotation", "original_width", "original_height"),
    rectanglelabels=st.lists(VALUES, max_size=2),
)
RESULTS = objects("type", "original_width", value=VALUES, choices=VALUES)
FILES = (
    st.fixed_dictionaries(
        {
            "images": objects("id", "file_name", "seq_id", "location"),
            "annotations": objects("image_id", "category_id", "bbox", "segmentation", "iscrowd"),
            "categories": objects("id", "name"),
        }
    )
    | objects("image", "id", "label", "choice", tag=REGIONS)
    | objects(data=VALUES, annotations=objects("was_cancelled", result=RESULTS))
    | objects("path", "bbox", "split", objects=VALUES | objects("bbox", "category"))
)


def read(path):
    """Read a table as `extract` does; return the message of an error."""
    try:
        source = open_source(path)
        list(source.images())
        source.labels()
    except SourceError as error:
        return str(error)
    return ""


def own_folder(tmp_path_factory):
    """A folder without the files of other tests, which each example would list."""
    folder = tmp_path_factory.getbasetemp() / "tables"
    folder.mkdir(exist_ok=True)
    return folder


@settings(max_examples=200, deadline=None)
@given(FILES, st.booleans())
@pytest.mark.slow
def test_any_json_is_a_table_or_one_line(tmp_path_factory, content, lines):
    path = own_folder(tmp_path_factory) / ("t.jsonl" if lines else "t.json")
    listed = content if lines and isinstance(content, list) else [content]
    text = "\n".join(map(json.dumps, listed)) if lines else json.dumps(content)
    path.write_text(text, "utf-8")
    assert "\n" not in read(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text('ab;,\t"\n.0x#é', max_size=12), max_size=6))
def test_any_text_is_a_table_or_one_line(tmp_path_factory, lines):
    path = own_folder(tmp_path_factory) / "t.csv"
    path.write_text("\n".join(["path,label,x,y,width,height", *lines]), "utf-8")
    assert "\n" not in read(path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.jsonl", '{"path": "img0.png"}\n[1]\n', "line 2 is no JSON object"),
        ("t.jsonl", '{"path": "img0.png"}\n{"path"\n', "line 2: "),
        ("t.json", "{", "can't be read as JSON: "),
        ("t.json", '{"a": 1}', "has a JSON object; expected a list of objects, or the keys images"),
        ("t.json", "[1, 2]", "has a JSON list of other values"),
        ("t.json", '[{"name": "x"}]', "has the columns name; expected id"),
        ("t.parquet", "no parquet", "Parquet"),
    ],
)
def test_a_file_of_another_format_is_one_line(flat, table, name, text, said):
    with pytest.raises(SourceError, match=re.escape(said)) as refused:
        ids(table(text, name=name))
    assert "\n" not in str(refused.value)


def write_of_hugging_face(path, columns, features):
    import pyarrow
    from pyarrow.parquet import write_table

    stored = json.dumps({"info": {"features": features}})
    write_table(pyarrow.table(columns).replace_schema_metadata({"huggingface": stored}), path)
    return path


CLASS_LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
THREE = ["img0.png", "img1.png", "img2.png"]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([1, 0, -1], ["dog", "cat", None]),
        ([1.0, 0.0, None], ["dog", "cat", None]),  # pandas writes so where a label is missing
        (["dog", "cat", "cat"], ["dog", "cat", "cat"]),
    ],
)
def test_names_of_classes_are_those_of_hugging_face(stored, expected, flat, tmp_path):
    """`datasets` writes numbers into Parquet, and the names into the schema."""
    columns = {"path": THREE, "label": stored}
    path = write_of_hugging_face(tmp_path / "t.parquet", columns, {"label": CLASS_LABEL})
    labels = open_source(path, images=flat).labels()
    assert [row.label for row in labels.values()] == expected


def test_a_class_without_a_name_is_an_error(flat, tmp_path):
    columns = {"path": THREE, "label": [0, 1, 2]}
    path = write_of_hugging_face(tmp_path / "t.parquet", columns, {"label": CLASS_LABEL})
    with pytest.raises(SourceError, match="has the class 2 in the column label, and names of 2"):
        open_source(path, images=flat).labels()


@pytest.mark.parametrize("form", ["lists", "objects"])
def test_boxes_get_the_names_of_their_classes(form, flat, tmp_path):
    boxes, codes = [[0, 0, 2, 2], [1, 1, 3, 3]], [1, 0]
    listed = [{"bbox": box, "category": code} for box, code in zip(boxes, codes, strict=True)]
    objects = {"bbox": boxes, "category": codes} if form == "lists" else listed
    inner = {"feature": CLASS_LABEL, "_type": "Sequence"} if form == "lists" else CLASS_LABEL
    kind = {"bbox": {}, "category": inner}
    columns = {"file_name": ["img0.png"], "objects": [objects]}
    features = {"objects": kind if form == "lists" else [kind]}
    path = write_of_hugging_face(tmp_path / "t.parquet", columns, features)
    labels = open_source(path, images=flat).labels()
    assert [row.label for row in labels.values()] == ["dog", "cat"]


def test_only_columns_with_a_role_are_read_from_parquet(flat, tmp_path):
    import pyarrow
    from pyarrow.parquet import write_table

    columns = {"path": ["img0.png"], **{f"x_{n}": [0.5] for n in range(50)}, "kind": ["a"]}
    write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert ids(tmp_path / "t.parquet", flat, {"label": "kind"}) == ["img0.png"]
    with pytest.raises(SourceError, match="has no column 'sort'; it has the columns path, "):
        ids(tmp_path / "t.parquet", flat, {"id": "path", "label": "sort"})


def test_groups_of_the_table_stay_where_a_folder_is_the_label(tmp_path):
    for site in "AB":
        for name in ("cat", "dog"):
            write_image(tmp_path / site / name / "1.png", ord(site) + len(name) + ord(name[0]))
    paths = [f"{site}/{name}/1.png" for site in "AB" for name in ("cat", "dog")]
    lines = [f"{path},camera {number % 2}" for number, path in enumerate(paths)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,group", *lines]))
    extract(table, tmp_path / "a.h5", backbone="pixels", size=16)
    assert load_dataset(tmp_path / "a.h5").y.tolist() == ["A", "A", "B", "B"]
    data = load_dataset(tmp_path / "a.h5", label_level=2)
    assert data.y.tolist() == ["cat", "dog"] * 2
    assert data.groups.tolist() == ["camera 0", "camera 1"] * 2
    table.unlink()
    assert load_dataset(tmp_path / "a.h5", label_level=2).y.tolist() == ["cat", "dog"] * 2


def test_merged_cells_of_excel_and_further_sheets(flat, tmp_path, caplog):
    """Excel keeps the value of merged cells in the first one: the others would have no label."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["path", "label"], ["img0.png", "cat"], ["img1.png", None], ["img2.png", "dog"]):
        book.active.append(row)
    book.active.merge_cells("B2:B3")
    book.create_sheet("more").append(["path", "label"])
    book.save(tmp_path / "t.xlsx")
    labels = open_source(tmp_path / "t.xlsx", images=flat).labels()
    assert [row.label for row in labels.values()] == ["cat", "cat", "dog"]
    assert "only the sheet 'Sheet' is read, and 1 sheet not" in caplog.text


def test_categories_of_coco_with_the_same_name_are_noted(flat, tmp_path, caplog):
    content = {
        "images": [{"id": number, "file_name": f"img{number}.png"} for number in (0, 1)],
        "categories": [{"id": 4, "name": "mouse"}, {"id": 9, "name": "mouse"}],
        "annotations": [{"image_id": 0, "category_id": 4}, {"image_id": 1, "category_id": 9}],
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    labels = open_source(tmp_path / "t.json", images=flat).labels()
    assert [row.label for row in labels.values()] == ["mouse", "mouse"]
    assert "1 categories have the name of another one" in caplog.text
