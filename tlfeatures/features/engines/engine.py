"""What the engines have in common: batches that fit."""

from __future__ import annotations

BATCH_SIZE = 32

_CPU_BYTES = 1.25e9


def fitting_batch(size: tuple[int, int], most: int) -> int:
    """Give the largest power of two, up to `most`, whose feature maps fit into 1.25 GB.

    At once there are two of VGG16's largest maps, 64 channels of float32, and as much to work in.
    """
    fitting = _CPU_BYTES / (3 * 64 * 4 * size[0] * size[1])
    return 1 << max(0, min(int(fitting), most).bit_length() - 1)
