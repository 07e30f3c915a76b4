"""The rules of a topology update: which connections are dropped, which are grown, and how many as time goes by.

A rule knows a layer only through the protocol `Rewirable`, so that it chooses the same connections whatever form the
layer is stored in. `engine.py` calls the rules, `algorithms.py` has the choices that have names.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..choices import choose
from ..positions import ROW, absent, draw_distinct, draw_in_groups, exact_floor, group_sizes


class Rewirable(Protocol):
    """What the engine asks of a layer. Positions are sorted int64, row-major in the layer's weight tensor."""

    weight_shape: torch.Size
    active_weights: int
    parameter: nn.Parameter  # what the optimiser holds

    def active_positions(self) -> Tensor:
        """int64 [active_weights], sorted."""

    def active_values(self) -> Tensor:
        """The weights at `active_positions()`, detached."""

    def watch(self, on: bool) -> None:
        """Keep, or no longer keep, what the coming backward pass tells of the gradient of *all* weights."""

    def gradient_blocks(self) -> Iterator[tuple[int, Tensor]] | None:
        """The watched gradient of all weights, inactive ones too, some rows at a time: (first position, flat block).

        None if there is none.
        """

    def gradient_at(self, positions: Tensor) -> Tensor:
        """The watched gradient at these positions."""

    def rewire(self, drop: Tensor, grow: Tensor, values: Tensor, moments: list[Tensor], reset: bool) -> None:
        """Drop the connections at `drop`, then grow those at `grow` with `values`.

        `moments` are the optimiser's states of the shape of `parameter`: each follows its connection, and with `reset`
        becomes zero where connections came or went. `parameter` may be another one afterwards.
        """

    def clear_inactive(self) -> None:
        """Set stored weights of inactive connections to exact zeros (nothing to do where none are stored)."""


# --- drop: which connections go. (layer, fraction, generator) -> positions --------------------------------------------


def by_magnitude(layer: Rewirable, fraction: float | Fraction, generator: torch.Generator | None = None) -> Tensor:
    """Drop the floor(fraction * active) smallest |w|. Of equal ones the first positions go."""
    return _nearest_to_zero(layer.active_positions(), layer.active_values(), fraction)


def by_lot(layer: Rewirable, fraction: float | Fraction, generator: torch.Generator) -> Tensor:
    """Drop floor(fraction * active) connections, each equally likely: the control of the other rules."""
    active = layer.active_positions()
    return active[draw_distinct(len(active), exact_floor(fraction, len(active)), generator).to(active.device)]


def by_sign(layer: Rewirable, fraction: float | Fraction, generator: torch.Generator | None = None) -> Tensor:
    """SET's drop: that fraction of the positive weights, and of the negative ones; each time those nearest to zero.

    A weight of exactly zero counts as positive.
    """
    positions, values = layer.active_positions(), layer.active_values()
    halves = [_nearest_to_zero(positions[sign], values[sign], fraction) for sign in (values >= 0, values < 0)]
    return torch.cat(halves).sort().values


def _nearest_to_zero(positions: Tensor, values: Tensor, fraction: float | Fraction) -> Tensor:
    magnitudes = values.abs().nan_to_num(nan=math.inf, posinf=math.inf)  # NaN is far from zero
    return positions[_largest(-magnitudes, exact_floor(fraction, len(positions)))]


def _largest(scores: Tensor, count: int) -> Tensor:
    """The places of the `count` largest, in order; of equal ones the first. Without a sort: in linear time."""
    if not count:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    least = scores.topk(count, sorted=False).values.min()
    chosen = scores > least
    equal = (scores == least).nonzero().flatten()
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen.nonzero().flatten()


WIDEST = 2**28  # positions whose gradients are all looked at: some seconds a layer of that size, at a batch of 64
CANDIDATES = 10  # for each connection to grow, beyond that

# --- grow: which connections come. (layer, taken, count, generator) -> so many positions, none of them in `taken` -----


def at_random(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Grow `count` connections, each position outside `taken` equally likely (SET, slides)."""
    taken = taken.sort().values
    ranks = draw_distinct(layer.weight_shape.numel() - len(taken), count, generator)
    return absent(taken, ranks.to(taken.device))


def needs_gradient(rule: Callable) -> Callable:
    """Mark a growth rule that reads `layer.gradient_blocks()`: the engine then has it watched."""
    rule.needs_gradient = True
    return rule


@needs_gradient
def by_gradient(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Grow the `count` connections outside `taken` with the largest |gradient| (RigL). Of equal ones the first.

    Exact, and never more than a block and the best `count` so far in memory: the blocks stream by. In layers of more
    than `WIDEST` positions an approximation: of `CANDIDATES` times as many, drawn at random, the largest.
    """
    blocks = _gradients(layer)
    if layer.weight_shape.numel() > WIDEST:
        drawn = min(CANDIDATES * count, layer.weight_shape.numel() - len(taken))
        candidates = at_random(layer, taken, drawn, generator)
        return candidates[_largest(_size(layer.gradient_at(candidates)), count)]
    taken = taken.sort().values
    best = torch.empty(0, dtype=torch.int64, device=taken.device)
    scores = torch.empty(0, dtype=layer.parameter.dtype, device=taken.device)
    for first, block in blocks:
        low, high = torch.searchsorted(taken, torch.tensor([first, first + len(block)], device=taken.device)).tolist()
        found = _size(block)
        found[taken[low:high] - first] = -1  # less than any
        here = (found > (scores.min() if len(best) == count > 0 else -1)).nonzero().flatten()  # of equal ones the first
        best, scores = torch.cat([best, here + first]), torch.cat([scores, found[here]])
        chosen = _largest(scores, min(count, len(scores)))
        best, scores = best[chosen], scores[chosen]
    return best


def _gradients(layer: Rewirable) -> Iterator[tuple[int, Tensor]]:
    if (blocks := layer.gradient_blocks()) is None:
        raise RuntimeError(
            "there is no gradient to grow by. It is seen in the backward pass before an update that is due: mark the "
            "growth rule with @needs_gradient, let all layers take part in that pass, and clear gradients before it"
        )
    return blocks


def within(structure: int | str, by: str = "gradient") -> Callable:
    """A growth rule that keeps the structure of `sparsify(structure=...)`: each group gets back what it lost.

    by      "gradient": in each group the largest |gradient| outside `taken` (SRigL, Lasby et al., ICLR 2024, arXiv
            2305.02299, without its removal of whole units); "random": each as likely
    """
    choose(by, {"gradient": None, "random": None}, "growth")
    group_sizes(torch.Size([1, 1]), structure)  # is there such a structure?

    def rule(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
        taken = taken.sort().values
        sizes = group_sizes(layer.weight_shape, structure)
        wanted = _lost(layer, taken, count, sizes)
        if by == "random":
            free = sizes - _counted(taken, sizes)
            return absent(taken, draw_in_groups(free, wanted, generator).to(taken.device))
        return _largest_of_groups(layer, taken, sizes, wanted)

    rule.__name__ = f"{by} by {structure}"
    return needs_gradient(rule) if by == "gradient" else rule


def _largest_of_groups(layer: Rewirable, taken: Tensor, sizes: Tensor, wanted: Tensor) -> Tensor:
    rows, width = layer.weight_shape[0], layer.weight_shape[1:].numel()
    size, of_row = int(sizes.max()), len(sizes) // rows
    grown = []
    for first, block in _gradients(layer):
        low, high = torch.searchsorted(taken, torch.tensor([first, first + len(block)], device=taken.device)).tolist()
        scores = _size(block)
        scores[taken[low:high] - first] = -1  # less than any
        groups = F.pad(scores.view(-1, width), (0, of_row * size - width), value=-1).view(-1, size)
        best = groups.argsort(dim=1, descending=True, stable=True)  # of equal ones the first
        begin = first // width * of_row
        here = wanted[begin : begin + len(groups), None].to(best.device)
        group, rank = (torch.arange(size, device=best.device) < here).nonzero().T
        grown.append(first + group // of_row * width + group % of_row * size + best[group, rank])
    return torch.cat(grown)


def _counted(positions: Tensor, sizes: Tensor) -> Tensor:
    """int64 [groups]: how many of the sorted positions each group has."""
    ends = torch.searchsorted(positions.cpu(), sizes.cumsum(0))
    return ends.diff(prepend=ends.new_zeros(1))


def _lost(layer: Rewirable, taken: Tensor, count: int, sizes: Tensor) -> Tensor:
    """int64 [groups]: how many connections each group has to grow."""
    if len(taken) + count != layer.active_weights:
        raise RuntimeError("growth in groups lets a connection that was just dropped return: leave bar_dropped off")
    before = _counted(layer.active_positions(), sizes)
    if not torch.equal(before, sizes.clamp(max=int(before.max()))):
        raise RuntimeError(
            f"its groups of {int(sizes.max())} inputs have not equally many connections to begin with: make it with "
            f"sparsify(..., structure=...) of the same structure"
        )
    return before - _counted(taken, sizes)


def _size(gradients: Tensor) -> Tensor:
    """|gradient|; NaN is as large as infinity: what has gone wrong shows."""
    return gradients.abs().nan_to_num_(nan=math.inf, posinf=math.inf)


DROP: dict[str, Callable] = {"magnitude": by_magnitude, "sign": by_sign, "random": by_lot}
_KEEPING = [within(structure, by) for structure in (ROW, 2, 4, 8, 16, 32) for by in ("gradient", "random")]
GROW: dict[str, Callable] = {"random": at_random, "gradient": by_gradient} | {rule.__name__: rule for rule in _KEEPING}

# --- schedules: progress in [0, 1) up to the last update -> what is left of the drop fraction -------------------------

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,  # RigL
    "linear": lambda progress: 1 - progress,
}
