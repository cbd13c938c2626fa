"""CSV files of labels and groups as programs and people write them."""

import codecs
import re

import pytest
from click.testing import CliRunner

from tlfeatures import extract, fit, load_dataset, report
from tlfeatures.cli import main
from tlfeatures.errors import DatasetError, ParameterError

IDS = [f"{label}/{label}{number:02}.png" for label in ("blue", "red") for number in range(12)]


@pytest.fixture(scope="module")
def module_file(_photos, tmp_path_factory):
    file = tmp_path_factory.mktemp("tables") / "photos.h5"
    extract(_photos, file, backbone="pixels", size=16, layers=["grid8.flatten"])
    return file


@pytest.fixture
def file(module_file):
    return module_file


@pytest.fixture
def table(tmp_path):
    """`table(text)` writes labels.csv and gives its path."""

    def write(text, encoding="utf-8", name="labels.csv"):
        data = text if isinstance(text, bytes) else text.encode(encoding)
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def rows(label=lambda number, id_: id_[0], head="id,label", delimiter=","):
    lines = [f"{id_}{delimiter}{label(number, id_)}" for number, id_ in enumerate(IDS)]
    return "\n".join([head, *lines, ""])


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# ---- cells

BLANKS = [" ", "  ", "\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2060", "\ufeff"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("side", ["before", "after", "both"])
def test_blanks_around_a_cell_are_none(file, table, blank, side):
    before, after = blank * (side != "after"), blank * (side != "before")
    text = rows(lambda n, id_: f"{before}{id_[0]}{after}" if n % 2 else id_[0])
    assert load_dataset(file, labels=table(text)).classes == ["b", "r"]
    text = rows(lambda n, _: f"{before}p{n % 6}{after}" if n % 4 else f"p{n % 6}", "id,group")
    assert set(load_dataset(file, groups=table(text)).groups) == {f"p{n}" for n in range(6)}
    if blank != "\t":  # which may be the delimiter, in a header
        pairs = [("id", "label"), *((id_, "x") for id_ in IDS)]
        lines = [f"{before}{one}{after},{before}{other}{after}\n" for one, other in pairs]
        assert load_dataset(file, labels=table("".join(lines))).y.tolist() == ["x"] * 24


def test_a_group_with_a_blank_is_the_same_group_in_every_fold(file, table):
    clean = table(rows(lambda n, _: f"p{n % 6}", "id,group"), name="clean.csv")
    blanks = table(rows(lambda n, _: f"p{n % 6}" + " " * (n % 2), "id,group"))
    one, other = (fit(file, "centroid", groups=each) for each in (clean, blanks))
    assert [each.benchmark.study.facts["groups"] for each in (one, other)] == [6, 6]
    assert (one.benchmark.entries[0].fold == other.benchmark.entries[0].fold).all()


@pytest.mark.parametrize("empty", ["", " ", "\u00a0", '"  "', "\u200b"])
def test_a_label_of_blanks_is_no_label(file, table, empty, caplog):
    text = rows(lambda n, id_: empty if n == 3 else id_[0])
    data = load_dataset(file, labels=table(text))
    assert data.classes == ["b", "r"]
    assert IDS[3] not in data.ids
    assert f"1 of 24 images have no label and are left out: {IDS[3]!r}" in caplog.text


def test_labels_that_are_all_empty_are_an_error(file, table):
    with pytest.raises(DatasetError, match=r"all images of .* have empty labels"):
        load_dataset(file, labels=table(rows(lambda *_: "")))


@pytest.mark.parametrize("word", ["NA", "nan", "N/A", "NULL", "#N/A"])
def test_a_word_for_nothing_is_a_class_that_is_asked_about(file, table, word, caplog):
    data = load_dataset(file, labels=table(rows(lambda n, id_: word if n < 3 else id_[0])))
    assert word in data.classes
    assert f"'{word}' (3 images) is read as a class; if these images have no label" in caplog.text


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("cat", "Cat", "by case alone"),
        ("CAT", "cat", "by case alone"),
        ("1", "1.0", "in how a number is written alone"),
        ("007", "7", "in how a number is written alone"),
        ("1.50", "1.5", "in how a number is written alone"),
        ("ﬁsh", "fish", "by blanks or Unicode form alone"),
        ("sea\u00a0lion", "sea lion", "by blanks or Unicode form alone"),
        ("sea\u200blion", "sealion", "by blanks or Unicode form alone"),
        ("Sea  lion", "sea lion", "by case, blanks or Unicode form alone"),
        ("Straße", "STRASSE", "by case, blanks or Unicode form alone"),
    ],
)
def test_names_that_look_alike_stay_two_and_are_asked_about(file, table, one, other, how, caplog):
    data = load_dataset(file, labels=table(rows(lambda n, _: one if n < 5 else other)))
    assert set(data.classes) == {one, other}
    assert (
        f"the classes {other!r} (19) and {one!r} (5) differ {how}; is that intended?" in caplog.text
    )
    caplog.clear()
    data = load_dataset(file, groups=table(rows(lambda n, _: one if n < 5 else other, "id,group")))
    assert set(data.groups) == {one, other}
    assert f"the groups {other!r} (19) and {one!r} (5) differ {how}" in caplog.text


@pytest.mark.parametrize(
    "pair", [("cat", "cats"), ("1", "10"), ("1.0", "1.01"), ("a b", "ab"), ("-1", "1")]
)
def test_names_that_differ_are_not_asked_about(file, table, pair, caplog):
    data = load_dataset(file, labels=table(rows(lambda n, _: pair[n % 2])))
    assert set(data.classes) == set(pair)
    assert "is that intended" not in caplog.text


# ---- encodings and delimiters

HEAD = "id,label"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_usual_encodings_delimiters_and_line_ends_are_read(
    file, table, encoding, delimiter, end, caplog
):
    text = rows(lambda n, _: "Bär" if n % 3 else "Löwe, jung" if delimiter != "," else "Löwe",
                f"id{delimiter}label", delimiter)  # fmt: skip
    path = table(text.replace("\n", end), encoding)
    data = load_dataset(file, labels=path)
    assert data.classes == sorted(["Bär", "Löwe, jung" if delimiter != "," else "Löwe"])
    assert ("is read as Windows-1252" in caplog.text) == (encoding == "cp1252")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf_16_of_either_byte_order(file, table, mark):
    order = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    path = table(mark + rows(delimiter="\t", head="id\tlabel").encode(order))
    assert load_dataset(file, labels=path).classes == ["b", "r"]


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_what_excel_says_of_the_delimiter_is_believed(file, table, delimiter):
    text = f"sep={delimiter}\n" + rows(head=f"id{delimiter}label", delimiter=delimiter)
    assert load_dataset(file, labels=table(text)).classes == ["b", "r"]
    bad = text + f"x{delimiter}y{delimiter}z\n"
    with pytest.raises(DatasetError, match="line 27 has 3 cells"):
        load_dataset(file, labels=table(bad))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "is a spreadsheet, expected a CSV; save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0rest", "is a spreadsheet, expected a CSV"),
        (rows().encode("utf-16-le"), "NUL characters, like UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + b"i\0d", "can't be read as a CSV in UTF-16"),
        (codecs.BOM_UTF8 + b"id,label\n\xff", "can't be read as a CSV in UTF-8"),
        (b"id,label\nx,\x81\xff\n", "in UTF-8, UTF-16 or Windows-1252"),
        (b'id,label\nx,"cat\ny,dog\n', "row that begins on line 2: unexpected end"),
        (b'id,label\nx,"cat"s\ny,dog\n', "row that begins on line 2: .*must be doubled"),
        (b"", r"has the columns \(none\)"),
        (b"\n\n", r"has the columns \(none\)"),
        (b'[{"id": "' + b"x" * 200_000 + b'"}]', "line 1: field larger than field limit"),
    ],
)
def test_what_is_no_such_file_is_one_line(file, table, data, said):
    path = table(data)
    for option in ("--labels", "--groups"):
        if b"label" in data and option == "--groups":
            path = table(data.replace(b"label", b"group"), name="groups.csv")
        result = run("fit", file, option, path)
        assert result.exit_code == 1
        *_, line = result.stderr.splitlines()
        assert re.search(said, line)
        assert str(path) in line
        assert len([each for each in result.stderr.splitlines() if "Error" in each]) == 1


# ---- rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label,note\na,b,c\n\na,b,c\na,cat, black,c\n",
         "line 5 has 4 cells, expected 3 as in the header: a label that contains a comma"),
        ("id,label\na,b\nc\n",
         "line 3 has 1 cell, expected 2 as in the header: a cell that is empty"),
        ("id;label\na;b\nc;d;e\nf;g;h\n",
         r"line 3 has 3 cells, expected 2 .* \(and 1 similar line\): .* contains a semicolon"),
        ("id\tlabel\na\tb\tc\n", "a label that contains a tab"),
        ('id,label\n"a\nb",c\nd,e,f\n', "line 4 has 3 cells"),
        ('id,label\nx,y\n"a\nb",c,d\n', "line 3 has 3 cells"),
        ('id,label\na, cat, black\n', "line 2 has 3 cells"),
    ],
)  # fmt: skip
def test_ragged_rows_are_refused_by_their_line(file, table, text, said):
    groups = table(text.replace("label", "group", 1), name="groups.csv")
    for options in ({"labels": table(text)}, {"groups": groups}):
        with pytest.raises(DatasetError, match=said):
            load_dataset(file, **options)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_quotation_mark_may_follow_a_blank(file, table, delimiter):
    """Programs write a blank after the delimiter: the marks are still no part of the name."""
    text = rows(lambda n, id_: f' "{id_[0]}{delimiter} x"', f'"id"{delimiter} "label"', delimiter)
    data = load_dataset(file, labels=table(text))
    assert data.classes == [f"b{delimiter} x", f"r{delimiter} x"]
    head = f"id{delimiter}label"
    some = rows(lambda n, id_: f' "{id_[0]}"' if n % 2 else f" {id_[0]}", head, delimiter)
    assert load_dataset(file, labels=table(some)).classes == ["b", "r"]


def test_empty_rows_and_empty_cells_at_the_end_are_no_fault(file, table):
    text = rows().replace("\n", ",,\n", 5).replace("id,label,,", "id,label") + "\n,,\n ,\u00a0\n\n"
    assert len(load_dataset(file, labels=table(text)).y) == 24


def test_a_comma_in_quotes_is_part_of_the_label(file, table):
    text = rows(lambda n, _: '"cat, black"' if n % 2 else '"5"" frame"')
    assert load_dataset(file, labels=table(text)).classes == ['5" frame', "cat, black"]


@pytest.mark.parametrize("other", ["red/red00.png ", "red/red00.png", "\u00a0red/red00.png"])
def test_an_id_that_is_there_twice_is_refused_unless_it_says_the_same(file, table, other):
    same = f"id,label\nred/red00.png,x\nred/red01.png,y\n{other},x \n"
    assert len(load_dataset(file, labels=table(same)).y) == 2
    with pytest.raises(DatasetError, match=r"twice \(lines 2 and 4\) with different values"):
        load_dataset(file, labels=table(same.replace(",x ", ",z")))
    groups = rows(lambda *_: "g", "id,group") + f"{other},h\n"
    with pytest.raises(DatasetError, match=r"twice \(lines 14 and 26\) with different values"):
        load_dataset(file, groups=table(groups))


# ---- columns


def test_columns_are_named_in_any_case(file, table):
    text = rows(
        lambda n, id_: f"{id_[0]},{n % 6},{'train' if n % 2 else 'test'}",
        "FileName,Species,Site,Fold",
    )
    columns = {"id": "filename", "label": "SPECIES", "group": " site", "split": "fold"}
    data = load_dataset(file, labels=table(text), columns=columns)
    assert (data.classes, len(set(data.groups)), set(data.split)) == (
        ["b", "r"],
        6,
        {"train", "test"},
    )
    option = "id=filename,label=species,group=site"
    result = run("fit", file, "--labels", table(text), "--columns", option)
    assert result.exit_code == 0, result.output
    assert "6 groups kept together" in result.stdout


def test_the_columns_of_labels_and_of_groups_may_be_called_differently(file, table):
    labels = table(rows(head="photo,species"), name="l.csv")
    groups = table(rows(lambda n, _: f"s{n % 4}", "id,site"), name="g.csv")
    columns = {"id": "photo", "label": "species", "group": "site"}
    data = load_dataset(file, labels=labels, groups=groups, columns=columns)
    assert (data.classes, len(set(data.groups))) == (["b", "r"], 4)
    wrong = {**columns, "group": "sites"}
    with pytest.raises(DatasetError, match="has no column 'sites'"):
        load_dataset(file, labels=labels, groups=groups, columns=wrong)
    alone = {"id": "id", "group": "site"}
    assert len(set(load_dataset(file, groups=groups, columns=alone).groups)) == 4


@pytest.mark.parametrize(
    ("head", "columns", "said"),
    [
        ("name,class", None, "has the columns name, class; expected id and label (optional: "
         "group, split); for columns with other names, use --columns id=NAME,label=NAME"),
        ("id,kind", None, "has the columns id, kind; expected id and label"),
        ("id,species", {"label": "specie"},
         "has no column 'specie'; it has the columns id, species"),
        ("id,label", {"group": "site"}, "has no column 'site'; it has the columns id, label"),
        ("id,label", {"group": "group"}, "has no column 'group'; it has the columns id, label"),
        ("id,label", {"split": "split"}, "has no column 'split'; it has the columns id, label"),
        ("id,label,Label ", None,
         "has 2 columns with the name 'label', expected one; rename the others"),
        ("id,label,ID", None, "has 2 columns with the name 'id', expected one; rename the others"),
        ("id,label,\u200blabel", None, "has 2 columns with the name 'label'"),
        ("a,a", {"id": "A", "label": "a"}, "has 2 columns with the name 'a'"),
    ],
)  # fmt: skip
def test_columns_that_are_missing_or_double_are_named(file, table, head, columns, said):
    text = f"{head}\n" + ",".join(["red/red00.png", "x", "y"][: head.count(",") + 1])
    with pytest.raises(DatasetError, match=re.escape(said)):
        load_dataset(file, labels=table(text), columns=columns)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": {"id": "x"}}, "has id, but no table"),
        ({"columns": {"id": "x"}, "groups": "red|blue"}, "has id, but no table"),
        ({"columns": {"id": "x"}, "labels": {}}, "has id, but no table"),
        (
            {"columns": {"id": "x", "label": "species", "split": "y"}, "groups": "g.csv"},
            "has label, split, but no table",
        ),
        (
            {"columns": {"group": "site"}, "labels": "l.csv", "groups": "red|blue"},
            "has group, but no table",
        ),
        ({"columns": {"name": "x"}}, "columns has 'name': 'x'; expected"),
        ({"columns": {"id": " "}}, "columns has 'id': ' '; expected"),
    ],
)
def test_columns_of_nothing_are_wrong_usage(file, options, said):
    with pytest.raises(ParameterError, match=re.escape(said)):
        load_dataset(file, **options)


def test_two_columns_for_one_thing_are_wrong_usage(file):
    result = run("fit", file, "--columns", "id=a,label=b,id=c")
    assert result.exit_code == 2
    assert "names two columns for one of id, label" in result.stderr


@pytest.mark.parametrize("value", ["species", "id", "id=a,label"])
def test_an_option_of_columns_has_its_form(file, value):
    result = run("fit", file, "--columns", value)
    assert result.exit_code == 2
    assert "as in id=filename,label=species,group=site" in result.stderr


@pytest.mark.slow
def test_every_command_reads_the_columns_and_a_page_finds_them_again(file, table, tmp_path):
    labels = table(rows(head="photo;species", delimiter=";"))
    columns = ["--labels", labels, "--columns", "id=photo,label=species"]
    out = tmp_path / "out"
    for command in (
        ["fit", file, "--head", "centroid", "--cv", 2],
        ["benchmark", file, "--heads", "centroid", "--cv", 2, "--n-jobs", 1, "-o", out],
        ["audit", file, "--head", "centroid", "--cv", 2],
        ["learning-curve", file, "--head", "centroid", "--cv", 2, "--sizes", 4, "--n-jobs", 1],
    ):
        result = run(*command, *columns)
        assert result.exit_code == 0, result.output
    report(out, tmp_path / "page.html", n_jobs=1, without=["learning-curve"])
    assert (tmp_path / "page.html").is_file()


def test_a_warning_is_printed_once_for_all_embeddings(table, photos, tmp_path):
    extract(photos, tmp_path / "x.h5", backbone="pixels", layers=["grid4.avg", "grid8.avg"])
    labels = table(rows(lambda n, _: "cat" if n % 2 else "Cat"))
    result = run(
        "benchmark", tmp_path / "x.h5", "--heads", "dummy", "--labels", labels, "--n-jobs", 1
    )
    assert result.stderr.count("differ by case alone") == 1
