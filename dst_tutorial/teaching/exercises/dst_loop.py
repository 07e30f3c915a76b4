"""Exercises of notebook 03: solutions, and the checks that tell what is wrong with an answer."""

import math

import torch
from torch import Tensor

from .judging import Verdict, ask, judge, mask_of


def _ask_for_mask(answer, *arguments) -> Tensor:
    """What it returns, if that is a mask of the shape of the one before it."""
    return torch.from_numpy(mask_of(ask(answer, *arguments), "The new mask", arguments[1].shape))


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
        weight = torch.randn(6, 12, generator=generator, device="cpu") + 0.3  # more positive than negative ones
        mask = torch.rand(6, 12, generator=generator, device="cpu") < 0.6
        if seed % 2:  # inactive weights are zeros, or what a stale momentum made of them: the mask alone counts
            weight = weight * mask
        after, expected = _ask_for_mask(answer, weight, mask, fraction), drop_signed(weight, mask, fraction)
        if (after & ~mask).any():
            return "Some inactive connection became active. Dropping only takes away."
        for sign, side in (("positive", weight > 0), ("negative", weight < 0)):
            gone, wanted = int((mask & side & ~after).sum()), int((mask & side & ~expected).sum())
            if gone != wanted:
                return (
                    f"Of {int((mask & side).sum())} active {sign} weights {wanted} should go (fraction {fraction}), "
                    f"and {gone} went. Treat the two signs apart, and round down."
                )
        if not torch.equal(after, expected):
            return "The right number of either sign went, but not the ones nearest to zero."
        return None

    return judge(
        trial,
        enumerate((0.3, 0.3, 0.5, 0.0)),
        "Right: this is SET's own drop (Mocanu et al., 2018). It keeps the balance of signs; plain |w| need not.",
    )


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
        grown = _ask_for_mask(answer, before, after, count, torch.Generator().manual_seed(seed))
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
            _ask_for_mask(answer, before, before, 5, torch.Generator().manual_seed(s)) for s in (0, 0, 1)
        )
        if torch.equal(one, other):
            return "Another generator gave the same connections. Choose them at random, with the generator."
        if not torch.equal(one, same):
            return "The same generator gave other connections. Pass the generator on, so that a seed repeats a run."
        few = torch.zeros(1, 4, dtype=torch.bool, device="cpu")
        grown = (_ask_for_mask(answer, few, few, 2, torch.Generator().manual_seed(seed)) for seed in range(100))
        if len({tuple(mask.flatten().tolist()) for mask in grown}) < 6:  # a right answer misses a pair once in 10^7
            return "Some pairs of connections never grow together. Draw them all, each set as likely as any other."
        return None

    verdict = judge(
        trial,
        enumerate((0.2, 0.5, 0.7)),
        "Right: no connection returns in the update that dropped it. The engine's `bar_dropped=True` does the same.",
    )
    return judge(is_random, [()], verdict.message) if verdict.passed else verdict
