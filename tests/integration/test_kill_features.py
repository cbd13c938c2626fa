"""kill -9 of an import and of an export.

Promise: under the final name there is the old file or the whole new one, wherever the process was
killed; the next run leaves nothing of the killed one.
"""

import signal

import numpy as np
import pytest

from tests.integration.piped import run
from tests.unit.features_files import read_rows, values
from tlfeatures import export_features, import_features

# The call is killed at the n-th time that it comes to a step: a part is done, a file gets to the
# disk, or gets another name.
KILLED = """
import os, signal, sys
from tlfeatures import export_features, import_features
from tlfeatures.features.exchange import table
table.BLOCK_BYTES = 4096
left = int(sys.argv[1])
def step(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def watched(name):
    real = getattr(os, name)
    def call(*given, **options):
        step()
        return real(*given, **options)
    setattr(os, name, call)
watched("fsync")
watched("replace")
call = {"import": import_features, "export": export_features}[sys.argv[2]]
call(sys.argv[3], sys.argv[4], progress=step)
"""


@pytest.fixture
def features(tmp_path):
    """Features old.npz and new.npz, and old.h5 and new.h5 of them."""
    for seed, name in enumerate(("old", "new")):
        np.savez(tmp_path / f"{name}.npz", X=values(600, 8, seed))
        import_features(tmp_path / f"{name}.npz", tmp_path / f"{name}.h5")
    return tmp_path


def left_in(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".new")]


@pytest.mark.parametrize(
    "what",
    ["import", "npz", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("csv", "parquet"))],
)
@pytest.mark.slow
def test_the_file_is_the_old_one_or_the_new_one(what, features):
    out = features / "out"
    out.mkdir()
    is_import = what == "import"
    target = out / ("a.h5" if is_import else f"a.{what}")
    given = [features / f"{name}.{'npz' if is_import else 'h5'}" for name in ("old", "new")]
    call = import_features if is_import else export_features

    def rows():
        if not is_import:
            import_features(target, features / "read.h5")
        return read_rows(target if is_import else features / "read.h5")[1]

    whole = [values(600, 8, seed) for seed in (0, 1)]
    states = []
    for number in range(100):
        call(given[0], target)
        code = run(KILLED, number, "import" if is_import else "export", given[1], target).returncode
        assert code in (0, -signal.SIGKILL)
        states.append([np.array_equal(rows(), each) for each in whole])
        assert sum(states[-1]) == 1
        if code == 0:
            break
    assert states[0] == [True, False]
    assert states[-1] == [False, True]
    assert number >= 4
    call(given[0], target)
    assert left_in(out) == []
