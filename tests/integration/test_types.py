"""Type checkers understand the public API: types of results are known, wrong keywords are found."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "tests" / "typed_script.py").read_text()

WRONG = {
    "progress=True": "progres=True",
    "near_duplicates=None": "near_duplicate=None",
    'groups=["p"': 'group=["p"',
    "repeats=2": "repeat=2",
    "cv=3)": "folds=3)",
    "scoring=[": "score=[",
    "outliers=True": "outlier=True",
    "random_state=1": "seed=1",
    'check="new"': 'checks="new"',
    'pools="avg"': 'pool="avg"',
    "without=[": "leave_out=[",
}
# An annotation states the type that the script expects. These types are not stated in it.
TYPES = {
    "extraction": "Extraction",
    "half": "Dataset",
    "counts": "dict[str, int]",
    "best": "Rank",
    "name": "str",
    "curve": "LearningCurve",
    "findings": "list[Finding]",
    "result": "FitResult",
    "model": "Model",
    "model.classes_": "ndarray[tuple[Any, ...], dtype[str_]]",
    "predictions": "Predictions",
    "predictions.classes": "list[str]",
    "first": "Prediction",
    "doubtful": "Predictions",
    "label": "str | None",
    "probability": "float",
    "labels": "ndarray[tuple[Any, ...], dtype[object_]]",
    "by_features": "Predictions",
    "accuracy": "float",
    "evaluation": "ModelEvaluation",
    "exported": "Export",
    "extractor": "Extractor",
    "frame": "DataFrame",
    "table": "DataFrame",
    "display": "ConfusionDisplay",
    "report": "Report",
}


@pytest.fixture
def scripts(tmp_path):
    """The script, the script with wrong keywords, and the script that reveals its types."""
    wrong = SCRIPT
    for right, misspelled in WRONG.items():
        assert right in wrong, right
        wrong = wrong.replace(right, misspelled, 1)
    revealing = SCRIPT + "".join(f"reveal_type({name})\n" for name in TYPES)
    for name, text in (("right", SCRIPT), ("wrong", wrong), ("revealing", revealing)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def misspelled_lines(folder):
    pairs = zip(SCRIPT.splitlines(), (folder / "wrong.py").read_text().splitlines(), strict=True)
    return [number for number, (one, other) in enumerate(pairs, 1) if one != other]


def without_modules(text):
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def test_mypy(scripts):
    """With the settings of `make lint`, so that what it kept of the package is read again."""
    files = [scripts / f"{name}.py" for name in ("right", "wrong", "revealing")]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    ).stdout.splitlines()
    errors = [line for line in found if ": error:" in line]
    places = [re.search(r"(\w+)\.py:(\d+): error: Unexpected keyword", line) for line in errors]
    assert all(places), errors
    lines = misspelled_lines(scripts)
    assert len(lines) == len(WRONG)
    assert [(place[1], int(place[2])) for place in places] == [("wrong", line) for line in lines]
    revealed = [re.search('Revealed type is "(.*)"', line) for line in found]
    types = [without_modules(each[1]) for each in revealed if each]
    assert dict(zip(TYPES, types, strict=True)) == TYPES


def test_pyright(scripts):
    settings = {"extraPaths": [str(ROOT)], "include": ["*.py"]}
    (scripts / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    result = subprocess.run(
        [*command, "-p", scripts], capture_output=True, text=True, check=False, cwd=scripts
    )
    found = json.loads(result.stdout)["generalDiagnostics"]
    errors = [each for each in found if each["severity"] == "error"]
    places = [(Path(each["file"]).stem, each["range"]["start"]["line"] + 1) for each in errors]
    assert places == [("wrong", line) for line in misspelled_lines(scripts)], errors
    assert {each["rule"] for each in errors} == {"reportCallIssue"}
    types = [re.search('Type of ".*" is "(.*)"', each["message"]) for each in found]
    revealed = [each[1] for each in types if each]
    assert len(revealed) == len(TYPES)
    assert "Any" not in revealed
    assert "Unknown" not in " ".join(revealed)
