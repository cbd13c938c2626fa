"""Runs commands in this process, and says of each what Python's audit events show.

Used by `test_hostile_files.py`: a case comes as a line of JSON on standard input, and what was seen
goes out as a line, so that a crash or a hang shows behind which case it was.
"""

import contextlib
import io
import json
import os
import signal
import sys
import traceback
from pathlib import Path

EXECUTES = {"pickle.find_class", "marshal.loads", "os.system", "subprocess.Popen", "os.exec"}
EXECUTES |= {"os.posix_spawn", "os.fork", "socket.connect", "exec"}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
GIVE_UP_SECONDS = 120

site = Path(os.environ["SITE"])
seen: list[str] = []
watching = False


def _importing() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _strays(path: object, writes: bool) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a descriptor that was opened before
    real = Path(os.path.realpath(os.fsdecode(path)))
    if real.is_relative_to(site / "outside"):
        return True
    return writes and not real.is_relative_to(site) and real != Path(os.devnull)


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not watching:
        return
    # threadpoolctl opens libraries that are loaded already.
    if event == "ctypes.dlopen" and str(site) in str(args):
        seen.append(f"{event} {args}")
    if event in EXECUTES and not _importing():
        seen.append(f"{event} {args}"[:200])
    elif event == "open":
        writes = bool(int(args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if _strays(args[0], writes) and not (_importing() and not writes):
            seen.append(f"open {args}")
            raise PermissionError(f"the test forbids {args[0]!r}")
    elif event in CHANGES and any(_strays(arg, True) for arg in args if isinstance(arg, str)):
        seen.append(f"{event} {args}")


def _run(case: dict[str, object]) -> dict[str, object]:
    global watching
    from click.testing import CliRunner

    from tlfeatures.cli import main

    seen.clear()
    watching = True
    try:
        if "python" in case:  # a control: what the hooks must see
            with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(BaseException):
                exec(str(case["python"]), {})
            found: dict[str, object] = {"code": 0, "stdout": "", "stderr": ""}
        else:
            result = CliRunner().invoke(main, case["arguments"])
            error = result.exception
            raised = error is not None and not isinstance(error, SystemExit)
            found = {
                "code": result.exit_code,
                "stdout": result.stdout,
                "stderr": result.stderr,
                "raised": "".join(traceback.format_exception(error)) if raised else None,
            }
    finally:
        watching = False
    return {**found, "seen": list(seen)}


def main() -> None:
    sys.addaudithook(_hook)
    sys.path.append(str(site / "outside"))  # so that a name in a file could import what is there
    sys.setrecursionlimit(1000)
    for line in sys.stdin:
        case = json.loads(line)
        signal.alarm(int(case.get("seconds", GIVE_UP_SECONDS)))  # reading a pipe never ends
        found = _run(case)
        signal.alarm(0)
        print(json.dumps({"name": case["name"], **found}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
