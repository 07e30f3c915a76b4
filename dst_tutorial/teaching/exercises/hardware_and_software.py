"""Exercises of notebook 10: solutions, and the checks that tell what is wrong with an answer."""

import numpy as np
import torch

from ...randomness import stream
from .judging import Verdict, ask, judge, mask_of, number_of

HINTS = {
    "least_milliseconds": (
        "Two times: for the operations, and for the bytes. A giga is 10^9.",
        "Both go on at the same time: the longer one decides.",
        "A second has 1,000 milliseconds.",
    ),
    "largest_of_groups": (
        "Reshape to [out, groups, inputs of a group].",
        "`topk` of the magnitudes along the last dimension says which to keep.",
        "`scatter_` True at these; then reshape back.",
    ),
}


def least_milliseconds(operations, moved, gflops, gigabytes_per_second):
    arithmetic = operations / (gflops * 1e9)
    memory = moved / (gigabytes_per_second * 1e9)
    return 1000 * max(arithmetic, memory)


def check_least_milliseconds(answer) -> Verdict:
    """`answer(operations, moved, gflops, gigabytes_per_second)`: the roofline's time, in milliseconds."""

    def trial(operations: float, moved: float, gflops: float, speed: float) -> str | None:
        what = f"{operations:.3g} operations on {moved:.3g} bytes, {gflops:g} GFLOP/s, {speed:g} GB/s"
        found = number_of(ask(answer, operations, moved, gflops, speed), f"{what}: the time")
        arithmetic, memory = 1000 * operations / gflops / 1e9, 1000 * moved / speed / 1e9
        expected = max(arithmetic, memory)
        if np.isclose(found, expected, rtol=1e-6):
            return None
        near = (
            (arithmetic + memory, "you added both times. Here they go on side by side: the longer one decides."),
            (min(arithmetic, memory), "that is the shorter of both times, and the layer needs both."),
            (expected / 1000, "that is in seconds: return milliseconds."),
        )
        for value, why in near:
            if np.isclose(found, value, rtol=1e-6):
                return f"{what}: {why}"
        return f"{what}: {found:.4g} ms, and it should be {expected:.4g}. A giga is a billion, 1e9."

    return judge(
        trial,
        ((3.4e7, 6.7e7, 100, 20), (3.4e10, 7.4e7, 100, 20), (1.7e6, 6.7e6, 8100, 300), (1e9, 1e7, 50, 10)),
        "Right. With one input a layer waits for memory, with a thousand for arithmetic.",
    )


def largest_of_groups(weight, keep, group):
    rows, columns = weight.shape
    groups = weight.abs().reshape(rows, columns // group, group)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(-1, groups.topk(keep).indices, True)
    return mask.reshape(rows, columns)


def check_largest_of_groups(answer) -> Verdict:
    """`answer(weight, keep, group)`: bool [out, in], the `keep` largest of every `group` inputs of a unit."""

    def trial(rows: int, columns: int, keep: int, group: int) -> str | None:
        weight = torch.randn(rows, columns, generator=stream(rows, "exercise"), device="cpu")
        found = torch.from_numpy(mask_of(ask(answer, weight.clone(), keep, group), "The mask", weight.shape))
        expected = largest_of_groups(weight, keep, group)
        if torch.equal(found, expected):
            return None
        what = f"{rows} x {columns}, {keep} of {group}"
        if torch.equal(found, ~expected):
            return f"{what}: these are the ones to prune; True is for those that stay."
        counts = found.reshape(rows, -1, group).sum(-1)
        if (counts != keep).any():
            odd = counts[counts != keep][0].item()
            return f"{what}: in one group {odd} are left. Groups are {group} inputs of one unit, side by side."
        signed = torch.zeros_like(expected.reshape(-1, group))
        signed.scatter_(1, weight.reshape(-1, group).topk(keep).indices, True)
        if torch.equal(found.reshape(-1, group), signed):
            return f"{what}: you kept the largest with their sign. A weight of -3 is large: take absolute values."
        return f"{what}: as many as asked for are left in every group, and they are not the largest."

    return judge(
        trial,
        ((3, 8, 2, 4), (2, 32, 4, 16), (5, 48, 1, 16), (4, 12, 3, 12)),
        "Right. 2 of 4 is what the sparse tensor cores of GPUs can skip; one group a row is a constant fan-in.",
    )
