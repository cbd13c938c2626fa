"""Names in archives: which of them are safe, and what a name means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

from tlfeatures.features.sources.containers.parts import Parts

LARGEST = 256 * 2**20  # bytes of one image, which is read into memory as a whole

_LEADS_OUT = "their names lead out of the archive or are empty"
_REPEATED = "a later file in the archive has the same name"
_DRIVE = re.compile(r"[A-Za-z]:")


class Entry(Protocol):
    """Where the bytes of one file in an archive are."""

    def read(self, parts: Parts) -> bytes:
        """Read the file.

        Raises
        ------
        ImageError
            If it can't be read; the message is the reason.
        """
        ...

    def start(self, parts: Parts, count: int) -> bytes:
        """Read the first `count` bytes; see `read`."""
        ...


class Members:
    """The files in an archive.

    Attributes
    ----------
    entries : dict of str to Entry
        The files by their names, with forward slashes.
    left_out : dict of str to list of str
        Names of what is in the archive and isn't read, by the reason.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.left_out: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, name: str, entry: Entry) -> None:
        """Add a file; one whose name leads out is left out, and so is an earlier one of a name."""
        clean = clean_name(name)
        if clean is None:
            self.left_out[_LEADS_OUT].append(name)
        else:
            if clean in self.entries:
                self.left_out[_REPEATED].append(clean)
            self.entries[clean] = entry

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)


def clean_name(name: str) -> str | None:
    """Return the name of a file without `./`; None if it leads out of the folder of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    leads_out = name.startswith("/") or ".." in parts or _DRIVE.match(name) or "\0" in name
    return None if leads_out or not parts else "/".join(parts)
