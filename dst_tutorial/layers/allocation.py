"""Allocation: how a budget of active weights is divided among the layers.

An allocation is a function of the layers' weight shapes and the sparsity; it returns the active weights of each layer.
Equal weights are not equal compute: a weight of a convolution is used at every pixel (`ledger.macs` counts it).
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from numbers import Integral

import torch
from torch import Tensor

from ..positions import exact, exact_floor

Shapes = Mapping[str, torch.Size]
Counts = dict[str, int]


def uniform(shapes: Shapes, sparsity: float) -> Counts:
    """The slides' allocation: every layer loses the same share, n - floor(sparsity * n) weights stay."""
    return {name: shape.numel() - exact_floor(sparsity, shape.numel()) for name, shape in shapes.items()}


def er(shapes: Shapes, sparsity: float) -> Counts:
    """Erdős-Rényi, of SET: density eps (n_in + n_out) / (n_in n_out), of a convolution's channels.

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity inspired
    by network science", Nature Communications 2018, arXiv 1707.04780; for convolutions as in arXiv 1911.11134.
    """
    return spread(budget(shapes, sparsity), shapes, {n: (s[0] + s[1]) * s[2:].numel() for n, s in shapes.items()})


def erk(shapes: Shapes, sparsity: float) -> Counts:
    """Erdős-Rényi-Kernel, of RigL: density eps (n_in + n_out + height + width) / (n_in n_out height width).

    So a layer's active weights grow with the *sum* of its weight's dimensions. Source: Evci et al., "Rigging the
    Lottery: Making All Tickets Winners", ICML 2020, arXiv 1911.11134.
    """
    return spread(budget(shapes, sparsity), shapes, {name: sum(shape) for name, shape in shapes.items()})


def tapered(shapes: Shapes, sparsity: float) -> Counts:
    """ER whose shares halve from layer to layer: more for what reads the image, less for the wide layers behind it.

    Ours, for networks whose last layers are wider than their task needs. It shares as in `er` before that.
    """
    deepest = len(shapes) - 1
    scores = {n: (s[0] + s[1]) * s[2:].numel() << deepest - depth for depth, (n, s) in enumerate(shapes.items())}
    return spread(budget(shapes, sparsity), shapes, scores)


ALLOCATIONS: dict[str, Callable[[Shapes, float], Counts]] = {
    "uniform": uniform,
    "er": er,
    "erk": erk,
    "tapered": tapered,
}


def budget(shapes: Shapes, sparsity: float) -> int:
    """The active weights of all layers together: (1 - sparsity) of them, rounded."""
    return round((1 - exact(sparsity)) * _total(shapes))


def spread(budget: int, shapes: Shapes, scores: Mapping[str, int]) -> Counts:
    """Exactly `budget` active weights, in proportion to `scores`, but no layer above its size.

    A layer whose share would pass its size becomes dense, and the others share what is left, until none passes.
    Fractions are exact; what rounding down leaves over goes to the largest remainders, one weight a layer.
    """
    shares: dict[str, Fraction] = {}
    free = list(shapes)
    while free:
        left = budget - sum(shares.values())
        scale = Fraction(left, sum(scores[name] for name in free))
        full = [name for name in free if scale * scores[name] >= shapes[name].numel()]
        shares |= {name: Fraction(shapes[name].numel()) for name in full}
        if not full:
            shares |= {name: scale * scores[name] for name in free}
            break
        free = [name for name in free if name not in full]
    counts = {name: int(shares[name]) for name in shapes}
    over = budget - sum(counts.values())
    for name in sorted(shapes, key=lambda name: counts[name] - shares[name])[:over]:
        counts[name] += 1
    return counts


def in_groups(count: int, sizes: Tensor) -> Tensor:
    """How many of each group are active: as many in all, up to its size, and together as near to `count` as possible.

    At least one, unless the layer has none.
    """
    longest = int(sizes.max()) if count else 0
    each, total = longest, int(sizes.sum())
    while each > 1 and abs(int(sizes.clamp(max=each - 1).sum()) - count) <= abs(total - count):
        each -= 1
        total = int(sizes.clamp(max=each).sum())
    return sizes.clamp(max=each)


def allocate(shapes: Shapes, sparsity: float, divide: Callable[[Shapes, float], Counts],
             densities: Mapping[str, float]) -> Counts:  # fmt: skip
    """Active weights by layer: those with a density of their own, and the others as `divide` shares what is left.

    In `densities` "first" and "last" stand for the first and the last layer, if no layer has that name. ValueError for
    an unknown layer, densities that leave too much or too little for the others, or counts that no layer can have.
    """
    names = list(shapes)
    if not densities:
        return _checked(divide(shapes, sparsity), shapes)
    aliases = {"first": names[0], "last": names[-1]} | {name: name for name in names}
    own = {aliases.get(name, name): density for name, density in densities.items()}
    if len(own) < len(densities):
        raise ValueError(f"densities name one layer twice: {', '.join(densities)}")
    if unknown := own.keys() - shapes.keys():
        raise ValueError(f"densities of unknown layers {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if bad := [density for density in own.values() if not 0 <= density <= 1]:
        raise ValueError(f"a density is the fraction of active weights and must be in [0, 1], got {bad[0]!r}")
    fixed = {name: round(exact(density) * shapes[name].numel()) for name, density in own.items()}
    others = {name: shape for name, shape in shapes.items() if name not in fixed}
    left, room = budget(shapes, sparsity) - sum(fixed.values()), _total(others)
    if not 0 <= left <= room:
        raise ValueError(
            f"a sparsity of {float(sparsity):g} allows {budget(shapes, sparsity):,} active weights; the given "
            f"densities hold {sum(fixed.values()):,}, and the other layers have room for {room:,}"
        )
    if divide is uniform:  # which rounds up in each layer, as the slides do; here the budget is exact
        rest = spread(left, others, {name: shape.numel() for name, shape in others.items()})
    else:
        rest = divide(others, 1 - Fraction(left, room)) if others else {}
    counts = fixed | _checked(rest, others)
    return {name: counts[name] for name in shapes}


def _checked(counts: Counts, shapes: Shapes) -> Counts:
    """An allocation may be a reader's own."""
    wrong = [n for n, s in shapes.items() if not (isinstance(counts.get(n), Integral) and 0 <= counts[n] <= s.numel())]
    if wrong:
        raise ValueError(
            f"the allocation must give {wrong[0]} a whole number of active weights from 0 to "
            f"{shapes[wrong[0]].numel()}, got {counts.get(wrong[0])!r}"
        )
    return counts


def _total(shapes: Shapes) -> int:
    return sum(shape.numel() for shape in shapes.values())
