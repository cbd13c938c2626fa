"""Every benchmark runs in its short form, `--smoke`, and prints a row for each way it compares.

Promise: `make bench` prints the speeds of your machine.

`make test` runs few of them, and has the others import what they use and read their options.
"""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted({path.stem for path in FOLDER.glob("*.py")} - {"common", "made_rows"})

# Lines of each table, in their order; N stands for a number, ... for any text.
TABLES = {
    "backbones": """
turn 1: load before it N
8 images a turn; ...
backbone engine median best to float32 to framework scenes insects
vgg16 openvino float32 N N - N N (N to N) N (N to N)
vgg16 openvino int8 N N N N N (N to N) N (N to N)
tiny onnxruntime float32 N N - N N (N to N) N (N to N)
vgg16 at 32, 8 images a turn; median (least to most)
 openvino float32 N (N to N)
 auto takes ...: N of the best, ...; choosing took N s, for 40 images, which take N s
 it logs: ...
tiny at 32, 8 images a turn; median (least to most)
 onnxruntime float32 N (N to N)
 auto takes ...: N of the best, ...; choosing took N s, for 40 images, which take N s
vgg16 at 32, 8 images a turn; median (least to most); a plain installation (keras, ncnn) takes ...
 images/s x the usual loop x one at a time of its model alone
usual Keras loop N (N to N) N (N to N) N (N to N)
one image at a time N (N to N) N (N to N) N (N to N)
ours, ... float32 N (N to N) N (N to N) N (N to N) N (N to N)
model alone, ... float32 N (N to N) N (N to N) N (N to N)
whole command, vgg16 at 32, ...: 8 images in N s, N images/s; again N s; N MB; load before it N
whole command, vgg16 at 32, auto: 8 images in N s, N images/s; again N s; N MB; load before it N
tiny, steps of an image in one thread, mean of 8 images
 decode the JPEG N ms N %
 resize it N ms N %
 forward pass, onnxruntime float32 N ms N %
 together N ms
tiny at 32, 8 images a turn of about 150 x 150; median (least to most)
 images/s ms of a core of the smaller alone of both sharing the cores
decode alone N (N to N) N
model alone, onnxruntime float32 N (N to N) N
decode and embed, onnxruntime float32 N (N to N) N N (N to N) N (N to N)
extract, onnxruntime float32 N (N to N) N N (N to N) N (N to N)
""",
    "cluster": """
turn 1: local N, cluster N images/s; load before it N
8 images a turn at 32, openvino float32, 1 shards, the same bits; median (least to most)
 local N (N to N) images/s; ...
 cluster N (N to N) images/s; ...
 ratio N (N to N)
empty shards of 512 images: N kB to a
 0 shards: scheduler N MB, client N MB
 30 shards: scheduler N MB, client N MB with all receipts; the last 30: N ms a shard; ...
 N ms a shard in all; of the processors' time, client N ms, scheduler N ms, both workers N ms
10 shards of one tiny image, written: N ms a shard in one process, N ms by 2 workers; ...
a sharded file over shards of files that are there, 512 columns of float32
 30 shards of 16 images: made in N s, N MB, opened in N s, ...
 30 shards of 512 images: made in N s, N MB, opened in N s, ...
planning, a million images, from 1,000: N s for the plan, N s to cut it into orders; ...
""",
    "extract": """
crops: calibrating int8 took N s
turn 1: load before it N
8 images of crops a turn at 32x32; median (least to most)
 images/s x the usual loop x one at a time of its model alone smallest cosine
usual loop, Keras float32 N (N to N) N (N to N) N (N to N)
one at a time, Keras float32 N (N to N) N (N to N) N (N to N)
ours, openvino int8 N (N to N) N (N to N) N (N to N) N (N to N) N
model alone, openvino int8 N (N to N) N (N to N) N (N to N)
the whole command, start-up included; again, with nothing to do; peak memory
openvino int8 4 images: N s, N images/s; again N s; N MB; load before it N
""",
    "heads": """
block5_pool.avg: 300 x 512
search, 2 folds points plain s ours s ratio same best largest gap
logreg 2 N N N ... N
linear-svm 2 N N N ... N
rbf-svm 2 N N N ... N
ridge 2 N N N ... N
knn 2 N N N ... N
gradient-boosting 1 N N N ... N
lda 2 N N N ... N
mlp 2 N N N ... N
logreg + linear-svm + rbf-svm 6 N
4 heads, untuned N
4 heads, tuned, nested N
accuracy: logreg N, rbf-svm N, knn N, dummy N
synthetic: 200 x 512, 2 classes
4 heads, untuned N
accuracy: logreg N, rbf-svm N, knn N, dummy N
""",
    "memory": """
 images peak MB steady MB x the first seconds
pixels at 32 8 N N N N (load before it N)
VGG16 at 32, openvino float32 8 N N N N (load before it N)
pixels at 32 16 N N N N (load before it N)
VGG16 at 32, openvino float32 16 N N N N (load before it N)
""",
    "near_duplicates": """
vgg16 at 32, 40 images of ...
limit N N N N N N N N N
JPEG, quality N N N N N N N N N N
JPEG, quality N N N N N N N N N N
resized to N % N N N N N N N N N
resized to N % N N N N N N N N N
resized to N % N N N N N N N N N
middle N % N N N N N N N N N
corner of N % N N N N N N N N N
middle N % N N N N N N N N N
middle N % N N N N N N N N N
brightness N N N N N N N N N N
turned by N° N N N N N N N N N
mirrored N N N N N N N N N
grey N N N N N N N N N
own pairs N N N N N N N N N
""",
    "page_scale": """
N images of N classes, N columns; centroid
 benchmark N s N s of a core N MB at most
 predictions N s N s of a core N MB at most
 report N s N s of a core N MB at most
 report again N s N s of a core N MB at most
 N MB out/results.json
 N MB page.html
 N MB predictions.csv
""",
    "near_duplicates_scale": """
limit N, 512 columns, load N
real rows N: N s (N s of a core), N pairs, N MB
  all pairs: N s (N s of a core), N x the search, N x its core time
  the same pairs
made rows 300: N s (N s of a core), N pairs, N MB
  all pairs: N s (N s of a core), N x the search, N x its core time
  the same pairs
made rows 5,000: N s (N s of a core), N pairs, N MB
  all pairs: N s (N s of a core), N x the search, N x its core time
  the same pairs
file of 5,000, first: N s (N s of a core), N pairs
file of 5,020, added: N s (N s of a core), N pairs
file of 5,020, again: N s (N s of a core), N pairs
""",
    "features": """
50 x 8 float32, N MB; median of seconds
export npz N N N N N
import npz N N N N N
export parquet N N N N N
import parquet N N N N N
export csv N N N N N
import csv N N N N N
""",
    "scale": """
64 columns, 3 classes, N processes
300 rows, N MB; load before it N
 fit N (N to N) s; N MB, N more than the rows; x scikit-learn N (N to N)
 fit again N (N to N) s; N MB, N more than the rows; x scikit-learn N (N to N)
 scikit-learn N (N to N) s; N MB, N more than the rows; x scikit-learn N (N to N)
 benchmark of ridge, lda N (N to N) s; N MB, N more than the rows
 report N (N to N) s; N MB, N more than the rows; page N MB
""",
    "sources": """
16 images a turn, 2 rounds; median (least to most)
folder N (N to N) N (N to N)
zip, stored N (N to N) N (N to N)
zip, deflated N (N to N) N (N to N)
tar N (N to N) N (N to N)
Parquet N (N to N) N (N to N)
""",
    "heads_scale": """
head form rows fit s predict s accuracy peak MB
logreg exact N N N N N
logreg many rows N N N N N
rbf-svm many rows N N N N N
knn many rows N N N N N
""",
    "nothing_to_do": """
20 files of N bytes
embedding them: N s
turn 1: nothing to do N s, hashing alone N s; load before it N
apart: N s (N to N)
""",
    "predict": """
32 images a round at 32x32; images/s: median (least to most)
files: ONNX Runtime, float32 N (N to N) N x predict by Keras in float32
files: predict, keras float32 N (N to N) N x predict by Keras in float32
files: predict, openvino ... N (N to N) N x predict by Keras in float32
pixels: ONNX Runtime, float32 N (N to N) N x predict by Keras in float32
pixels: predict, keras float32 N (N to N) N x predict by Keras in float32
pixels: predict, openvino ... N (N to N) N x predict by Keras in float32
""",
    "sums": """
N rows of N columns
shards: N s, N MB more memory of the client
 accuracy: ridge N, lda N, centroid N, logreg N
 moments_of: N rounds, received N MB a round
 losses_of: N rounds, received N MB a round
 decisions_of: N rounds, received N MB a round
 sent as shared data: N MB in all, to each worker
sent: N s, N MB more memory of the client
 accuracy: ridge N, lda N, centroid N, logreg N
""",
}
DRAWN = {"extract", "memory", "scale"}  # they draw what they measured, with --plot
SHORT = {"extract", "near_duplicates", "sources"}  # the others start many processes or fit heads


@pytest.mark.integration
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in SHORT)) for name in SCRIPTS]
)
def test_a_benchmark_prints_its_table_in_its_short_form(name, tmp_path):
    plot = ["--plot", "plot.png"] if name in DRAWN else []
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--smoke", *plot],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = iter(done.stdout.splitlines())
    for row in TABLES[name].strip("\n").splitlines():
        pattern = as_pattern(row)
        assert any(pattern.fullmatch(line) for line in lines), f"no {row!r} in\n{done.stdout}"
    assert [path.name for path in tmp_path.iterdir()] == plot[1:]


@pytest.mark.integration
def test_growth_is_that_of_earlier_runs_between_the_last_two_sizes(tmp_path):
    seconds = {("fit", 1000): 5, ("fit", 10_000): 10, ("fit", 40_000): 40, ("report", 40_000): 3}
    for name, runs in {"a": 1, "b": 2}.items():
        lines = [
            json.dumps({"command": command, "rows": rows, "seconds": number * runs, "megabytes": 9})
            for (command, rows), number in seconds.items()
        ]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, FOLDER / "scale.py", "--from", "a", "b", "--plot", "plot.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout == "growth of fit, 10,000 to 40,000 rows: 1.00\n", done.stderr
    assert (tmp_path / "plot.png").stat().st_size > 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_finds_what_it_imports_and_tells_its_options(name, monkeypatch, capsys):
    assert name in TABLES, f"say here what benchmarks/{name}.py --smoke prints"
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert "--smoke" in capsys.readouterr().out


def as_pattern(row: str) -> re.Pattern[str]:
    """Let N match a number, ... any text, and a space any number of spaces."""
    parts = {"N": r"-?\d[\d,]*(\.\d+)?", "...": ".+", " ": r"\s+"}
    tokens = re.split(r"(\bN\b|\.\.\.| )", row)
    return re.compile("".join(parts.get(token, re.escape(token)) for token in tokens))
