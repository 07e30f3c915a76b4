"""A convolution on a slice of a tile: a linear layer with shifted pointers.

x [channels, height, width, lanes], padded -> y [units, height', width', lanes]. A weight of the kernel reads the same
stretch as a linear layer's would, some pixels on.
"""

import numpy as np
from numba import njit

from .compiled import inner
from .simd import get, pointer, pointer_at, put, shifted
from .steps import LANES
from .stretches import bias_of, collected_from, fill, gate, give_back, limit_of, share_line, sum_four, sum_line, sum_row


@njit(**inner)
def tap_offsets(step):
    """Fill in the offsets of a convolution."""
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    offsets = pointer_at(step.offsets, np.int32(0))
    for row in range(step.rows):
        first = row // step.group_units * step.group_channels
        for k in range(get(pointers, row), get(pointers, row + 1)):
            channel, tap = get(columns, k) // step.taps, get(columns, k) % step.taps
            down, right = tap // step.kernel_width * step.dilation_y, tap % step.kernel_width * step.dilation_x
            put(offsets, k, (first + channel) * step.plane + down * step.line + right)


@njit(**inner)
def conv_forward(step, after, x, y, y_lanes, winners, notes, like):
    """y = the convolution + bias, then ReLU, then the largest of each 2 x 2 pixels, as asked.

    All units do a line before the next: the lines of x that they share stay in the cache.
    """
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    offsets, pointers = pointer_at(step.offsets, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    right, down = step.stride_x * LANES, step.stride_y * step.line * LANES
    whole = step.stride_x == 1 and y_lanes == LANES  # pixels lie side by side
    pixels, length = (1, after.width * LANES) if whole else (after.width, LANES)
    for up in range(after.height):
        for i in range(step.rows):
            bias, first, last = bias_of(step, i, like), get(pointers, i), get(pointers, i + 1)
            line = shifted(y, (after.first + i * after.plane + up * after.line) * y_lanes)
            if first == last:
                for q in range(pixels):
                    fill(line, q * y_lanes, q * y_lanes + length, 0 if bias <= limit else bias)
            elif step.halve:
                which = shifted(winners, (i * after.height + up) * after.width * LANES)
                sum_four(0, after.width, values, offsets, first, last, bias, limit, shifted(x, 2 * up * down), right,
                         down, line, y_lanes, which, notes)  # fmt: skip
            else:
                for q in range(pixels):
                    sum_row(0, length, values, offsets, first, last, LANES, bias, limit,
                            shifted(x, up * down + q * right), shifted(line, q * y_lanes))  # fmt: skip


@njit(**inner)
def conv_backward(step, after, x, y, y_lanes, winners, dy, dx, sums, wants_dx, like):
    """Adds to dx and, among the sums, to dvalues and dbias."""
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    offsets, pointers = pointer_at(step.offsets, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    dvalues, dbias = shifted(sums, step.dvalues), shifted(sums, step.dbias)
    size, line, right = 2 if step.halve else 1, step.y_width * LANES, step.stride_x * LANES
    pixels, length = (1, line) if step.stride_x == 1 else (step.y_width, LANES)
    scratch = np.zeros(size * line + LANES, type(like))
    g, added = pointer(scratch), shifted(pointer(scratch), size * line)
    for up in range(after.height):
        for i in range(step.rows):
            first, last = get(pointers, i), get(pointers, i + 1)
            here = (after.first + i * after.plane + up * after.line) * y_lanes
            which = shifted(winners, (i * after.height + up) * after.width * LANES)
            for q in range(after.width):
                before = shifted(dy, here + q * y_lanes)
                if step.halve and first < last:
                    give_back(
                        0, LANES, before, shifted(which, q * LANES), shifted(g, 2 * q * LANES), LANES, line, added
                    )
                else:
                    gate(0, LANES, shifted(y, here + q * y_lanes), limit, before, shifted(g, q * LANES), added)
            put(dbias, i, get(dbias, i) + collected_from(added))
            for r in range(size if first < last else 0):
                for q in range(pixels):
                    there = (up * size + r) * step.stride_y * step.line * LANES + q * right
                    share_line(length, values, offsets, first, last, LANES, shifted(x, there), shifted(dx, there),
                               shifted(g, r * line + q * LANES), dvalues, wants_dx)  # fmt: skip


@njit(**inner)
def conv_one(step, after, x, y, like):
    """`conv_forward` for one sample: stretches are lines of pixels."""
    limit, values = limit_of(step, like), pointer_at(step.values, like)
    offsets, pointers = pointer_at(step.offsets, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    pixels, length = (1, step.y_width) if step.stride_x == 1 else (step.y_width, 1)
    scratch = np.empty(2 * step.y_width, type(like))
    upper, lower = pointer(scratch), shifted(pointer(scratch), step.y_width)
    for i in range(step.rows):
        bias, first, last = bias_of(step, i, like), get(pointers, i), get(pointers, i + 1)
        for up in range(after.height):
            line = shifted(y, after.first + i * after.plane + up * after.line)
            for r in range(2 if step.halve else 1):
                to = line if not step.halve else lower if r else upper
                there = (2 * up + r if step.halve else up) * step.stride_y * step.line
                for q in range(pixels):
                    sum_line(0, length, values, offsets, first, last, 1, bias, limit,
                             shifted(x, there + q * step.stride_x), shifted(to, q))  # fmt: skip
            if step.halve:
                for q in range(after.width):
                    put(line, q, _largest(get(upper, 2 * q), get(upper, 2 * q + 1), get(lower, 2 * q),
                                          get(lower, 2 * q + 1)))  # fmt: skip


@njit(**inner)
def _largest(best, *others):
    for other in others:
        best = other if other > best or other != other else best
    return best
