"""Exercises of notebook 03: solutions, and the checks that tell what is wrong with an answer."""

import math

import torch
from torch import Tensor

from .judging import Verdict, array_of, ask, ask_for_mask, judge, mask_of, parts_of

HINTS = {
    "grow_elsewhere": (
        "Which positions may grow? Those active in neither mask: `~before & ~after`.",
        "`nonzero` of the flattened candidates has their positions; `torch.randperm` with the generator shuffles.",
        "Take the first `count`, and set them in a *copy* of `after`.",
    ),
    "updated": (
        "First drop. Sort the active weights by magnitude, and take the smallest `fraction` of them, rounded down.",
        "Then grow: candidates are all positions that are inactive *after* the drop.",
        "New weights start from zero, and dropped ones become zero: multiply the weight by the mask of what was kept.",
    ),
}


def grow_elsewhere(before: Tensor, after: Tensor, count: int, generator: torch.Generator) -> Tensor:
    free = (~before & ~after).flatten().nonzero().flatten()
    grown = after.clone()
    grown.view(-1)[free[torch.randperm(len(free), generator=generator)[:count]]] = True
    return grown


def check_grow_elsewhere(answer) -> Verdict:
    """`answer(before, after, count, generator)`: the mask with `count` grown, none of them just dropped."""

    def trial(seed: int, share: float) -> str | None:
        generator = torch.Generator().manual_seed(seed)
        before = torch.rand(8, 10, generator=generator, device="cpu") < share
        active = before.flatten().nonzero().flatten()
        count = len(active) // 4
        after = before.clone()
        after.view(-1)[active[:count]] = False
        grown = ask_for_mask(answer, before, after, count, torch.Generator().manual_seed(seed))
        if (after & ~grown).any():
            return "Some connection that was still active is gone. Growing only adds."
        back = int((grown & before & ~after).sum())
        if back:
            return f"{back} of the grown connections had just been dropped: leave out what was active before, too."
        if int(grown.sum() - after.sum()) != count:
            return f"{count} connections should have grown; it was {int(grown.sum() - after.sum())}."
        return None

    def is_random() -> str | None:
        before = torch.zeros(20, 20, dtype=torch.bool, device="cpu")
        one, same, other = (
            ask_for_mask(answer, before, before, 5, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
        )
        if torch.equal(one, other):
            return "Another generator gave the same connections. Choose them at random, with the generator."
        if not torch.equal(one, same):
            return "The same generator gave other connections. Pass the generator on, so that a seed repeats a run."
        few = torch.zeros(1, 4, dtype=torch.bool, device="cpu")
        grown = (ask_for_mask(answer, few, few, 2, torch.Generator().manual_seed(seed)) for seed in range(100))
        if len({tuple(mask.flatten().tolist()) for mask in grown}) < 6:  # a right answer misses a pair once in 10^7
            return "Some pairs of connections never grow together. Draw them all, each set as likely as any other."
        return None

    verdict = judge(
        trial,
        enumerate((0.2, 0.5, 0.7)),
        "Right: no connection returns in the update that dropped it. The engine's `bar_dropped=True` does the same.",
    )
    return judge(is_random, [()], verdict.message) if verdict.passed else verdict


def updated(weight: Tensor, mask: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    active = mask.flatten().nonzero().flatten()
    count = math.floor(fraction * len(active))
    dropped = active[weight.flatten()[active].abs().argsort()[:count]]
    kept = mask.clone()
    kept.view(-1)[dropped] = False
    free = (~kept).flatten().nonzero().flatten()
    grown = free[torch.randperm(len(free), generator=generator)[:count]]
    new_weight, new_mask = weight * kept, kept.clone()
    new_mask.view(-1)[grown] = True
    return new_weight, new_mask


def check_updated(answer) -> Verdict:
    """`answer(weight, mask, fraction, generator)`: weight and mask after a topology update."""

    def asked(weight: Tensor, mask: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
        found = ask(answer, weight, mask, fraction, torch.Generator().manual_seed(seed))
        new_weight, new_mask = parts_of(found, "the new weight", "the new mask")
        return (
            torch.from_numpy(array_of(new_weight, "The new weight", weight.shape).astype("float64")),
            torch.from_numpy(mask_of(new_mask, "The new mask", mask.shape)),
        )

    def trial(seed: int, share: float, fraction: float) -> str | None:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.rand(9, 11, generator=generator, device="cpu") < share
        weight = torch.randn(9, 11, generator=generator, device="cpu") * mask
        new_weight, new_mask = asked(weight, mask, fraction, seed)
        active, count = weight[mask].abs().sort().values, math.floor(fraction * int(mask.sum()))
        stays = mask & (weight.abs() > (active[count - 1] if count else -1))
        if int(new_mask.sum()) != int(mask.sum()):
            return f"{int(mask.sum())} connections before and {int(new_mask.sum())} after: grow as many as you drop."
        if not new_mask[stays].all():
            return f"Only the {count} smallest of {len(active)} active weights should go (fraction {fraction})."
        if (new_weight[~new_mask] != 0).any():
            return "An inactive position has a weight that is not zero."
        if not torch.allclose(new_weight[stays], weight[stays].double(), rtol=1e-5):
            return "A connection that stays should keep its weight."
        if (new_weight[new_mask & ~stays] != 0).any():
            return "A grown connection should start from zero, one that was just dropped, too."
        return None

    def is_random() -> str | None:
        weight, mask = torch.ones(20, 20, device="cpu"), torch.ones(20, 20, dtype=torch.bool, device="cpu")
        mask[10:] = False
        one, same, other = (asked(weight * mask, mask, 0.1, seed)[1] for seed in (0, 0, 1))
        if torch.equal(one, other):
            return "Another generator gave the same connections. Choose them at random, with the generator."
        if not torch.equal(one, same):
            return "The same generator gave other connections. Pass the generator on, so that a seed repeats a run."
        return None

    def comes_back() -> str | None:
        """Of four positions, two active ones of which one is dropped: it is one of three to grow."""
        weight = torch.tensor([[1.0, 2.0, 0.0, 0.0]], device="cpu")
        mask = weight > 0
        grown = {tuple(asked(weight, mask, 0.5, seed)[1].flatten().tolist()) for seed in range(100)}
        if len(grown) < 3:  # a right answer misses one once in 10^17
            return "Some positions never grow. All that are inactive after the drop may, the dropped ones, too."
        return None

    verdict = judge(
        trial,
        [(0, 0.2, 0.3), (1, 0.5, 0.5), (2, 0.6, 0.1), (3, 0.3, 0.0)],
        "Right: a whole topology update. The engine does it for every layer, and moves the optimiser's state along.",
    )
    verdict = judge(is_random, [()], verdict.message) if verdict.passed else verdict
    return judge(comes_back, [()], verdict.message) if verdict.passed else verdict
