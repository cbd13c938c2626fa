"""Which files are images, by the ending of their name, else by their first bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tlfeatures.files import OTHER_ENDINGS

# Endings of images that are decoded. Every format that is decoded has an ending here.
IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".webp", ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".pcx", ".psd"}
    | {".sgi", ".tga"}
)

CONTAINER_ENDINGS = (".zip", ".tar", ".parquet")  # files with images inside

# Images in formats that Pillow doesn't read by itself. Some of them begin as a TIFF does.
_UNSUPPORTED_ENDINGS = frozenset(
    {".dcm", ".dicom", ".nii", ".nrrd", ".mha", ".czi", ".lif", ".nd2", ".svs", ".ndpi", ".mrxs"}
    | {".heic", ".heif", ".hif", ".jxl", ".svg", ".eps", ".ico", ".xcf", ".exr", ".hdr", ".fits"}
    | {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2"}
    | {".srw", ".nrw", ".sr2", ".srf", ".kdc", ".dcr", ".erf", ".mef", ".mos", ".iiq", ".fff"}
    | {".rwl", ".ptx", ".gpr", ".x3f", ".mrw", ".scn", ".bif"}
)
_FORMAT_NAMES = {".dcm": "DICOM", ".dicom": "DICOM", ".heic": "HEIC", ".heif": "HEIC"}

# Files that are no images and needn't be opened. A .cls is a label in a WebDataset; the endings
# below it are those of previews and of second copies that cameras, editors and browsers add.
_NO_IMAGE_ENDINGS = OTHER_ENDINGS | frozenset(
    {".cls", ".thm", ".xmp", ".aae", ".bak", ".orig", ".old", ".part", ".crdownload"}
)
_COPY_ENDINGS = ("_original", "~")  # exiftool and editors append these

# Files that systems, cameras and network drives add by themselves, in lower case.
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"})

START_BYTES = 132  # how many bytes of a file hold the signature of its format
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
_DICOM_SIGNATURE = b"DICM"  # bytes 128 to 131


def ending_of(path: str) -> str:
    """Return what follows the last dot of a name in lower case, with the dot.

    The result is empty where the name has no dot, or what follows is a number or no usual ending.
    """
    stem, dot, ending = _name_of(path).rpartition(".")
    usual = bool(stem) and re.fullmatch(r"\w[\w~+-]{0,15}", ending) and not ending.isdigit()
    return f"{dot}{ending.lower()}" if usual else ""


def is_image_by_name(path: str) -> bool | None:
    """Whether a file is an image by its name; None where its content has to decide."""
    ending = ending_of(path)
    if ending in IMAGE_ENDINGS:
        return True
    excluded = ending in _UNSUPPORTED_ENDINGS or ending in _NO_IMAGE_ENDINGS
    excluded = excluded or ending.endswith(_COPY_ENDINGS) or is_system_file(path)
    return False if excluded else None


def is_system_file(path: str) -> bool:
    """Whether a file has a name under which systems and cameras keep files of their own."""
    return _name_of(path).lower() in _SYSTEM_FILES


def is_visible_image(path: str) -> bool:
    """Whether a file is not hidden, and has the ending of an image."""
    return not _name_of(path).startswith(".") and ending_of(path) in IMAGE_ENDINGS


def ending_unless_image(path: str, read_start: Callable[[], bytes]) -> str | None:
    """Return None for an image, else the ending by which its file is counted.

    Parameters
    ----------
    path : str
        POSIX path or name of the file.
    read_start : callable
        Returns the first `START_BYTES` bytes. It is called only where the name doesn't decide.
    """
    by_name = is_image_by_name(path)
    if by_name is not None:
        return None if by_name else ending_of(path)
    start = read_start()
    if start[128:132] == _DICOM_SIGNATURE:
        return ".dcm"
    return None if _SIGNATURES.match(start) else ending_of(path)


def advice_on_formats(endings: Iterable[str]) -> str:
    """Write what to do with images in formats that can't be read; "" if there are none.

    So are images inside of archives and Parquet files that lie beside other images.
    """
    listed = set(endings)
    formats = {_FORMAT_NAMES.get(name, name) for name in listed & _UNSUPPORTED_ENDINGS}
    advice = [f"{', '.join(sorted(formats))} can't be read: save as PNG or TIFF"] * bool(formats)
    inside = [ending for ending in CONTAINER_ENDINGS if ending in listed]
    if inside:
        advice.append(f"to embed the images inside of {', '.join(inside)}, give those files")
    return "; ".join(advice)


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]
