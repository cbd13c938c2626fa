"""The results of `extract`, `verify` and `merge` as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tlfeatures.names import counted, some_of
from tlfeatures.terminal.shared_lines import RANDOM_WEIGHTS

if TYPE_CHECKING:
    from tlfeatures.features.extraction import Extraction
    from tlfeatures.features.merge import Merging
    from tlfeatures.features.verification import Finding, Verification


def render_extraction(result: Extraction) -> str:
    """Lines for counts, classes and embeddings, and further lines if they apply."""
    unit = "images and variants/s" if result.variants else "images/s"
    by = "" if result.engine == "none" else f" by {result.engine} in {result.precision}"
    speed = f", {result.images_per_second:.1f} {unit}{by}" if result.computed else ""
    counts = [f"{result.computed:,} computed", f"{result.reused:,} reused"]
    counts += [f"{len(result.failed):,} failed"] if result.failed else []
    counts += [f"{result.removed:,} no longer in the folder"] if result.removed else []
    lines = [
        f"{result.file}: {result.images:,} images ({', '.join(counts)}) in "
        f"{result.seconds:.1f} s{speed}",
        _class_counts(result),
        "embeddings: " + ", ".join(f"{name} ({d:,})" for name, d in result.embeddings.items()),
    ]
    if result.variants:
        lines.append(
            f"{counted(result.variants, 'variant')} of each image were embedded, too, for training"
        )
    if result.shards is not None:
        lines.append(
            f"the embeddings are in the shards in {result.shards}: keep this folder with the file, "
            f"or merge them with `tlfeatures merge {shlex.quote(result.file)}`"
        )
    if result.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    return "\n".join(lines)


_CLASSES_SHOWN = 12


def _class_counts(result: Extraction) -> str:
    """The classes that the folders name, with their images, and those of each split."""
    classes = result.classes
    if not classes:
        return "no class folders: give the labels to `fit` with --labels CSV"
    listed = some_of((f"{name} {count:,}" for name, count in classes.items()), _CLASSES_SHOWN)
    splits = ", ".join(f"{name} {count:,}" for name, count in result.splits.items())
    without = result.images - sum(classes.values())
    return (
        f"{counted(len(classes), 'class')}: {listed}"
        + (f" ({splits})" if splits else "")
        + (f"; {counted(without, 'image')} without a class" if without else "")
    )


def render_verification(result: Verification) -> str:
    """The counts, what was checked, then each finding with its remedy."""
    counts = [f"{result.done:,} embedded", f"{result.failed:,} that can't be read"]
    lines = [
        f"{result.file}: {result.images:,} images ({counts[0]}, {counts[1]}, "
        f"{result.waiting:,} waiting), checked in {result.seconds:.1f} s"
    ]
    lines.append(
        f"checked in every row of {', '.join(result.tables)}: mark of completion, finite values, "
        "checksum"
    )
    if result.source is not None:
        again = "no image embedded again"
        if result.smallest_cosine is not None:
            again = (
                f"{counted(result.sampled, 'image')} embedded again (smallest cosine similarity "
                f"{result.smallest_cosine:.6f}, largest difference of a value "
                f"{result.largest_difference:.2g})"
            )
        lines.append(f"{result.source}: every image compared by its sha256; {again}")
    lines += [_finding(each) for each in result.findings] or ["no problems found"]
    if result.mended:
        lines.append(
            f"\n{counted(result.mended, 'row')} marked as missing; the next `extract` computes "
            "them again"
        )
    return "\n".join(lines)


_NAMED = 5  # ids of a finding; --json has all


def _finding(finding: Finding) -> str:
    return (
        f"\n{finding.kind}: {counted(len(finding.ids), 'image')} {finding.what}\n"
        f"  {some_of(finding.ids, _NAMED)}\n  what to do: {finding.remedy}"
    )


def render_merging(merging: Merging) -> str:
    """The merged file, its size and its shards."""
    size = f"{merging.done:,} of {merging.images:,} rows, {merging.bytes / 1e6:,.1f} MB"
    if not merging.shards:
        return f"{merging.file}: {size}; it has no shards"
    if not merging.in_place:
        shards = ""
    elif merging.kept:
        shards = f"; {merging.kept} are kept, because another file in the folder refers to them"
    else:
        shards = ", which were removed"
    return f"{merging.file}: {size}, merged from {counted(merging.shards, 'shard')}{shards}"
