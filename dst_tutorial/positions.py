"""Sets of positions, in memory proportional to the set and never to the space it is drawn from.

A *position* is an index into a weight tensor flattened in row-major order. A layer of a million positions of which
50,000 are active is handled through those 50,000 numbers, so the same code serves simulated and truly sparse layers.
"""

import math
from fractions import Fraction
from numbers import Integral

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


def group_sizes(shape: torch.Size, structure: int | str) -> Tensor:
    """How many consecutive positions each group of a weight has: int64 [groups]. In a group so many are active as in
    any other of the layer, or all of it where it is shorter.

    "row": all that a unit reads (constant fan-in, Lasby et al., arXiv 2305.02299). A number M: so many inputs of a unit
    (N:M, Mishra et al., arXiv 2104.08378); what is left at the end of a row is a shorter group. ValueError otherwise.
    """
    if structure != ROW and not (isinstance(structure, Integral) and structure > 1):
        raise ValueError(f'structure is "{ROW}" or how many inputs make a group, at least 2; got {structure!r}')
    width = shape[1:].numel()
    size = width if structure == ROW else min(int(structure), width)
    whole, rest = divmod(width, size) if size else (0, 0)
    return torch.tensor(whole * [size] + [rest] * (rest > 0), dtype=torch.int64, device="cpu").repeat(shape[0])


def draw_in_groups(sizes: Tensor, wanted: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """`wanted[i]` distinct ones of the `sizes[i]` positions of group i, the groups lying one behind the other: every
    subset equally likely, sorted int64, in memory proportional to the number of draws.

    Robert Floyd's algorithm, in all groups at once: draw from ever longer ranges; who is there already gives way to the
    range's end (Bentley, "A sample of brilliance", CACM 1987).
    """
    if (wanted > sizes).any() or (wanted < 0).any():
        raise ValueError("cannot draw more distinct positions out of a group than it has")
    most = int(wanted.max()) if len(wanted) else 0
    drawn = torch.full((len(sizes), most), -1, dtype=torch.int64, device="cpu")
    for j in range(most):
        last = sizes - wanted + j  # of the range to draw from
        share = torch.rand(len(sizes), generator=generator, dtype=torch.float64, device="cpu")
        one = torch.minimum((share * (last + 1)).long(), last)
        one = torch.where((drawn == one[:, None]).any(1), last, one)
        drawn[:, j] = torch.where(j < wanted, one, -1)
    starts = sizes.cumsum(0) - sizes
    return (drawn + starts[:, None])[drawn >= 0].sort().values


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
