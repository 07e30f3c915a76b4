"""A linear layer on a tile: x [columns, lanes] -> y [rows, lanes], forward, backward, and for a single sample."""

import numpy as np
from numba import njit

from .compiled import inner
from .simd import get, pointer, pointer_at, put, shifted
from .stretches import bias_of, collected_from, gate, limit_of, share_row, sum_row


@njit(**inner)
def linear_forward(step, x, y, lanes, begin, end, like):
    """y = weight @ x + bias, and ReLU if asked, for units [begin, end)."""
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    for i in range(begin, end):
        sum_row(0, lanes, values, columns, get(pointers, i), get(pointers, i + 1), lanes, bias_of(step, i, like), limit,
                x, shifted(y, i * lanes))  # fmt: skip


@njit(**inner)
def linear_backward(step, x, y, dy, dx, sums, wants_dx, lanes, begin, end, like):
    """Units [begin, end) add to dx and, among the sums, to dvalues and dbias; dy becomes the gradient before ReLU."""
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    dvalues, dbias, scratch = shifted(sums, step.dvalues), shifted(sums, step.dbias), np.zeros(16, type(like))
    for i in range(begin, end):
        g = shifted(dy, i * lanes)
        gate(0, lanes, shifted(y, i * lanes), limit, g, g, pointer(scratch))
        put(dbias, i, get(dbias, i) + collected_from(pointer(scratch)))
        share_row(0, lanes, values, columns, get(pointers, i), get(pointers, i + 1), lanes, x, dx, g, dvalues, wants_dx)


@njit(**inner)
def linear_one(step, x, y, like):
    """`linear_forward` of all units for one sample: a row is a dot product with gathered inputs."""
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    for i in range(step.rows):
        y_i = bias_of(step, i, like)
        for k in range(get(pointers, i), get(pointers, i + 1)):
            y_i += get(values, k) * get(x, get(columns, k))
        put(y, i, 0 if y_i <= limit else y_i)
