"""The first batches of a new file, embedded while its folder is still being listed and hashed.

A file has a place for every row from the start, so it can't be made before all images are known.
What a head start embeds waits in memory until then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from tlfeatures.features.backbone import load_backbone
from tlfeatures.features.batches import (
    batch_size_for,
    checked_batch_size,
    decode_ahead,
    readable,
)
from tlfeatures.features.forward import Forward, Values
from tlfeatures.features.images import UNREADABLE, Scan
from tlfeatures.features.plan import Means, Settings, Task, new_spec
from tlfeatures.features.store import partial_path

Early = dict[bytes, Values]  # sha256 of an image -> what was embedded of it

_PATIENCE = 1.0  # seconds, after which a folder is one whose listing takes long
_KEPT_BYTES = 64 * 2**20  # in memory; then the rest of the listing is waited for


def head_start(
    scan: Scan,
    target: Path,
    settings: Settings,
    means: Means,
    progress: Callable[[int, int], None],
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

    Returns
    -------
    dict of sha256 to Values
    """
    early: Early = {}
    if target.exists() or partial_path(target).exists():
        return early
    tasks = _new(scan)
    first = list(islice(tasks, checked_batch_size(means.batch_size)))
    if scan.ends_within(_PATIENCE):
        return early
    embeddings, spec = new_spec(settings, means.device)
    if spec.precision == "int8":  # calibrated on a sample of all images
        return early
    backbone = load_backbone(spec, list(embeddings), device=means.device)
    files = ((task, task.image.path, task.digest) for task in chain(first, tasks))
    # It waits for no more images than a batch needs: the next may be long in coming.
    decoded = decode_ahead(files, spec.size, spec.augmentation, len(first), means.max_pixels)
    images = readable(decoded, [])
    most = batch_size_for(sys.maxsize, means.batch_size, backbone.most)
    forward = Forward(backbone, most)
    kept = 0
    for batch, values in forward.all(images):
        if batch[-1].place + 1 < most // (1 + spec.variants):  # all there is has another shape
            break
        for number, task in enumerate(batch):
            early[task.digest] = {name: each[number] for name, each in values.items()}
        kept += sum(each.nbytes for each in values.values())
        progress(len(early), scan.count)
        if scan.finished or kept > _KEPT_BYTES:
            break
    return early


def _new(scan: Scan) -> Iterator[Task]:
    """Give what a plan for a new file gives, as far as it is known."""
    seen = set()
    for place, (image, digest) in enumerate(
        (image, digest) for image, digest in scan.arriving() if digest not in seen
    ):
        if digest != UNREADABLE:
            seen.add(digest)
        yield Task(image, digest, place=place)
