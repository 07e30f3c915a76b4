"""Measures of a topology and of how it moves, computed from mask snapshots."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import nn

Masks = dict[str, "PackedMask"]


@dataclass(frozen=True)
class PackedMask:
    """A layer's mask, one bit a weight: a copy, which later updates of the layer do not touch."""

    bits: np.ndarray  # uint8 [ceil(weights / 8)]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, mask: np.ndarray) -> "PackedMask":
        return cls(np.packbits(mask), tuple(mask.shape))

    def unpack(self) -> np.ndarray:
        """bool, of the layer's weight shape."""
        return np.unpackbits(self.bits, count=self.size).astype(bool).reshape(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def active(self) -> int:
        return int(np.bitwise_count(self.bits).sum())


def masks_of(model: nn.Module) -> Masks:
    """Snapshot of all masks of `model`, by layer name."""
    snapshot = {}
    for name, layer in model.named_modules():
        if hasattr(layer, "rewire"):
            mask = np.zeros(layer.weight_shape.numel(), dtype=bool)
            mask[layer.active_positions().cpu().numpy()] = True
            snapshot[name] = PackedMask.of(mask.reshape(layer.weight_shape))
    return snapshot


def overlap(before: Masks, after: Masks) -> float:
    """Share of the active connections of `before` that are active in `after` too (all layers together)."""
    kept = sum(int(np.bitwise_count(mask.bits & after[name].bits).sum()) for name, mask in before.items())
    return kept / sum(mask.active for mask in before.values())


def exploration_rate(snapshots: Iterable[Masks]) -> float:
    """ITOP's R_s: the share of all positions that were active in at least one snapshot.

    With a snapshot at the start and after every topology update it is exact. Source: Liu et al., "Do We Actually Need
    Dense Over-Parameterization? In-Time Over-Parameterization in Sparse Training", arXiv 2102.02887.
    """
    seen: dict[str, np.ndarray] = {}
    total = 0
    for masks in snapshots:
        total = sum(mask.size for mask in masks.values())
        for name, mask in masks.items():
            seen[name] = mask.bits | seen[name] if name in seen else mask.bits
    return sum(int(np.bitwise_count(bits).sum()) for bits in seen.values()) / total


def changes(before: PackedMask, after: PackedMask) -> np.ndarray:
    """What a topology update did to each weight: uint8 of the layer's shape, an index into `CHANGES`."""
    was, now = before.unpack(), after.unpack()
    return np.select([was & now, was & ~now, ~was & now], [1, 2, 3], 0).astype(np.uint8)


CHANGES = ("inactive", "active", "dropped", "grown")
