"""From the paths in a table to ids: the paths of its images relative to their folder.

Paths are read as they are written. Only if no image is found in this way, another way of writing is
tried that gives images: with more folders at the beginning, with fewer, or with what Label Studio
adds to the name of an upload. It is one way for all rows of a table, and a warning says which.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tlfeatures.features.sources.locations import absolute_location, is_url
from tlfeatures.features.sources.records import id_without_box
from tlfeatures.features.sources.spelling import normalize_name

_DRIVE = re.compile(r"[A-Za-z]:/|//")  # of an absolute path as Windows writes it
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=[^/]+$)")  # Label Studio writes it before the file's name
_SERVED = ("/data/upload/", "/data/local-files/")  # where Label Studio serves images
_FILE = "file://"


def is_absolute(path: str) -> bool:
    """Whether a path with slashes is absolute, on any system, or a URL."""
    return path.startswith("/") or is_url(path) or bool(_DRIVE.match(path))


def id_of_path(written: str, root: str) -> str:
    """Return the id that a path in a table has as it is written.

    Parameters
    ----------
    written : str
    root : str
        Path or URL of the folder that relative paths are relative to.

    Returns
    -------
    str
        The POSIX path relative to the root. A path that is not below the root and absolute, and a
        URL, stay what they are.
    """
    path = _local_path(written.strip())
    if is_url(path):
        return path.removeprefix(root.rstrip("/") + "/") if is_url(root) else path
    # A backslash is a separator, unless this system has a file of this very name.
    if "\\" in path and (is_url(root) or not Path(root, path).exists()):
        path = path.replace("\\", "/")
    if not is_absolute(path):
        return posixpath.normpath(path)
    folder = absolute_location(root).replace("\\", "/").rstrip("/") + "/"
    return posixpath.normpath(path).removeprefix(folder)


def _local_path(written: str) -> str:
    """Return the path of a `file://` URL, or of one that Label Studio serves."""
    if written.startswith(_FILE):
        return unquote(written.removeprefix(_FILE))
    if _SERVED[1] in written:
        files = parse_qs(urlsplit(written).query).get("d")
        return files[0] if files else written
    if _SERVED[0] in written:
        return unquote(urlsplit(written).path) if is_url(written) else unquote(written)
    return written


@dataclass(frozen=True)
class OtherForm:
    """Another way in which the paths of a table are written.

    Attributes
    ----------
    ids : dict of str to str
        Id of the image by the id of the path as written.
    what : str
        What differs, in words that follow "the paths".
    """

    ids: dict[str, str]
    what: str


def find_other_form(written: Sequence[str], images: Sequence[str]) -> OtherForm | None:
    """Find the way of writing in which paths are those of images.

    Parameters
    ----------
    written : sequence of str
        Different ids of the paths as they are written; none is the id of an image.
    images : sequence of str
        Ids of the images of the folder.

    Returns
    -------
    OtherForm or None
        None if no way gives an image, or gives two paths one image.
    """
    by_form = {normalize_name(id_): id_ for id_ in images}
    for clean, of_uploads in ((lambda path: path, ""), (_without_upload, _UPLOADED)):
        for find, what in ((_as_is, ""), (_without_prefix, ""), (_by_names, "lack the folders")):
            if of_uploads or find is not _as_is:
                found = _try(written, by_form, clean, find)
                if found is not None:
                    ids, details = found
                    parts = filter(None, (what or details, of_uploads))
                    return OtherForm(ids, " and ".join(parts))
    return None


def match_uploads(written: Sequence[str], images: Sequence[str]) -> OtherForm | None:
    """Match paths that Label Studio serves with images, as `--labels` must.

    Parameters
    ----------
    written : sequence of str
        Paths as they are written.
    images : sequence of str
        Ids of the images.

    Returns
    -------
    OtherForm or None
        Id of the image by the path as written. None if no path is one that Label Studio serves, or
        no way of writing gives an image.
    """
    paths = {path: served for path in written if (served := _local_path(path)) != path.strip()}
    paths |= {path: path for path in written if path.startswith(_SERVED[0])}
    if not paths:
        return None
    different = sorted(set(paths.values()))
    known = set(images)
    ids = {path: path for path in different if path in known}
    other = OtherForm(ids, "are those of a server") if ids else find_other_form(different, images)
    if other is None:
        return None
    found = {path: other.ids[form] for path, form in paths.items() if form in other.ids}
    return OtherForm(found, other.what)


_UPLOADED = "begin their names with what Label Studio adds"
_Clean = Callable[[str], str]
_Finder = Callable[[Sequence[str], Mapping[str, str]], tuple[dict[str, str], str]]


def _try(
    written: Sequence[str], by_form: Mapping[str, str], clean: _Clean, find: _Finder
) -> tuple[dict[str, str], str] | None:
    cleaned = {path: clean(normalize_name(path)) for path in written}
    ids, details = find(list(cleaned.values()), by_form)
    found = {path: ids[form] for path, form in cleaned.items() if form in ids}
    return (found, details) if found and len(set(found.values())) == len(found) else None


def _without_upload(path: str) -> str:
    return _UPLOAD.sub("", path)


def _as_is(paths: Sequence[str], by_form: Mapping[str, str]) -> tuple[dict[str, str], str]:
    return {path: by_form[path] for path in paths if path in by_form}, ""


def _without_prefix(paths: Sequence[str], by_form: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Remove the folders at the beginning that images lack, if they are the same for all paths."""
    ids: dict[str, str] = {}
    prefixes: set[str] = set()
    for path in paths:
        parts = path.split("/")
        tails = ("/".join(parts[depth:]) for depth in range(1, len(parts)))
        tail = next((tail for tail in tails if tail in by_form), None)
        if tail is not None:
            ids[path] = by_form[tail]
            prefixes.add(path.removesuffix(tail))
    return (ids, f"begin with {min(prefixes)!r}") if len(prefixes) == 1 else ({}, "")


def _by_names(paths: Sequence[str], by_form: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Find file names that one image of the folder has, in whichever subfolder."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for form, id_ in by_form.items():
        places[form.rpartition("/")[2]].append(id_)
    names: Iterable[str] = (path for path in paths if "/" not in path)
    return {name: places[name][0] for name in names if len(places.get(name, ())) == 1}, ""


def how_to_match(written: str, images: Iterable[str], whose: str) -> str:
    """Return a hint why an id matches no image, to be put at the end of a message; "" for none.

    Parameters
    ----------
    written : str
    images : iterable of str
        Ids of images.
    whose : str
        What has the written id, for the hint: "labels".
    """
    path = normalize_name(id_without_box(written)).replace("\\", "/")
    for id_ in map(normalize_name, map(id_without_box, images)):
        if path.endswith(f"/{id_}"):
            return f"; remove {path.removesuffix(id_)!r} at the beginning of the ids"
        if path == id_:
            return f"; the boxes of the {whose} are other ones"
        if path.casefold() == id_.casefold():
            return f"; the ids of the {whose} differ in upper and lower case"
        if path == id_.rpartition(".")[0]:
            return f"; the ids of the {whose} lack the file ending"
        if id_.endswith(f"/{path}"):
            return f"; the ids of the {whose} lack the folder"
    return ""
