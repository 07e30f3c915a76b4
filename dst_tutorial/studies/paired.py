"""Is one way of training better than another? Differences of runs that share their seeds, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

TIE = 0.15  # percentage points: smaller differences of test accuracy on MNIST are ties, whatever their interval
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean of the differences, seed by seed, and the interval of Student's t (95%), in the numbers' own unit."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """ "more" or "less" where the interval excludes zero and the mean is at least `TIE`; otherwise "tie"."""
        if abs(self.mean) < TIE or self.low <= 0 <= self.high:
            return "tie"
        return "more" if self.mean > 0 else "less"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """a - b, one number a seed each, in the same order of seeds.

    ValueError for fewer than two, or unlike many, or what is no number.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(
            f"a paired difference needs as many numbers on both sides, at least two; got {len(a)}, {len(b)}"
        )
    for side, numbers in (("first", a), ("second", b)):
        if wrong := [i for i, number in enumerate(numbers) if number is None or not math.isfinite(number)]:
            raise ValueError(
                f"a paired difference needs finite numbers; place {wrong[0] + 1} of the {side} side has "
                f"{numbers[wrong[0]]}"
            )
    gaps = np.subtract(a, b)
    if not gaps.std():  # the t distribution of a spread of zero is a point
        return Difference(float(gaps[0]), float(gaps[0]), float(gaps[0]), len(gaps))
    low, high = stats.ttest_rel(a, b).confidence_interval(LEVEL)
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps))
