"""The first batches of a new file, embedded while its folder is still being listed and hashed.

A file has a place for every row from the start, so it can't be made before all images are known.
What a head start embeds waits in memory until then, and is lost if the run ends before: so it is
no more than some megabytes and a minute's work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from tlfeatures.errors import StoppedError
from tlfeatures.features.batches import (
    batch_size_for,
    checked_batch_size,
    decode_ahead,
    readable,
)
from tlfeatures.features.engines.load import load_backbone
from tlfeatures.features.file.store import partial_path
from tlfeatures.features.forward import Forward, Values
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.identify import UNREADABLE, Scan
from tlfeatures.features.plan import Means, Settings, Task, new_spec

Early = dict[bytes, Values]  # sha256 of an image -> what was embedded of it

PATIENCE = 1.0  # seconds, after which a folder is one whose listing takes long
KEPT_BYTES = 4 * 2**20
_LONGEST = 60.0  # seconds; after these, or so many bytes, the rest of the listing is waited for
_ASKING = 0.2  # seconds between two questions whether to stop


def head_start(
    scan: Scan,
    target: Path,
    settings: Settings,
    means: Means,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
    few_levels: list[tuple[Task, FewLevels]],
) -> Early:
    """Embed what comes first, as long as more is being found.

    Images come in the order that they have in the file, so that these batches are the very ones
    that would be embedded first anyway. Where the whole folder is soon known no backbone is loaded;
    and none for a file that is there already: it may lack nothing.

    Parameters
    ----------
    scan : Scan
    target : Path
    settings : Settings
    means : Means
    progress : callable (images done, images found so far)
    stop : callable
        Asked before each batch, and while the rest of the listing is waited for.
    few_levels : list
        Gets the embedded images with few grey levels.

    Returns
    -------
    dict of sha256 to Values

    Raises
    ------
    StoppedError
    """
    early: Early = {}
    if target.exists() or partial_path(target).exists():
        return early
    pulled: list[Task] = []
    tasks = _new(scan, pulled)
    first = list(islice(tasks, checked_batch_size(means.batch_size)))
    if scan.ends_within(PATIENCE):
        return early
    embeddings, spec = new_spec(settings, means.device)
    if spec.precision == "int8":  # calibrated on a sample of all images
        return early
    backbone = load_backbone(spec, list(embeddings), device=means.device)
    files = ((task, task.image.location, task.digest) for task in chain(first, tasks))
    # It waits for no more images than two batches have: the next may be long in coming.
    decoded = decode_ahead(
        files, spec.size, spec.augmentation, len(first), means.max_pixels, spec.value_range
    )
    found: list[tuple[Task, FewLevels]] = []
    images = readable(decoded, [], found)
    most = batch_size_for(sys.maxsize, means.batch_size, backbone.most)
    forward = Forward(backbone, most)
    kept, started = 0, time.monotonic()
    _look(stop, early)
    for batch, values in forward.all(images):
        if pulled[-1].place + 1 < most // (1 + spec.variants):  # all there is has another shape
            break
        for number, task in enumerate(batch):
            early[task.digest] = {name: each[number] for name, each in values.items()}
        kept += sum(each.nbytes for each in values.values())
        progress(len(early), scan.count)
        long = kept > KEPT_BYTES or time.monotonic() - started > _LONGEST
        if scan.finished or long:
            break
        _look(stop, early)
    few_levels += [each for each in found if each[0].digest in early]
    while not scan.ends_within(_ASKING):
        _look(stop, early)
    return early


def _look(stop: Callable[[], bool], early: Early) -> None:
    if stop():
        lost = f"; {len(early):,} images that were embedded are not kept" if early else ""
        raise StoppedError(f"Stopped while the folder was being listed{lost}")


def _new(scan: Scan, pulled: list[Task]) -> Iterator[Task]:
    """Give what a plan for a new file gives, as far as it is known; `pulled` has the last one."""
    seen = set()
    for place, (image, digest) in enumerate(
        (image, digest) for image, digest in scan.arriving() if digest not in seen
    ):
        if digest != UNREADABLE:
            seen.add(digest)
        pulled[:] = [Task(image, digest, place=place)]
        yield pulled[0]
