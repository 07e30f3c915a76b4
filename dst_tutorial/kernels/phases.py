"""What of a pass may be done at once, and in how many parts.

A batch of many tiles is divided by its samples, and each part goes through all layers. In a small one, the usual batch
of a training, half the samples would take far more than half the time, as each part would walk along all connections:
there convolutions are divided by slices of samples, and linear layers by their units. Units of one layer meet in the
gradient of its inputs alone: each part adds to one of its own, and the layer below adds these up.
"""

from functools import lru_cache

import numpy as np

from .steps import ADD, LANES, PACK, PHASE, ROWS, SLICES, TILE, UNPACK, WHOLE, Phase

ENOUGH = 500_000  # multiplications of a pass that are worth a helper
SHARE = 100_000  # those that are worth a part
COLLECT = 10  # those that adding up a feature's gradient for a sample takes, for each part that has added to it


def threads_for(multiplications: int, threads: int) -> int:
    """How many of so many threads a pass is worth."""
    return max(1, min(threads, multiplications // ENOUGH))


@lru_cache(maxsize=1024)
def forward(convolutions: int, work: tuple[int, ...], samples: int, threads: int) -> np.ndarray:
    """The phases of a forward pass. `work`: multiplications of each layer for a sample; convolutions come first."""
    if _is_whole(samples, threads):
        return _table([Phase(_whole_parts(samples, threads), WHOLE)])
    phases, layers = [], len(work)
    for begin in range(0, samples, TILE):
        n = min(TILE, samples - begin)
        if convolutions:
            phases.append(Phase(_parts(sum(work[:convolutions]) * n, min(threads, -(-n // LANES))), SLICES, 0, begin))
        else:
            phases.append(Phase(1, PACK, 0, begin))
        phases += [Phase(_parts(work[i] * n, threads), ROWS, i, begin) for i in range(convolutions, layers)]
        if convolutions < layers:
            phases.append(Phase(1, UNPACK, 0, begin))
    return _table(phases)


@lru_cache(maxsize=1024)
def backward(convolutions: int, work: tuple[int, ...], reads: tuple[int, ...], samples: int, threads: int, stop: int,
             wants_x: bool) -> np.ndarray:  # fmt: skip
    """The phases of a backward pass down to layer `stop`; of the same samples and threads as the forward pass.

    `reads`: features that each layer reads. Their gradient is added up afterwards, and by a rule of thumb no part has
    less to multiply than that takes for it.
    """
    layers = len(work)
    if _is_whole(samples, threads):
        parts = _whole_parts(samples, threads)
        return _table([Phase(parts, WHOLE), *([Phase(parts, ADD, layers, rooms=parts)] if parts > 1 else [])])
    phases, sums = [], 1
    for begin in range(0, samples, TILE):
        n, rooms = min(TILE, samples - begin), 1
        if convolutions < layers:
            phases.append(Phase(1, PACK, 0, begin))
        for i in range(layers - 1, max(stop, convolutions) - 1, -1):
            most = min(threads, 2 * work[i] // max(1, COLLECT * reads[i])) if wants_x or i > stop else threads
            parts = _parts(2 * work[i] * n, most)
            phases.append(Phase(parts, ROWS, i, begin, rooms))
            rooms = parts
        if stop < convolutions:
            parts = _parts(2 * sum(work[stop:convolutions]) * n, min(threads, -(-n // LANES)))
            phases.append(Phase(parts, SLICES, 0, begin, rooms))
            sums = max(sums, parts)
        elif wants_x:
            phases.append(Phase(1, UNPACK, 0, begin, rooms))
    return _table([*phases, *([Phase(1, ADD, 0, rooms=sums)] if sums > 1 else [])])


def uneven(samples: int, threads: int) -> int:
    """By how many samples the largest part of a pass exceeds the smallest."""
    if not _is_whole(samples, threads):
        return 0
    parts = _whole_parts(samples, threads)
    largest = min(samples, -(-samples // (LANES * parts)) * LANES)
    return largest - max(0, samples - (parts - 1) * largest)


@lru_cache(maxsize=64)
def of_some(*kinds_and_parts: tuple[int, int]) -> np.ndarray:
    """Phases of these kinds and numbers of parts."""
    return _table([Phase(parts, kind) for kind, parts in kinds_and_parts])


def _is_whole(samples: int, threads: int) -> bool:
    return threads == 1 or -(-samples // TILE) >= threads


def _whole_parts(samples: int, threads: int) -> int:
    return max(1, min(threads, -(-samples // LANES)))


def _parts(multiplications: int, most: int) -> int:
    return max(1, min(most, multiplications // SHARE))


def _table(phases: list[Phase]) -> np.ndarray:
    return np.array(phases, np.int64).view(PHASE)[:, 0]
