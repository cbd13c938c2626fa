"""The study's write-up says what its results say, and no number of its own."""

import json
import re
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "examples" / "intel_scenes"


@pytest.fixture(scope="module")
def write_up(study_folder):
    import write_up

    return write_up


def test_the_write_up_is_what_comes_of_the_results(write_up):
    assert (STUDY / "README.md").read_text("utf-8") == write_up.render(write_up.load(STUDY))


def test_another_number_in_the_results_is_another_write_up(write_up):
    results = write_up.load(STUDY)
    results["better"]["selected"]["accuracy"] += 0.001
    assert (STUDY / "README.md").read_text("utf-8") != write_up.render(results)


def test_a_sentence_that_is_no_longer_true_is_an_error(write_up):
    results = write_up.load(STUDY)
    for split in results["reference"]["plain"]["validation_accuracy"]:
        split[-1] -= 0.2
    with pytest.raises(ValueError, match="no longer true"):
        write_up.render(results)


# Years, names, and the level of intervals; all else must come from the results.
NAMES = {"VGG16", "bfloat16", "float32", "95", "2003", "2006", "2014", "2015", "2016", "2019"}
CODE = r"{{.*?}}|{%.*?%}|{#.*?#}|\]\([^)]*\)|```.*?```|`[^`]*`"


def test_no_number_is_typed_by_hand():
    text = (STUDY / "write_up.md.jinja").read_text("utf-8")
    words = re.sub(CODE, " ", text, flags=re.DOTALL).replace("blocks 2 to 5", " ")
    assert set(re.findall(r"\w*\d[\w.]*\w|\d", words)) <= NAMES


def test_no_number_is_typed_into_an_expression():
    text = (STUDY / "write_up.md.jinja").read_text("utf-8")
    inside = " ".join(re.findall(r"{{.*?}}|{%.*?%}", text, flags=re.DOTALL))
    inside = re.sub(r'"[^"]*"|\[-?\d+\]', " ", inside)  # names, and places in lists
    assert set(re.findall(r"(?<!\w)\d[\d.]*", inside)) <= {"1", "2"}  # the next; twice


def test_figures_and_results_that_are_named_are_there():
    text = (STUDY / "README.md").read_text("utf-8")
    named = re.findall(r"\]\((?!http)([^)]*)\)", text)
    assert len(named) >= 4
    assert all((STUDY / name).is_file() for name in named)
    for path in (STUDY / "results").glob("*.json"):
        json.loads(path.read_text("utf-8"))
