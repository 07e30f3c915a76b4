"""Is one way of training better than another? Differences of runs that share their seeds, with intervals and verdicts.

An interval tells what other seeds would give, on the same test images. What other test images would give it does not
tell: of 10,000 images and at 99% accuracy, that is another 0.1 points (one standard error) for each of the two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MARGINS = {"mnist": 0.15, "mnist1d": 1.0}  # percentage points: two accuracies that differ by less are level
LEVEL = 0.95
MOST_SEEDS = 1000  # that anybody is told to run


@dataclass(frozen=True)
class Difference:
    """Mean of the differences, seed by seed, and the interval of Student's t (95%), in the numbers' own unit."""

    mean: float
    low: float
    high: float
    seeds: int
    margin: float = MARGINS["mnist"]
    p: float = math.nan  # two-sided, of no difference at all

    @property
    def verdict(self) -> str:
        """ "level": the whole interval lies within the margin. "more", "less": the interval excludes zero and the mean
        is the margin at least. "undecided": everything else.
        """
        return _verdict(self.mean, self.low, self.high, self.margin)

    @property
    def seeds_to_decide(self) -> int | None:
        """How many seeds would decide, if mean and spread stayed as they are; None for more than `MOST_SEEDS`."""
        spread = (self.high - self.mean) / _reach(self.seeds)
        for seeds in range(self.seeds, MOST_SEEDS + 1):
            half = spread * _reach(seeds)
            if _verdict(self.mean, self.mean - half, self.mean + half, self.margin) != "undecided":
                return seeds
        return None

    @property
    def told(self) -> str:
        """Interval and verdict; of what is undecided, how many seeds would decide."""
        if self.verdict != "undecided":
            return f"{self} {self.verdict}"
        enough = self.seeds_to_decide
        return f"{self} undecided ({f'{enough} seeds' if enough else f'over {MOST_SEEDS} seeds'} would decide)"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def _verdict(mean: float, low: float, high: float, margin: float) -> str:
    if -margin <= low and high <= margin:
        return "level"
    if abs(mean) < margin or low <= 0 <= high:
        return "undecided"
    return "more" if mean > 0 else "less"


def _reach(seeds: int) -> float:
    """Half an interval, in standard deviations of the differences."""
    return float(stats.t.ppf((1 + LEVEL) / 2, seeds - 1)) / seeds**0.5


def difference(a: Sequence[float], b: Sequence[float], margin: float = MARGINS["mnist"]) -> Difference:
    """a - b, one number a seed each, in the same order of seeds; level within `margin`, in their unit.

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
    mean = float(gaps.mean())
    if not gaps.std():  # the t distribution of a spread of zero is a point
        return Difference(mean, mean, mean, len(gaps), margin, p=float(not mean))
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(LEVEL)
    return Difference(mean, float(low), float(high), len(gaps), margin, float(test.pvalue))


def holm(differences: Mapping[str, Difference]) -> dict[str, float]:
    """The p of each, corrected for their number (Holm, 1979): at 0.05, one false alarm in twenty such *tables*.

    Twenty intervals of 95% miss once on average, though nothing is there to be found.
    """
    order = sorted(differences, key=lambda name: differences[name].p)
    corrected, least = {}, 0.0
    for rank, name in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * differences[name].p))
        corrected[name] = least
    return {name: corrected[name] for name in differences}
