"""The images below a folder or a URL: what is listed, and what is left out and counted."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.locations import is_url, list_url, read_starts
from tlfeatures.files import OTHER_ENDINGS
from tlfeatures.names import counted, some_of

logger = logging.getLogger(__name__)

# Images by their names. Every format that is decoded has an ending here.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".webp", ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".pcx", ".psd"}
    | {".sgi", ".tga"}
)

# Images, too, but of formats that Pillow doesn't read by itself. Some begin as a TIFF does.
FOREIGN_SUFFIXES = frozenset(
    {".dcm", ".dicom", ".nii", ".nrrd", ".mha", ".czi", ".lif", ".nd2", ".svs", ".ndpi", ".mrxs"}
    | {".heic", ".heif", ".hif", ".jxl", ".svg", ".eps", ".ico", ".xcf", ".exr", ".hdr", ".fits"}
    | {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2"}
    | {".srw", ".nrw", ".sr2", ".srf", ".kdc", ".dcr", ".erf", ".mef", ".mos", ".iiq", ".fff"}
    | {".rwl", ".ptx", ".gpr", ".x3f", ".mrw", ".scn", ".bif"}
)
_FORMAT_NAMES = {".dcm": "DICOM", ".dicom": "DICOM", ".heic": "HEIC", ".heif": "HEIC"}

# Known to be no images: they needn't be opened to see that. The last ones are of previews and of
# second copies that cameras, editors and browsers keep beside images.
_OTHER_SUFFIXES = OTHER_ENDINGS | frozenset(
    {".thm", ".xmp", ".aae", ".bak", ".orig", ".old", ".part", ".crdownload"}
)
_SECOND_COPIES = ("_original", "~")  # of exiftool and of editors

# Files and folders that systems, cameras and network drives add by themselves, in lower case.
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"})
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "@recycle", "@recently-snapshot", "@__thumb", "@tmp", "#snapshot"}
    | {"$recycle.bin", "__macosx", "system volume information", "lost+found"}
    | {"~snapshot", "network trash folder", "temporary items", "found.000"}
)

# Hidden folders of tools and file systems, with more files than one wants to count.
_TOOLS_FOLDERS = frozenset({".git", ".cache", ".snapshot", ".snapshots", ".zfs", ".venv"})

# Such a folder in a folder of images has small copies of them; beside it, it may be a class.
_THUMBNAILS = frozenset({"thumbnails", "thumbnail", "thumbs", "_thumbs", "previews"})

_START = 132  # bytes of a file that hold the signature of its format
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|II(\*\0|\+\0|\0\*)|MM(\0\*|\0\+|\*\0)"  # TIFF and BigTIFF
    rb"|RIFF.{4}WEBP"
    rb"|.{4}ftypavi[fs]"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|8BPS\0\x01"  # Photoshop
    rb"|P[1-6]\s+[\d#]"  # PPM, PGM, PBM
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"
    rb"|[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0"  # BMP without BM
    rb"|\n[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]"  # PCX
    rb"|\x01\xda[\0\x01][\x01\x02]",  # SGI
    re.DOTALL,
)

_DICOM = slice(128, 132), b"DICM"

_SHOWN = 8  # endings that a message names
_SHOWN_LINKS = 3


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: `id` names it in every file and table, `path` is where its bytes are.

    It holds no `Path`, as that would take most of the memory that many images take.
    """

    id: str
    folder: str
    name: str

    @property
    def path(self) -> Path:
        """Where its bytes are, if that is a path."""
        return Path(self.folder, self.name)

    @property
    def location(self) -> str:
        """Where its bytes are: a path or a URL."""
        return f"{self.folder}{'/' if is_url(self.folder) else os.sep}{self.name}"


def find_images(source: str | os.PathLike[str]) -> list[ImageFile]:
    r"""List the images below a folder.

    A file is an image if its name has an ending of an image; where the ending is neither that nor
    one of other known files, the first bytes decide. What is left out is counted in a warning.
    Hidden files, and folders that systems and network drives add, are left out. A link to a folder
    outside is followed once; one to a folder that is listed anyway is not.

    Parameters
    ----------
    source : path or URL
        A folder.

    Returns
    -------
    list of ImageFile
        Sorted by id, the POSIX path relative to `source`. Bytes of a name that are no UTF-8 are
        written as `\udcXX` in the id.

    Raises
    ------
    ParameterError
        If `source` is no folder.
    SourceError
        If a folder in it can't be listed: its images would seem to be gone.
    """
    return list(list_images(source))


def list_images(source: str | os.PathLike[str]) -> Iterator[ImageFile]:
    """List the images below a folder one by one, in the order of their ids (see `find_images`)."""
    listing = _Listing(source)
    found = False
    for image in listing.images():
        found = True
        yield image
    if found:  # else the caller has an error to say, which `no_images` makes
        for line in listing.left_out():
            logger.warning("%s", line)


def no_images(
    source: str | os.PathLike[str],
    expected: str = "expected a folder with one subfolder a class",
) -> SourceError:
    """Make the error for a folder in which `list_images` finds no image.

    It names what the folder has instead, for which it is listed again.
    """
    listing = _Listing(source)
    for _ in listing.images():
        pass
    files = sum(listing.endings.values())
    if not files:
        said = "; ".join([f"{source} has no images", *listing.left_out(), expected])
        return SourceError(said)
    remedy = _remedy(listing.endings) or "expected .jpg, .png, .tif or other files of images"
    found = f"{counted(files, 'file')} and no image: {_in_words(listing.endings)}"
    return SourceError(f"{source} has {found}; {remedy}")


class _Listing:
    """One pass over a folder, which counts what it leaves out."""

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self._root = os.fspath(source)
        if is_url(self._root):
            self._root = self._root.rstrip("/")
        elif not Path(self._root).is_dir():
            what = "is a file" if Path(self._root).exists() else "does not exist"
            raise ParameterError(
                f"{self._root} {what}; expected a folder with one subfolder a class"
            )
        self.endings: Counter[str] = Counter()  # of files that are no images
        self._system: Counter[str] = Counter()  # images in each system folder, by its name
        self._hidden: Counter[str] = Counter()  # images in each hidden folder, by its name
        self._links: list[str] = []  # ids of links to folders that were not followed

    def images(self) -> Iterator[ImageFile]:
        """Give each image, in the order of the ids."""
        for id_, name, other in self._at_url() if is_url(self._root) else self._in_folder():
            if other is None:  # one string, if both are one
                yield ImageFile(id_, self._root, id_ if id_ == name else name)
            elif id_.rpartition("/")[2].lower() not in _SYSTEM_FILES:
                self.endings[other] += 1

    def _in_folder(self) -> Iterator[tuple[str, str, str | None]]:
        for id_, name in _Walk(self._root, self._leave_folder_out, self._links.append).files():
            path = os.path.join(self._root, name)  # noqa: PTH118, a Path a file takes a while
            yield id_, name, _other_ending(id_, partial(_first_bytes, path))

    def _leave_folder_out(self, folder: str, name: str) -> None:
        counts = self._hidden if name.startswith(".") else self._system
        files = (file for _, _, files in os.walk(folder) for file in files)
        counts[name] += sum(_named_as_image(file) for file in files)

    def _at_url(self) -> Iterator[tuple[str, str, str | None]]:
        names = [name for name in list_url(self._root) if not self._in_system_folder(name)]
        unknown = [name for name in names if _by_ending(name) is None]
        starts = dict(zip(unknown, read_starts(self._root, unknown, _START), strict=True))
        for name in names:
            yield name, name, _other_ending(name, partial(starts.__getitem__, name))

    def _in_system_folder(self, name: str) -> bool:
        parts = name.split("/")[:-1]
        system = (part for at, part in enumerate(parts) if _is_system_folder(part, at > 0))
        folder = next(system, None)
        if folder is not None:
            self._system[folder] += _named_as_image(name)
        return folder is not None

    def left_out(self) -> Iterator[str]:
        """Say what was left out, a line a kind."""
        if self.endings:
            remedy = _remedy(self.endings)
            yield f"left out, as they are no images: {_in_words(self.endings)}" + (
                f"; {remedy}" if remedy else ""
            )
        for reason, found in (
            ("other programs made these folders", +self._system),
            ("the names of these folders begin with a dot", +self._hidden),
        ):
            if found:
                counts = ", ".join(f"{counted(n, 'image')} in {name}" for name, n in found.items())
                yield f"left out, as {reason}: {counts}"
        if self._links:
            yield (
                "folders that a link leads to are left out where they are listed already: "
                + some_of(map(repr, self._links), _SHOWN_LINKS)
            )


class _Walk:
    """The files below a folder, each real folder once."""

    def __init__(
        self,
        root: str,
        leave_out: Callable[[str, str], None],
        not_followed: Callable[[str], None],
    ) -> None:
        self._root, self._real_root = root, os.path.realpath(root)
        self._leave_out, self._not_followed = leave_out, not_followed
        self._seen: set[str] = set()  # real folders that were reached by a link

    def files(self) -> Iterator[tuple[str, str]]:
        """Give the id and the name below the root of each file, sorted by id."""
        return self._below("", "", linked=False)

    def _below(self, above: str, id_above: str, linked: bool) -> Iterator[tuple[str, str]]:
        folder = os.path.join(self._root, above)  # noqa: PTH118
        for id_, entry in _entries(folder):
            name = above + entry.name
            if not id_.endswith("/"):
                # To read a pipe would wait for ever; a broken link is named when it is decoded.
                if _is(entry.is_file) or not os.path.exists(entry.path):  # noqa: PTH110
                    yield id_above + id_, name
            elif _is_system_folder(entry.name, bool(above)) or entry.name.startswith("."):
                self._leave_out(entry.path, entry.name)
            else:
                by_link = linked or entry.is_symlink()
                if not by_link or self._is_new(entry, id_above + id_):
                    yield from self._below(name + os.sep, id_above + id_, by_link)

    def _is_new(self, entry: os.DirEntry[str], id_: str) -> bool:
        """Whether a folder that is reached by a link is listed nowhere else."""
        real = os.path.realpath(entry.path)
        if real in self._seen or self._is_listed(real):
            self._not_followed(id_.rstrip("/"))
            return False
        self._seen.add(real)
        return True

    def _is_listed(self, real: str) -> bool:
        """Whether a real folder is below the root, and not below a folder that is left out."""
        if real != self._real_root and not real.startswith(self._real_root.rstrip(os.sep) + os.sep):
            return False
        parts = Path(real).relative_to(self._real_root).parts
        return not any(
            part.startswith(".") or _is_system_folder(part, at > 0) for at, part in enumerate(parts)
        )


def _entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Give what is in a folder but hidden files, sorted; the name of a folder ends in a slash."""
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not _is_unseen(entry)]
    except OSError as error:
        raise SourceError(f"{Path(folder)} can't be listed: {error.strerror}") from error
    named = ((_printable(entry.name) + "/" * _is(entry.is_dir), entry) for entry in entries)
    return sorted(named, key=itemgetter(0))


def _is_unseen(entry: os.DirEntry[str]) -> bool:
    """Whether it is hidden, and holds no images of the user's that should be counted."""
    hidden = entry.name.startswith(".")
    return hidden and (entry.name in _TOOLS_FOLDERS or not _is(entry.is_dir))


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return bool(kind())
    except OSError:  # a link to itself
        return False


def _is_system_folder(name: str, nested: bool) -> bool:
    """Whether programs make folders of this name, `nested` in a folder of the source."""
    return name.lower() in _SYSTEM_FOLDERS or (nested and name.lower() in _THUMBNAILS)


# ---- names and first bytes


def _ending(id_: str) -> str:
    """Give what follows the last dot of a name in lower case, with the dot; "" if that is none."""
    stem, dot, ending = id_.rpartition("/")[2].rpartition(".")
    usual = bool(stem) and re.fullmatch(r"\w[\w~+-]{0,15}", ending) and not ending.isdigit()
    return f"{dot}{ending.lower()}" if usual else ""


def _by_ending(id_: str) -> bool | None:
    """Whether a file is an image by its name; None where its content has to decide."""
    ending = _ending(id_)
    if ending in SUFFIXES:
        return True
    known = ending in FOREIGN_SUFFIXES or ending in _OTHER_SUFFIXES
    known = known or ending.endswith(_SECOND_COPIES)
    return False if known or id_.rpartition("/")[2].lower() in _SYSTEM_FILES else None


def _named_as_image(file: str) -> bool:
    return not file.rpartition("/")[2].startswith(".") and _ending(file) in SUFFIXES


def _other_ending(id_: str, start: Callable[[], bytes]) -> str | None:
    """Give None for an image, else the ending that its file is counted by."""
    by_ending = _by_ending(id_)
    if by_ending is not None:
        return None if by_ending else _ending(id_)
    first = start()
    place, signature = _DICOM
    if first[place] == signature:
        return ".dcm"
    return None if _SIGNATURES.match(first) else _ending(id_)


def _first_bytes(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(_START) or b""
    except (OSError, ValueError):  # it is counted with the others
        return b""


# ---- what was left out, in words


def _in_words(endings: Counter[str]) -> str:
    ordered = sorted(endings.items(), key=lambda item: (-item[1], not item[0], item[0]))
    words = [f"{count:,} {ending or 'without an ending'}" for ending, count in ordered[:_SHOWN]]
    rest = ordered[_SHOWN:]
    words += [f"{sum(count for _, count in rest):,} with other endings"] if rest else []
    return ", ".join(words)


def _remedy(endings: Iterable[str]) -> str:
    """Say what to do with images of formats that aren't read; "" if there are none."""
    foreign = {_FORMAT_NAMES.get(each, each) for each in endings if each in FOREIGN_SUFFIXES}
    named = ", ".join(sorted(foreign))
    return f"{named} can't be read: save as PNG or TIFF" if foreign else ""
