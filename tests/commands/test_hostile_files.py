"""No command executes a file, reads what it points to, or writes beside it.

Every command is handed every hostile file (`tests.commands.hostile`) in a process that Python's
audit events watch (`tests.commands.hostile_runner`). HDF5 opens files without such an event: there
what must not be opened is a pipe, at which a reader would wait until the alarm ends it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.hostile import hostile_files
from tlfeatures import benchmark, extract, fit
from tlfeatures.cli import main

RUNNER = Path(__file__).with_name("hostile_runner.py")
REAL, MODEL, IMAGE, PHOTOS = "real.h5", "real.model", "photos/red/red00.png", "photos"
ALL = ("evaluate", "export", "info", "predict")  # these read models
ALONE = ["--n-jobs", "1"]  # workers unpickle what this very process sends them
FAST = ["--without", "learning-curve"]
ONE = ["--head", "logreg", *ALONE]

# command -> ways to hand it a file. {f}: the file, {d}: a folder of its own; a name after "!" is
# that of a copy of the file, as `!results.json` is in a copy of the benchmark's folder.
COMMANDS = {
    "audit": [["audit", "{f}"]],
    "backbones": [],  # takes no file
    "benchmark": [
        ["benchmark", "{f}", *ONE],
        ["benchmark", REAL, *ONE, "-o", "{f}"],
        ["benchmark", REAL, *ONE, "-o", "{d}/bench", "!results.json"],
        ["benchmark", REAL, *ONE, "-o", "{d}/bench", "!study.npz"],
        ["benchmark", REAL, *ONE, "-o", "{d}/bench", "!entries/ENTRY.npz"],
    ],
    "demo": [],  # takes no file
    "doctor": [],  # takes no file
    "evaluate": [["evaluate", "{f}", REAL], ["evaluate", MODEL, "{f}"]],
    "export": [["export", "{f}", "-o", "{d}/x.onnx"]],
    "export-features": [
        ["export-features", "{f}", "-o", "{d}/x.npz"],
        ["export-features", REAL, "-o", "{d}/x.npz", "--labels", "{f}"],
    ],
    "extract": [
        ["extract", PHOTOS, "-o", "{f}"],
        ["extract", PHOTOS, "-o", "{d}/x.h5", "--weights", "{f}"],
        ["extract", "{d}/images", "-o", "{d}/x.h5", "--backbone", "pixels", "!images/a/x.png"],
        ["extract", PHOTOS, "-o", "{d}/y.h5", "!y.h5.partial"],
        ["extract", "{f}", "-o", "{d}/x.h5", "--backbone", "pixels"],
    ],
    "fit": [
        ["fit", "{f}", *ONE],
        ["fit", REAL, *ONE, "-o", "{f}"],
        ["fit", REAL, *ONE, "--labels", "{f}"],
        ["fit", REAL, *ONE, "--groups", "{d}/groups.csv", "!groups.csv"],
    ],
    "import": [["import", "{f}", "-o", "{d}/x.h5"]],
    "info": [["info", "{f}"], ["info", "{f}", "--json"]],
    "learning-curve": [["learning-curve", "{f}", *ONE]],
    "merge": [["merge", "{f}"], ["merge", "{f}", "-o", "{d}/merged.h5"]],
    "plot": [
        ["plot", "{d}/bench", "--what", "confusion", "-o", "{d}/x.svg", "!results.json"],
        ["plot", "{d}/bench", "--what", "confusion", "-o", "{d}/x.svg", "!study.npz"],
    ],
    "predict": [["predict", "{f}", IMAGE], ["predict", MODEL, "{f}"]],
    "predictions": [
        ["predictions", "{d}/bench", "-o", "{d}/x.csv", "!results.json"],
        ["predictions", "{d}/bench", "-o", "{d}/x.csv", "!study.npz"],
        ["predictions", "{d}/bench", "-o", "{d}/x.csv", "!entries/ENTRY.npz"],
    ],
    "report": [
        ["report", "{d}/bench", "-o", "{d}/x.html", *ALONE, *FAST, "!results.json"],
        ["report", "{d}/bench", "-o", "{d}/x.html", *ALONE, *FAST, "!entries/ENTRY.npz"],
    ],
    "verify": [
        ["verify", "{f}"],
        ["verify", "{f}", "--mend"],
        ["verify", REAL, "--source", "{d}/images", "!images/red/red00.png"],
    ],
}

# Which files a way gets in any case, as it reads their format. The first two stand for the other
# readers of models and of embeddings files.
OWN = {"predict-0": "*", "fit-0": "*", "extract-1": "weights-*", "extract-2": "*.eps"}
OWN |= dict.fromkeys(("benchmark-2", "plot-0", "predictions-0", "report-0"), "*.json")
OWN |= dict.fromkeys(("fit-2", "fit-3"), "*.csv")
OWN |= dict.fromkeys(("benchmark-3", "plot-1", "predictions-1"), "study-*.npz")
OWN |= dict.fromkeys(("benchmark-4", "predictions-2", "report-1"), "entry-*.npz")


@pytest.fixture(scope="module")
def site(_photos, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(_photos, site / PHOTOS)
    settings = {"backbone": "pixels", "size": 16, "layers": ["grid4"], "pools": ["flatten"]}
    extract(site / PHOTOS, site / REAL, **settings)
    fit(site / REAL, "logreg", model=site / MODEL)
    benchmark(site / REAL, heads=["logreg"], out=site / "bench", n_jobs=1)
    hostile_files(site)
    return site


def cases_of(site, command, part):
    """Slow ways, and readers of text, get a tenth of the files that claim to be models.

    Of a tenth of the files each way gets others, and all that are of its own format.
    """
    paths = sorted((site / "hostile").iterdir())
    few = [path for number, path in enumerate(paths) if not claims(path.name) or number % 10 == 0]
    place = list(COMMANDS).index(command)
    cases = []
    for way, arguments in enumerate(COMMANDS[command]):
        name, given = f"{command}-{way}", paths if command in ALL else few
        if part == "a tenth":
            kept = set(given[(place + way) % 10 :: 10])
            given = [path for path in given if path in kept or path.match(OWN.get(name, "-"))]
        cases += [case_of(site, part, name, arguments, path) for path in given]
    return cases


def claims(name):
    return name.endswith(".skops") or Path(name).stem.endswith("-facts")


def case_of(site, part, name, arguments, path):
    """A copy of the file for each way, so that a change of it shows."""
    folder = site / "cases" / part / name / path.name
    folder.mkdir(parents=True)
    last = arguments[-1]
    target = folder / (last.removeprefix("!") if last.startswith("!") else path.name)
    if any("{d}/bench" in argument for argument in arguments):
        shutil.copytree(site / "bench", folder / "bench")
        (entry,) = (site / "bench" / "entries").iterdir()
        target = folder / "bench" / last.removeprefix("!").replace("ENTRY.npz", entry.name)
    if target.name == "y.h5.partial":
        shutil.copy(site / REAL, folder / "y.h5")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    filled = [each.format(f=target, d=folder) for each in arguments if not each.startswith("!")]
    return {"name": f"{name} {path.name}", "arguments": filled, "target": str(target)}


class Watched:
    """The process that runs cases; it is started again if one has ended it."""

    def __init__(self, site):
        self.said, self.exit_code = site / "said.txt", None
        self._site, self._process = site, None

    def run(self, case):
        """Give what was seen of a case; None if it has ended the process."""
        if self._process is None:
            self._start()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(case) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self.end()
        return json.loads(line) if line else None

    def end(self):
        """End the process, unless it has ended by itself."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self.exit_code, self._process = self._process.returncode, None

    def _start(self):
        env = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",  # else a module's first import writes beside it
            "SITE": str(self._site),
            "MPLCONFIGDIR": str(self._site / "matplotlib"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self.said.open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, RUNNER], text=True, stderr=said, cwd=self._site, env=env, **pipes
            )


@pytest.fixture(scope="module")
def watched(site):
    watched = Watched(site)
    yield watched
    watched.end()


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_every_command_is_in_the_table():
    assert set(COMMANDS) == set(main.commands)


@pytest.mark.parametrize("command", [name for name, ways in COMMANDS.items() if ways])
@pytest.mark.parametrize("part", ["a tenth", pytest.param("all", marks=pytest.mark.long)])
def test_a_command_refuses_every_hostile_file(part, command, site, watched):
    cases = cases_of(site, command, part)
    before = {case["name"]: digest(case["target"]) for case in cases}
    found = []
    for case in cases:
        found.append(watched.run(case))
        assert found[-1] is not None, (case["name"], watched.said.read_text()[-2000:])
    assert not (site / "outside" / "trap").exists()
    wrong = [
        (case["name"], each)
        for case, each in zip(cases, found, strict=True)
        if faults(case, each) or not (kept(case, before[case["name"]]) or replaced(case))
    ]
    assert not wrong, "\n\n".join(told(name, each) for name, each in wrong[:8])


def told(name, found):
    said = {key: str(value or "")[-300:] for key, value in found.items()}
    return "\n".join([name, *(f"  {key}: {value}" for key, value in said.items())])


def faults(case, found):
    """What must never be, whatever the file; and the one clear line, where it isn't harmless."""
    said = found["stdout"] + found["stderr"]
    lines = [line for line in found["stderr"].splitlines() if not line.startswith("WARNING")]
    refused = found["code"] in (1, 2) and len(lines) == 1 and lines[0].startswith("Error: ")
    secrets = [secret for secret in ("TOPSECRET", "7777.25") if secret in said]
    return found["raised"] or found["seen"] or secrets or not (refused or harmless(case, found))


def harmless(case, found):
    """Where a command may go on: the file is not what it was asked about, or is left out."""
    name, file = case["name"].split(" ")
    if name == "verify-2":  # images that the file was not made of are what it has to tell
        return found["code"] == 1 and not found["stderr"] and "changed: 1 image" in found["stdout"]
    if found["code"] == 3:
        return name == "predict-1" and "can't read" in found["stderr"]
    return found["code"] == 0 and (
        replaced(case)
        or name.startswith("extract-3")
        # Facts are read as they stand; what is behind them shows when it is loaded.
        or (name.startswith("info") and claims(file))
        or file == "facts-versions.skops"  # a warning says so
        or (name.startswith(("report", "plot", "predictions")) and file.startswith("results-"))
        or (name.startswith("benchmark-2") and file.startswith("results-"))
    )


def kept(case, before):
    return Path(case["target"]).is_file() and digest(case["target"]) == before


def replaced(case):
    """What claims to be a model is one that a new model may replace; results, and leavings, too."""
    name, file = case["name"].split(" ")
    return name in ("extract-3", "benchmark-2") or (name == "fit-1" and claims(file))


CONTROLS = {
    "joblib": ("import joblib; joblib.load('hostile/0.joblib')", "pickle.find_class"),
    "pickle": ("import pickle; pickle.load(open('hostile/plain.pkl', 'rb'))", "os.system"),
    "marshal": (
        "import marshal; marshal.loads(open('hostile/code.pyc', 'rb').read()[16:])",
        "marshal.loads",
    ),
    "program": ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    "reading": ("open('outside/secret.txt')", "secret.txt"),
    "writing": ("open('../elsewhere', 'w')", "elsewhere"),
    "code": ("exec('1')", "exec"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_the_watch_sees_what_it_is_to_see(name, site, watched):
    program, event = CONTROLS[name]
    found = watched.run({"name": name, "python": program})
    assert any(event in seen for seen in found["seen"]), found
    trap = site / "outside" / "trap"
    assert trap.exists() == (name in ("joblib", "pickle"))
    trap.unlink(missing_ok=True)
    assert not (site.parent / "elsewhere").exists()


@pytest.mark.slow
def test_the_watch_sees_hdf5_following_a_link(site):
    program = "import h5py; h5py.File('hostile/external-pipe-ids.h5')['ids']"
    watched = Watched(site)
    assert watched.run({"name": "import", "python": "import h5py"}) is not None
    assert watched.run({"name": "pipe", "python": program, "seconds": 2}) is None
    assert watched.exit_code == -signal.SIGALRM
