"""One compiled loop of Adam over all parameters."""

import numpy as np
from numba import njit

from .loops import options
from .simd import get, pointer_at, put


@njit(**options)
def adam(at, like, rate, first, second, eps, decay):
    """One step of some parameters. `at`: of each, both moments, gradient and float32 step; its size."""
    kind = type(like)
    for i in range(len(at)):
        p, m, v, g = (pointer_at(at[i, 0], like), pointer_at(at[i, 1], like), pointer_at(at[i, 2], like),
                      pointer_at(at[i, 3], like))  # fmt: skip
        steps = pointer_at(at[i, 4], np.float32(0))
        put(steps, 0, get(steps, 0) + np.float32(1))
        t = np.float64(get(steps, 0))
        size, root = kind(rate / (1 - first**t)), kind(1 / np.sqrt(1 - second**t))
        new, keep, rest, least, pull = kind(1 - first), kind(second), kind(1 - second), kind(eps), kind(decay)
        for j in range(at[i, 5]):
            gradient = get(g, j) + pull * get(p, j)
            mean = get(m, j) + new * (gradient - get(m, j))
            square = keep * get(v, j) + rest * gradient * gradient
            put(m, j, mean)
            put(v, j, square)
            put(p, j, get(p, j) - size * mean / (np.sqrt(square) * root + least))
