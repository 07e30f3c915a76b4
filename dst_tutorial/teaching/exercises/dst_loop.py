"""Exercises of notebook 03: solutions, and the checks that tell what is wrong with an answer."""

import math

import torch
from torch import Tensor

from .judging import Verdict, answered, judge

# --- exercise 1 -------------------------------------------------------------------------------------------------------


def drop_signed(weight: Tensor, mask: Tensor, fraction: float) -> Tensor:
    mask = mask.clone()
    for side in (weight > 0, weight < 0):
        candidates = (mask & side).flatten().nonzero().flatten()
        order = weight.flatten()[candidates].abs().argsort()
        mask.view(-1)[candidates[order[: math.floor(fraction * len(candidates))]]] = False
    return mask


def check_drop_signed(answer) -> Verdict:
    """`answer(weight, mask, fraction)`: the mask after SET's drop, the fraction of either sign nearest to zero."""

    def trial(seed: int, fraction: float) -> str | None:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(6, 12, generator=generator) + 0.3  # more positive than negative ones
        mask = torch.rand(6, 12, generator=generator) < 0.6
        weight = weight * mask
        before, kept_weight = mask.clone(), weight.clone()
        after, expected = answered(answer(weight, mask, fraction)), drop_signed(weight, mask, fraction)
        if not torch.equal(mask, before) or not torch.equal(weight, kept_weight):
            return "Your function changed its arguments. Work on a copy: mask.clone()."
        if after.shape != mask.shape or after.dtype != torch.bool:
            return f"The new mask should be bool {list(mask.shape)}; yours is {after.dtype} {list(after.shape)}."
        if (after & ~before).any():
            return "Some inactive connection became active. Dropping only takes away."
        for sign, side in (("positive", weight > 0), ("negative", weight < 0)):
            gone, wanted = int((before & side & ~after).sum()), int((before & side & ~expected).sum())
            if gone != wanted:
                return (
                    f"Of {int((before & side).sum())} active {sign} weights {wanted} should go (fraction {fraction}), "
                    f"and {gone} went. Treat the two signs apart, and round down."
                )
        if not torch.equal(after, expected):
            return "The right number of either sign went, but not the ones nearest to zero."
        return None

    return judge(
        [lambda s=s, f=f: trial(s, f) for s, f in enumerate((0.3, 0.3, 0.5, 0.0))],
        "Right: this is SET's own drop (Mocanu et al., 2018). It keeps the balance of signs; plain |w| need not.",
    )


# --- exercise 2 -------------------------------------------------------------------------------------------------------


def grow_elsewhere(before: Tensor, after: Tensor, count: int, generator: torch.Generator) -> Tensor:
    free = (~before & ~after).flatten().nonzero().flatten()
    grown = after.clone()
    grown.view(-1)[free[torch.randperm(len(free), generator=generator)[:count]]] = True
    return grown


def check_grow_elsewhere(answer) -> Verdict:
    """`answer(before, after, count, generator)`: the mask with `count` grown, none of them just dropped."""

    def trial(seed: int, share: float, generator_seed: int) -> str | None:
        generator = torch.Generator().manual_seed(seed)
        before = torch.rand(8, 10, generator=generator) < share
        active = before.flatten().nonzero().flatten()
        count = len(active) // 4
        after = before.clone()
        after.view(-1)[active[:count]] = False
        kept = after.clone()
        grown = answered(answer(before, after, count, torch.Generator().manual_seed(generator_seed)))
        if not torch.equal(after, kept):
            return "Your function changed its arguments. Work on a copy: after.clone()."
        if grown.shape != after.shape or grown.dtype != torch.bool:
            return f"The new mask should be bool {list(after.shape)}; yours is {grown.dtype} {list(grown.shape)}."
        if (after & ~grown).any():
            return "Some connection that was still active is gone. Growing only adds."
        back = int((grown & before & ~after).sum())
        if back:
            return f"{back} of the grown connections had just been dropped: leave out what was active before, too."
        if int(grown.sum() - after.sum()) != count:
            return f"{count} connections should have grown; it was {int(grown.sum() - after.sum())}."
        return None

    def is_random() -> str | None:
        before = torch.zeros(20, 20, dtype=torch.bool)
        one, same, other = (answer(before, before, 5, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
        if torch.equal(one, other):
            return "Another generator gave the same connections. Choose them at random, with the generator."
        if not torch.equal(one, same):
            return "The same generator gave other connections. Pass the generator on, so that a seed repeats a run."
        return None

    trials = [lambda s=s, share=share: trial(s, share, s) for s, share in enumerate((0.2, 0.5, 0.7))]
    return judge(
        [*trials, is_random],
        "Right: no connection returns in the update that dropped it. The engine's `bar_dropped=True` does the same.",
    )
