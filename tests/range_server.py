"""A web server on this machine that sends files, whole or in parts, and lists of folders."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(SimpleHTTPRequestHandler):
    """Answers requests for a part of a file, unless `ranges` is False."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, ranges: bool, **kwargs: Any) -> None:
        self._ranges = ranges
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted or not path.is_file() or not self._ranges:
            super().do_GET()
            return
        size = path.stat().st_size
        begin, end = int(wanted[1]), min(int(wanted[2]), size - 1)
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read(end + 1 - begin)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(folder: Path, *, ranges: bool = True) -> Iterator[str]:
    """Serve a folder.

    Parameters
    ----------
    folder : Path
    ranges : bool
        Whether parts of files are sent.

    Yields
    ------
    str
        The address, as in `http://127.0.0.1:40123`.
    """
    handler = partial(_Handler, directory=str(folder), ranges=ranges)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
