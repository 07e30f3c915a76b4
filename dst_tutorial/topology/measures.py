"""Measures of a topology and of how it moves, computed from snapshots of the masks.

A snapshot is kept as the positions of the active weights, so that every measure costs what is active and never what
could be: it makes no difference whether a layer stores a mask or indices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from torch import nn


@dataclass(frozen=True, eq=False)
class Mask:
    """A layer's mask at one time: a copy, which later updates of the layer do not touch."""

    positions: np.ndarray  # of the active weights, sorted, in the flattened weight; int32 where that is enough
    shape: tuple[int, ...]

    @classmethod
    def of(cls, mask: ArrayLike) -> "Mask":
        """From a bool array of the weight's shape."""
        mask = np.asarray(mask, dtype=bool)
        return cls.at(mask.ravel().nonzero()[0], mask.shape)

    @classmethod
    def at(cls, positions: ArrayLike, shape: Sequence[int]) -> "Mask":
        """From the sorted positions of the active weights, and the weight's shape."""
        shape = tuple(int(size) for size in shape)
        kind = np.int32 if np.prod(shape, dtype=object) < 2**31 else np.int64
        return cls(np.asarray(positions).astype(kind), shape)

    def unpack(self) -> np.ndarray:
        """bool, of the layer's weight shape."""
        mask = np.zeros(self.size, dtype=bool)
        mask[self.positions] = True
        return mask.reshape(self.shape)

    @property
    def size(self) -> int:
        """All positions, active or not."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def active(self) -> int:
        return len(self.positions)


Masks = dict[str, Mask]  # by layer name


def masks_of(model: nn.Module) -> Masks:
    """Snapshot of all masks of `model`, by layer name."""
    return {
        name: Mask.at(layer.active_positions().cpu().numpy(), layer.weight_shape)
        for name, layer in model.named_modules()
        if hasattr(layer, "active_positions")
    }


# --- how alike two topologies are -------------------------------------------------------------------------------------


def overlap(before: Masks, after: Masks) -> float:
    """Share of the active connections of `before` that are active in `after` too (all layers together)."""
    return _common(before, after) / _active(before)


def jaccard(one: Masks, other: Masks) -> float:
    """Connections active in both topologies / in at least one: 1 if they are equal, 0 if they share nothing.

    Two independent random masks of density d come to d / (2 - d): 2.6% at 95% sparsity.
    """
    common = _common(one, other)
    return common / (_active(one) + _active(other) - common)


def _active(masks: Masks) -> int:
    if not (active := sum(mask.active for mask in masks.values())):
        raise ValueError("these masks have no active connection: there is nothing to take a share of")
    return active


def _common(one: Masks, other: Masks) -> int:
    if {name: mask.shape for name, mask in one.items()} != {name: mask.shape for name, mask in other.items()}:
        raise ValueError("these are not masks of the same layers: their names or shapes differ")
    return sum(len(_both(mask.positions, other[name].positions)) for name, mask in one.items())


def _both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.intersect1d(a, b, assume_unique=True)


# --- how a topology moved: over snapshots, one at the start and one after every topology update -----------------------


def exploration_rate(snapshots: Iterable[Masks]) -> float:
    """ITOP's R_s: the share of all positions that were active in at least one snapshot.

    With a snapshot at the start and after every topology update it is exact. Source: Liu et al., "Do We Actually Need
    Dense Over-Parameterization? In-Time Over-Parameterization in Sparse Training", arXiv 2102.02887.
    """
    rates = list(exploration(snapshots))
    if not rates:
        raise ValueError("there are no snapshots: a dense network has none")
    return rates[-1]


def exploration(snapshots: Iterable[Masks]) -> Iterable[float]:
    """R_s up to each snapshot in turn."""
    seen: dict[str, np.ndarray] = {}
    for masks in snapshots:
        for name, mask in masks.items():
            seen[name] = np.union1d(seen[name], mask.positions) if name in seen else mask.positions
        yield sum(map(len, seen.values())) / sum(mask.size for mask in masks.values())


def survival(snapshots: Iterable[Masks]) -> list[float]:
    """For each snapshot, the share of the first connections that have been active ever since.

    `overlap` with the first snapshot is larger where some were dropped and came back.
    """
    first, left, shares = 0, {}, []
    for masks in snapshots:
        left = {name: _both(left.get(name, mask.positions), mask.positions) for name, mask in masks.items()}
        first = first or _active(masks)
        shares.append(sum(map(len, left.values())) / first)
    return shares


def ages(snapshots: Sequence[Masks]) -> dict[str, np.ndarray]:
    """How many updates ago each connection of the last snapshot was grown: layer -> int64 [active], as its positions.

    The first connections count from the first snapshot: theirs is the number of updates, the largest age there is.
    A connection that was dropped and grown again in one update cannot be told from one that stayed.
    """
    age: dict[str, np.ndarray] = {}
    for before, after in pairwise([None, *snapshots]):
        for name, mask in after.items():
            older = np.zeros(mask.active, dtype=np.int64)
            if before is not None:
                _, now, then = np.intersect1d(
                    mask.positions, before[name].positions, assume_unique=True, return_indices=True
                )
                older[now] = age[name][then] + 1
            age[name] = older
    return age


def returns(snapshots: Sequence[Masks]) -> list[tuple[int, int]]:
    """For each update: (connections grown, those of them that had been active at some earlier time)."""
    seen: dict[str, np.ndarray] = {}
    counts = []
    for before, after in pairwise(snapshots):
        grown = back = 0
        for name, mask in after.items():
            seen[name] = np.union1d(seen.get(name, mask.positions[:0]), before[name].positions)
            new = np.setdiff1d(mask.positions, before[name].positions, assume_unique=True)
            grown += len(new)
            back += len(_both(new, seen[name]))
        counts.append((grown, back))
    return counts


def changes(before: Mask, after: Mask) -> np.ndarray:
    """What a topology update did to each weight: uint8 of the layer's shape, an index into `CHANGES`."""
    was, now = before.unpack(), after.unpack()
    return np.select([was & now, was & ~now, ~was & now], [1, 2, 3], 0).astype(np.uint8)


CHANGES = ("inactive", "active", "dropped", "grown")


def share_by_cell(positions: np.ndarray, shape: tuple[int, int], block: tuple[int, int]) -> np.ndarray:
    """Of a matrix of `shape`, cut into blocks: which share of each block's elements are among `positions`.

    float64 [blocks down, blocks across]; the last ones may be smaller. It costs what the positions cost.
    """
    rows, columns = np.divmod(positions, shape[1])
    down, across = (-(-size // step) for size, step in zip(shape, block, strict=True))
    counts = np.bincount(rows // block[0] * across + columns // block[1], minlength=down * across)
    heights, widths = (
        np.minimum(step, size - step * np.arange(count))
        for size, step, count in zip(shape, block, (down, across), strict=True)
    )
    return counts.reshape(down, across) / np.outer(heights, widths)


# --- neurons ----------------------------------------------------------------------------------------------------------


def in_degrees(mask: Mask) -> np.ndarray:
    """Active connections into each unit (a filter's, over its whole kernel): int64 [units]."""
    return np.bincount(mask.positions // _width(mask), minlength=mask.shape[0])


def out_degrees(mask: Mask) -> np.ndarray:
    """Active connections out of each input (for a convolution without groups: of each channel): int64 [inputs]."""
    return np.bincount(_inputs(mask), minlength=mask.shape[1])


def _width(mask: Mask) -> int:
    return int(np.prod(mask.shape[1:], dtype=object))


def _inputs(mask: Mask) -> np.ndarray:
    """The input (or channel) that each active weight reads: [active]."""
    return mask.positions % _width(mask) // int(np.prod(mask.shape[2:], dtype=object))


def paths(masks: Masks) -> np.ndarray:
    """How many paths of active connections lead from each input of the network to its outputs: float64 [inputs].

    `masks` are a chain of layers, as for `neurons`. Exact up to 2^53. An input without a path is not used at all.
    """
    layers = list(_chain(masks).values())
    onward = np.ones(layers[-1].shape[0])
    for mask, before in zip(layers[::-1], [*layers[-2::-1], None], strict=True):
        onward = np.bincount(_inputs(mask), onward[mask.positions // _width(mask)], minlength=mask.shape[1])
        if before is not None:  # a flattened channel is so many inputs
            onward = onward.reshape(before.shape[0], -1).sum(1)
    return onward


@dataclass(frozen=True, eq=False)
class Neurons:
    """What a layer's units can do for the network, by its connections alone: bool [units] each."""

    unreachable: np.ndarray  # no path leads to it from the network's inputs: it can only say its bias
    unread: np.ndarray  # no path leads from it to the network's outputs: whatever it says, nobody hears

    @property
    def dead(self) -> np.ndarray:
        """Unreachable or unread: nothing of the input goes through it to the outputs (at most its bias does)."""
        return self.unreachable | self.unread


def neurons(masks: Masks) -> dict[str, Neurons]:
    """Unreachable and unread units of a chain of layers: layer -> Neurons.

    `masks` in the order of the layers, each reading the one before it (a flattened convolution, too, whose channels
    are then so many inputs each). ValueError where the sizes do not fit such a chain; a connection that skips a layer
    of fitting size cannot be seen in the masks, and what goes along it does not count.
    """
    layers = list(_chain(masks).items())
    reached, reachable = np.ones(layers[0][1].shape[1], dtype=bool), {}
    for name, mask in layers:
        source = reached.repeat(mask.shape[1] // len(reached))
        reached = np.zeros(mask.shape[0], dtype=bool)
        reached[(mask.positions // _width(mask))[source[_inputs(mask)]]] = True
        reachable[name] = reached
    heard, read = np.ones(layers[-1][1].shape[0], dtype=bool), {}
    for i in range(len(layers) - 1, -1, -1):
        name, mask = layers[i]
        read[name] = heard
        sources = np.zeros(mask.shape[1], dtype=bool)
        sources[_inputs(mask)[heard[mask.positions // _width(mask)]]] = True
        if i:
            heard = sources.reshape(layers[i - 1][1].shape[0], -1).any(1)
    return {name: Neurons(~reachable[name], ~read[name]) for name in masks}


def _chain(masks: Masks) -> Masks:
    """The masks themselves, if each layer can read the one before it."""
    for (name, before), (later, after) in pairwise(masks.items()):
        if after.shape[1] % before.shape[0]:
            raise ValueError(
                f"{later} reads {after.shape[1]} inputs and {name} has {before.shape[0]} units: not a chain of layers"
            )
    return masks
