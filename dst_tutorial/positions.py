"""Sets of positions, in memory proportional to the set and never to the space it is drawn from.

A *position* is an index into a weight tensor flattened in row-major order. A layer of a million positions of which
50,000 are active is handled through those 50,000 numbers, so the same code serves simulated and truly sparse layers.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor


def exact(fraction: float | Fraction) -> Fraction:
    """The decimal that was meant by a float: 57/100 for 0.57, which is 0.56999999999999995."""
    return fraction if isinstance(fraction, Fraction) else Fraction(float(fraction)).limit_denominator(10**12)


def exact_floor(fraction: float | Fraction, n: int) -> int:
    """floor(fraction * n) for the decimal that was meant: 0.57 of 100 is 57, where floats give 56.99999999999999."""
    return math.floor(exact(fraction) * n)


def draw_distinct(n: int, k: int, generator: torch.Generator | None = None) -> Tensor:
    """`k` distinct integers of `range(n)`, every subset equally likely: sorted int64 [k], in O(k) memory.

    `torch.randperm(n)[:k]` would do the same with `n` integers in memory.
    """
    if not 0 <= k <= n:
        raise ValueError(f"cannot draw {k} distinct positions out of {n}")
    if 2 * k > n:  # the few that are left out are quicker to draw
        return absent(draw_distinct(n, n - k, generator), torch.arange(k, device="cpu"))
    chosen = torch.empty(0, dtype=torch.int64, device="cpu")
    while len(chosen) < k:  # draw just what is missing, so that no draw is ever thrown away by choice
        more = torch.randint(n, (k - len(chosen),), generator=generator, device="cpu")
        chosen = torch.unique(torch.cat([chosen, more]))
    return chosen


ROW = "row"  # the structure of a constant fan-in
_AT_ONCE = 2**20  # positions


def group_size(shape: torch.Size, structure: int | str) -> int:
    """How many consecutive positions make a group, in which as many are active as in any other of the layer.

    "row": all that a unit reads (constant fan-in, Lasby et al., arXiv 2305.02299); a number M: so many inputs of a unit
    (N:M, Mishra et al., arXiv 2104.08378), or the whole row where M does not divide it.
    """
    if structure != ROW and not (isinstance(structure, int) and structure > 1):
        raise ValueError(f'structure is "{ROW}" or how many inputs make a group, at least 2; got {structure!r}')
    width = shape[1:].numel()
    return width if structure == ROW or width % structure else structure


def draw_in_groups(total: int, group: int, each: int, generator: torch.Generator | None = None) -> Tensor:
    """`each` distinct positions out of every `group` consecutive ones of `range(total)`: sorted int64."""
    if total % group or not 0 <= each <= group:
        raise ValueError(f"cannot draw {each} out of every {group} of {total} positions")
    drawn = torch.empty(0, dtype=torch.int64, device="cpu")
    for first, scores in random_scores(total, group, generator):
        groups = scores.view(-1, group)
        starts = torch.arange(first, first + len(scores), group, device="cpu")[:, None]
        drawn = torch.cat([drawn, (starts + groups.topk(each).indices).flatten()])
    return drawn.sort().values


def random_scores(total: int, group: int, generator: torch.Generator | None = None) -> Iterator[tuple[int, Tensor]]:
    """Numbers of [0, 1) for all positions, some groups at a time: (first position, float64 block)."""
    step = max(1, _AT_ONCE // group) * group
    for first in range(0, total, step):
        size = min(step, total - first)
        yield first, torch.rand(size, generator=generator, dtype=torch.float64, device="cpu")


def absent(present: Tensor, ranks: Tensor) -> Tensor:
    """The positions that have these `ranks` (from 0, in order) among all positions *not* in `present`.

    `present`: sorted distinct int64 [m]; `ranks`: int64 of any shape; returns int64 of that shape.
    Before `present[i]` lie `present[i] - i` absent positions, and that count never falls: a binary search finds how
    many present positions to step over.
    """
    absent_before = present - torch.arange(len(present), device=present.device)
    return ranks + torch.searchsorted(absent_before, ranks, right=True)


def among(sought: Tensor, present: Tensor) -> Tensor:
    """Which of the positions `sought` are in `present` (sorted): bool. `torch.isin` would sort both once more."""
    if not len(present):
        return torch.zeros_like(sought, dtype=torch.bool)
    return present[torch.searchsorted(present, sought).clamp(max=len(present) - 1)] == sought


def left(present: Tensor, gone: Tensor) -> Tensor:
    """Which of `present` (sorted, distinct) are left without those of them that are `gone`: bool."""
    return torch.ones_like(present, dtype=torch.bool).index_fill_(0, torch.searchsorted(present, gone), False)
