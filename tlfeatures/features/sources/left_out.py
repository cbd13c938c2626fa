"""Count what a folder has in addition to the images that are listed, and write it in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from tlfeatures.errors import SourceError
from tlfeatures.features.sources.endings import advice_on_formats, is_visible_image
from tlfeatures.features.sources.walk import is_system_folder
from tlfeatures.names import counted, some_of

_MAX_ENDINGS = 8  # endings that a message names
_MAX_LINKS = 3


class LeftOut:
    """Counts of files, folders and links that are left out.

    Attributes
    ----------
    endings : Counter
        Number of files that are no images, by ending.
    in_system_folders, in_hidden_folders : Counter
        Number of images in folders that are left out, by the name of the folder.
    links : list of str
        Ids of links to folders that are not followed.
    others : dict of str to list of str
        Names that are left out for another reason, by the reason, as in "they are links".
    """

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.in_system_folders: Counter[str] = Counter()
        self.in_hidden_folders: Counter[str] = Counter()
        self.links: list[str] = []
        self.others: defaultdict[str, list[str]] = defaultdict(list)

    def without_excluded(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the names that are in no hidden folder or folder of other programs, nor hidden.

        The images in the folders that are left out are counted.

        Parameters
        ----------
        names : iterable of str
            POSIX paths relative to the source.
        """
        for name in names:
            *folders, file = name.split("/")
            excluded = (
                (folder, counts)
                for depth, folder in enumerate(folders)
                if (counts := self._counts_of(folder, depth)) is not None
            )
            folder, counts = next(excluded, (None, None))
            if counts is not None and folder is not None:
                counts[folder] += is_visible_image(name)
            elif not file.startswith("."):
                yield name

    def _counts_of(self, folder: str, depth: int) -> Counter[str] | None:
        if folder.startswith("."):
            return self.in_hidden_folders
        return self.in_system_folders if is_system_folder(folder, depth > 0) else None

    def no_images_error(self, location: str, expected: str) -> SourceError:
        """Create the error for a source of which everything is left out."""
        files = sum(self.endings.values())
        if not files:
            return SourceError(
                "; ".join([f"{location} has no images", *self.sentences(), expected])
            )
        advice = advice_on_formats(self.endings)
        return SourceError(
            f"{location} has {counted(files, 'file')} and no image: {self.format_endings()}; "
            f"{advice or 'expected .jpg, .png, .tif or other files of images'}"
        )

    def sentences(self) -> Iterator[str]:
        """Yield one sentence for each kind that has been left out."""
        if self.endings:
            advice = advice_on_formats(self.endings)
            sentence = f"left out, as they are no images: {self.format_endings()}"
            yield f"{sentence}; {advice}" if advice else sentence
        for reason, folders in (
            ("other programs made these folders", +self.in_system_folders),
            ("the names of these folders begin with a dot", +self.in_hidden_folders),
        ):
            if folders:
                counts = (f"{counted(n, 'image')} in {name}" for name, n in folders.items())
                yield f"left out, as {reason}: {', '.join(counts)}"
        if self.links:
            yield (
                "folders that a link leads to are left out where they are listed already: "
                + some_of(map(repr, self.links), _MAX_LINKS)
            )
        for reason, names in self.others.items():
            if names:
                yield (
                    f"left out, as {reason}: {counted(len(names), 'file')}, the first one is "
                    f"{names[0]!r}"
                )

    def format_endings(self) -> str:
        """Write how many files have which ending, the most frequent ones first."""
        ordered = sorted(self.endings.items(), key=lambda item: (-item[1], not item[0], item[0]))
        named, others = ordered[:_MAX_ENDINGS], ordered[_MAX_ENDINGS:]
        parts = [f"{count:,} {ending or 'without an ending'}" for ending, count in named]
        if others:
            parts.append(f"{sum(count for _, count in others):,} with other endings")
        return ", ".join(parts)
