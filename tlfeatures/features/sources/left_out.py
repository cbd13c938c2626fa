"""Count what a folder has in addition to the images that are listed, and write it in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tlfeatures.features.sources.endings import advice_on_formats
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
    """

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.in_system_folders: Counter[str] = Counter()
        self.in_hidden_folders: Counter[str] = Counter()
        self.links: list[str] = []

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

    def format_endings(self) -> str:
        """Write how many files have which ending, the most frequent ones first."""
        ordered = sorted(self.endings.items(), key=lambda item: (-item[1], not item[0], item[0]))
        named, others = ordered[:_MAX_ENDINGS], ordered[_MAX_ENDINGS:]
        parts = [f"{count:,} {ending or 'without an ending'}" for ending, count in named]
        if others:
            parts.append(f"{sum(count for _, count in others):,} with other endings")
        return ", ".join(parts)
