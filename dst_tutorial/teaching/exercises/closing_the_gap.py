"""Exercises of notebook 08: solutions, and the checks that tell what is wrong with an answer."""

import math

import numpy as np
from scipy import stats

from ...studies import difference
from .judging import Verdict, ask, judge, number_of, parts_of, whole_of

HINTS = {
    "paired_interval": (
        "Subtract first, seed by seed; then it is the interval of one mean.",
        "Half its width: Student's t at 0.975 with n - 1 degrees of freedom, times the deviation over sqrt(n).",
        "The deviation divides by n - 1 (`ddof=1`).",
    ),
    "most_in_convolution": (
        "Elsewhere, all weights cost `weights` multiplications. What does moving one to the convolution add?",
        "It adds pixels - 1. How many can you move within `multiplications`?",
        "No more than the layer's size, no more than there are weights, and never fewer than none.",
    ),
}


def paired_interval(a, b):
    gaps = np.subtract(a, b)
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return gaps.mean(), gaps.mean() - half, gaps.mean() + half


def check_paired_interval(answer) -> Verdict:
    """`answer(a, b)`: mean, lower and upper end of the paired 95% interval of a - b."""

    def trial(seed: int, seeds: int) -> str | None:
        random = np.random.default_rng(seed)
        hard = random.normal(98, 0.5, seeds)  # some seeds are hard for both
        a, b = hard + random.normal(0.2, 0.1, seeds), hard + random.normal(0, 0.1, seeds)
        given = parts_of(ask(answer, a, b), "the mean", "the lower end", "the upper end")
        mean, low, high = map(number_of, given, ("The mean", "The lower end", "The upper end"))
        expected = difference(a, b)
        if not math.isclose(mean, expected.mean, abs_tol=1e-6):
            return f"{seeds} seeds: the mean of a - b is {expected.mean:.3f}; yours is {mean:.3f}."
        half, right = (high - low) / 2, (expected.high - expected.low) / 2
        if math.isclose(half, right, rel_tol=1e-4):
            return None if math.isclose(low + high, 2 * mean, abs_tol=1e-6) else "The mean is in the middle."
        gaps = a - b
        error = gaps.std(ddof=1) / seeds**0.5
        near = {
            1.96 * error: "1.96 is for many seeds; for so few, take Student's t with one degree of freedom less.",
            right * (1 - 1 / seeds) ** 0.5: "the spread of a sample divides by n - 1: std(ddof=1).",
            right * seeds**0.5: "that is the spread of one seed; that of the mean is smaller by sqrt(n).",
            stats.t.ppf(0.95, seeds - 1) * error: "95% inside leave 2.5% on either side: the quantile is 0.975.",
        }
        for wrong, why in near.items():
            if math.isclose(half, wrong, rel_tol=1e-3):
                return f"{seeds} seeds: {why}"
        return f"{seeds} seeds: the interval reaches {right:.3f} to either side of the mean; yours reaches {half:.3f}."

    return judge(
        trial,
        ((0, 5), (1, 3), (2, 12)),
        "Right. The hard seeds cancel, which is what pairing is for: compare the spread of a with that of a - b.",
    )


def most_in_convolution(size, pixels, weights, multiplications):
    most = (multiplications - weights) // (pixels - 1)  # moving a weight there costs pixels - 1 more
    return max(0, min(size, weights, most))


def check_most_in_convolution(answer) -> Verdict:
    """`answer(size, pixels, weights, multiplications)`: how many active weights a convolution may keep.

    Its kernel has `size` weights, each used at so many `pixels`; what is left of `weights` goes to linear layers.
    """

    def trial(size: int, pixels: int, weights: int, multiplications: int) -> str | None:
        what = f"size {size:,}, {pixels} pixels, {weights:,} weights, {multiplications:,} multiplications"
        found = whole_of(ask(answer, size, pixels, weights, multiplications), f"{what}: the number of weights")
        expected = most_in_convolution(size, pixels, weights, multiplications)
        work = found * pixels + weights - found
        if found == expected:
            return None
        if found > size or found > weights:
            return f"{what}: there are not so many weights as {found:,}."
        if found < 0:
            return f"{what}: not even the linear layers fit; then none is left for the convolution, not {found:,}."
        if work > multiplications > weights:
            return f"{what}: with {found:,} there the network multiplies {work:,} times."
        return f"{what}: it may keep {expected:,}; you say {found:,}."

    trials = (
        (4_608, 196, 67_173, 235_476),
        (4_608, 196, 13_435, 235_476),
        (4_608, 196, 67_173, 2_000_000),
        (4_608, 196, 1_000, 10**9),
        (144, 784, 67_173, 60_000),
    )
    return judge(
        trial,
        trials,
        "Right: this is how the lean recipe finds its convolutions. Equal weights are not equal compute.",
    )
