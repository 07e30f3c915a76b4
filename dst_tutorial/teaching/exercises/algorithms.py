"""Exercises of notebook 04: solutions, and the checks that tell what is wrong with an answer."""

import math

import torch
from torch import Tensor

from .judging import Verdict, ask, ask_for_mask, judge, whole_of

HINTS = {
    "drop_signed": (
        "Do the same twice: once for the active positive weights, once for the active negative ones.",
        "The fraction is of each side by itself, rounded down.",
        "Nearest to zero means smallest in magnitude, on both sides.",
    ),
    "drop_count": (
        "Put T_end in for the end: three quarters of `steps`.",
        "The fraction is 0.3 / 2 * (1 + cos(pi t / T_end)): all of 0.3 at step 0, nothing at T_end.",
        "Without a condition the cosine rises again after T_end.",
    ),
}


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
        after, expected = ask_for_mask(answer, weight, mask, fraction), drop_signed(weight, mask, fraction)
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


def drop_count(active: int, step: int, steps: int) -> int:
    end = 0.75 * steps
    if step >= end:
        return 0
    return math.floor(0.3 / 2 * (1 + math.cos(math.pi * step / end)) * active)


def check_drop_count(answer) -> Verdict:
    """`answer(active, step, steps)`: how many connections RigL drops at a step of a training of so many."""

    def trial(active: int, step: int, steps: int) -> str | None:
        found, wanted = (
            whole_of(ask(answer, active, step, steps), "A number of connections"),
            drop_count(active, step, steps),
        )
        if found == wanted:
            return None
        told = f"{active} active, step {step} of {steps}: {wanted} should go, and you drop {found}."
        if step >= 0.75 * steps:
            return f"{told} From three quarters of the training on, nothing is dropped."
        if found == math.floor(0.3 * active):
            return f"{told} The fraction falls along a cosine, from 0.3 at the start."
        if found == math.floor(0.15 * (1 + math.cos(math.pi * step / steps)) * active):
            return f"{told} The cosine comes to zero at T_end, not at the end of the training."
        if found == wanted + 1:
            return f"{told} Round down."
        return told

    return judge(
        trial,
        [
            (1000, 0, 1000),
            (1000, 100, 1000),
            (777, 300, 1000),
            (50_000, 2000, 9380),
            (8, 100, 9380),
            (100, 750, 1000),
            (100, 900, 1000),
        ],
        "Right: 30% at the start, half of that half-way to T_end, and less than one connection of a small layer: none.",
    )
