"""A full disk: one line that names the file, and what was there stays."""

import shutil

import pytest
from click.testing import CliRunner

from tests.fakes import files_in, full_disk
from tests.unit.data import run_benchmark
from tlfeatures import extract, fit, plot
from tlfeatures.cli import main
from tlfeatures.errors import OutputError
from tlfeatures.model_selection.audit.results import Audit, Finding
from tlfeatures.reports.drawing.figure_files import save_figure
from tlfeatures.reports.drawing.style import new_figure

AGAIN = "can't be written: File too large; make room and run the same command again"


@pytest.fixture(scope="module")
def _made(_photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    extract(_photos, folder / "x.h5", backbone="pixels", size=16, pools="flatten")
    fit(folder / "x.h5", "dummy", model=folder / "m.model")
    run_benchmark(folder / "x.h5", heads=["dummy", "ridge"], cv=3, out=folder / "out")
    for name in ("png", "svg", "pdf"):
        plot(folder / "out", "ranking", folder / f"p.{name}")
    for name in ("audit.csv", "audit.json", "page.html", "table.csv", "table.parquet"):
        (folder / name).write_text("what was there")
    return folder


@pytest.fixture
def folder(_made, tmp_path):
    return shutil.copytree(_made, tmp_path / "full")


COMMANDS = {
    "fit x.h5 --head ridge -o m.model": "m.model",
    "audit x.h5 --head ridge --cv 3 -o audit.csv": "audit.csv",
    "audit x.h5 --head ridge --cv 3 -o audit.json": "audit.json",
    "plot out --what ranking -o p.png": "p.png",
    "plot out --what ranking -o p.svg": "p.svg",
    "plot out --what confusion -o p.pdf": "p.pdf",
    "report out -o page.html --without audit --without learning-curve": "page.html",
    "benchmark x.h5 --heads centroid --cv 3 --n-jobs 1 -o out": ".npz",
    "predictions out -o table.csv": "table.csv",
    "predictions out -o table.parquet": "table.parquet",
}
# A test below writes the first bytes of each of these kinds, and no more.
BEGUN = {"audit.csv", "audit.json", "p.png", "p.svg", "p.pdf"}


CASES = [
    pytest.param(command, limit, marks=pytest.mark.long if limit and target in BEGUN else ())
    for command, target in COMMANDS.items()
    for limit in (0, 20)
]


@pytest.mark.parametrize(("command", "limit"), CASES)
@pytest.mark.slow
def test_on_a_full_disk_the_old_file_stays_and_is_named(command, limit, folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = files_in(folder)
    with full_disk(limit):
        result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(AGAIN)
    name = COMMANDS[command]
    assert any(f"{each} {AGAIN}" in line for each in (name, f"{name}.md"))
    after = files_in(folder)
    lock = folder / "out" / ".results.json.lock"  # its record of who has it doesn't fit, either
    assert {**after, lock: None} == {**before, lock: None}
    done = CliRunner().invoke(main, command.split())  # with room again
    assert (done.exit_code, done.stderr) == (0, "" if "report" not in command else done.stderr)
    added = files_in(folder).keys() - before.keys()
    assert {path.parent.name for path in added} <= {"entries"} or {path.name for path in added} == {
        "analyses.json"
    }


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.slow
def test_a_figure_on_a_full_disk(kind, tmp_path):
    figure = new_figure(2, 2)
    figure.add_subplot().plot([0, 1])
    path = tmp_path / f"x.{kind}"
    with full_disk(100), pytest.raises(OutputError, match=f"x.{kind} {AGAIN}"):
        save_figure(figure, path)
    assert list(tmp_path.iterdir()) == []
    save_figure(figure, path)
    whole = path.read_bytes()
    with full_disk(100), pytest.raises(OutputError):
        save_figure(figure, path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_audit_on_a_full_disk(kind, tmp_path):
    finding = Finding("outlier", "a/1.png", "a", None, 0.9, "far")
    audit = Audit(
        file="x.h5", embedding="e", weights="none", images=1, head="ridge", accuracy=1.0,
        findings=[finding] * 50, judged=1,
    )  # fmt: skip
    path = tmp_path / f"x.{kind}"
    write = audit.write_csv if kind == "csv" else audit.write_json
    with full_disk(100), pytest.raises(OutputError, match=f"x.{kind} {AGAIN}"):
        write(path)
    assert list(tmp_path.iterdir()) == []
    write(path)
    assert path.stat().st_size > 1000
