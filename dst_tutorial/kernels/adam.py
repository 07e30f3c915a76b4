"""One compiled loop of Adam over all parameters."""

from typing import NamedTuple

import numpy as np
from numba import carray

from .compiled import as_c
from .simd import get, pointer_at, pointers_to, put
from .tiles import phase_at, record


class Parameter(NamedTuple):
    """Addresses of its numbers, of their moments and gradient, and of its float32 step; how many numbers these are."""

    numbers: int
    mean: int
    square: int
    gradient: int
    steps: int
    size: int


PARAMETER = np.dtype([(name, np.int64) for name in Parameter._fields])
ALL = np.dtype(
    [("table", np.int64), ("count", np.int64)]
    + [(name, np.float64) for name in ("rate", "first", "second", "eps", "decay")]
)
ADVANCE, CHANGE = 0, 1  # kinds of phases
_parameter_at, _all_at = pointers_to(PARAMETER), pointers_to(ALL)


def adam_in(like, keep):
    """A part of one step: every parameter's numbers are divided among the parts."""
    kind = type(like)

    def run(all_, phase_, part):
        at, phase = record(_all_at(all_)), record(phase_at(phase_))
        table = carray(_parameter_at(at.table), at.count)
        for i in range(at.count):
            one = table[i]
            steps = pointer_at(one.steps, np.float32(0))
            if phase.kind == ADVANCE:
                put(steps, 0, get(steps, 0) + np.float32(1))
                continue
            p, m, v, g = (pointer_at(one.numbers, like), pointer_at(one.mean, like), pointer_at(one.square, like),
                          pointer_at(one.gradient, like))  # fmt: skip
            t = np.float64(get(steps, 0))
            size, root = kind(at.rate / (1 - at.first**t)), kind(1 / np.sqrt(1 - at.second**t))
            new, keep, rest = kind(1 - at.first), kind(at.second), kind(1 - at.second)
            least, pull = kind(at.eps), kind(at.decay)
            tiny = kind(np.finfo(kind).tiny)
            for j in range(one.size * part // phase.parts, one.size * (part + 1) // phase.parts):
                gradient = get(g, j) + pull * get(p, j)
                mean = get(m, j) + new * (gradient - get(m, j))
                square = keep * get(v, j) + rest * gradient * gradient
                put(m, j, kind(0) if abs(mean) < tiny else mean)  # where gradients have stopped, moments would fade
                put(v, j, kind(0) if square < tiny else square)  # into numbers a hundred times as slow to work with
                put(p, j, get(p, j) - size * mean / (np.sqrt(square) * root + least))

    return as_c(run, 3, keep)
