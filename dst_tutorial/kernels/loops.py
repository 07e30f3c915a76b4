"""The loops of the CPU backend, compiled by numba: sparse rows times activations, forward and backward.

Activations are features-major: the numbers of one feature, or of one pixel of a channel, for all samples lie side by
side (`lanes` of them), so that a weight multiplies a contiguous stretch. A convolution is then a linear layer with
shifted pointers: a weight of its kernel reads the same stretch some pixels on. So two loops serve both layers:
`sum_row`, what a unit's connections add up to, and `share_row`, what its gradient means for them.

`start` and `stop` are the lanes to work on: what lets threads share a call. A ReLU is a `limit` of zero, at and below
which sums become zero; NaN is a limit that nothing is at or below.
"""

import numpy as np
from numba import njit

from .simd import (
    add,
    get,
    load,
    load_bytes,
    multiply_add,
    pointer,
    pointer_at,
    put,
    shifted,
    splat,
    store,
    store_bytes,
    total,
    totals,
    where_at_most,
    where_equal,
)

# Sums may be reordered; NaN and infinity are kept, as dense layers keep them.
options = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy", "nogil": True, "cache": True}
TILE = 64  # samples that a linear layer takes together: their activations should stay in the cache


def _in_stretches(make, width: int, *narrower: int):
    """f(j, length, ...): stretches of j .. length, each done by make(width)(j, ...), the widest first."""
    stretch = make(width)
    if not narrower:

        @njit(**options)
        def run(j, length, *arguments):
            while j < length:
                stretch(j, *arguments)
                j += 1
    else:
        rest = _in_stretches(make, *narrower)

        @njit(**options)
        def run(j, length, *arguments):
            while j + width <= length:
                stretch(j, *arguments)
                j += width
            rest(j, length, *arguments)

    return run


# --- the two loops of both layers -------------------------------------------------------------------------------------


def _sum(width: int):
    @njit(**options)
    def stretch(j, values, offsets, first, last, lanes, bias, limit, x, y):
        even, odd = splat(bias, width, x), splat(0, width, x)  # two sums: neither waits for the other
        k = first
        while k + 2 <= last:
            even = multiply_add(get(values, k), load(x, get(offsets, k) * lanes + j, width), even)
            odd = multiply_add(get(values, k + 1), load(x, get(offsets, k + 1) * lanes + j, width), odd)
            k += 2
        if k < last:
            even = multiply_add(get(values, k), load(x, get(offsets, k) * lanes + j, width), even)
        even = add(even, odd)
        store(y, j, where_at_most(even, limit, 0, even))

    return stretch


# y[j] = bias + the sum over k in [first, last) of values[k] * x[offsets[k] * lanes + j]; 0 if that is at most `limit`
sum_row = _in_stretches(_sum, 64, 32, 16, 4, 1)


@njit(**options)
def share_row(length, values, offsets, first, last, lanes, x, dx, g, dvalues, wants_dx):
    """For k in [first, last), at offsets[k] * lanes: dvalues[k] += g . x, and dx += values[k] * g, over `length`."""
    whole, k = length - length % 16, first
    while k + 4 <= last:
        a = b = c = d = splat(0, 16, x)
        at_a, at_b = get(offsets, k) * lanes, get(offsets, k + 1) * lanes
        at_c, at_d = get(offsets, k + 2) * lanes, get(offsets, k + 3) * lanes
        for j in range(0, whole, 16):
            gradient = load(g, j, 16)
            a = multiply_add(gradient, load(x, at_a + j, 16), a)
            b = multiply_add(gradient, load(x, at_b + j, 16), b)
            c = multiply_add(gradient, load(x, at_c + j, 16), c)
            d = multiply_add(gradient, load(x, at_d + j, 16), d)
            if wants_dx:
                store(dx, at_a + j, multiply_add(get(values, k), gradient, load(dx, at_a + j, 16)))
                store(dx, at_b + j, multiply_add(get(values, k + 1), gradient, load(dx, at_b + j, 16)))
                store(dx, at_c + j, multiply_add(get(values, k + 2), gradient, load(dx, at_c + j, 16)))
                store(dx, at_d + j, multiply_add(get(values, k + 3), gradient, load(dx, at_d + j, 16)))
        store(dvalues, k, add(load(dvalues, k, 4), totals(a, b, c, d)))
        k += 4
    while k < last:
        a, at_a = splat(0, 16, x), get(offsets, k) * lanes
        for j in range(0, whole, 16):
            gradient = load(g, j, 16)
            a = multiply_add(gradient, load(x, at_a + j, 16), a)
            if wants_dx:
                store(dx, at_a + j, multiply_add(get(values, k), gradient, load(dx, at_a + j, 16)))
        put(dvalues, k, get(dvalues, k) + total(a))
        k += 1
    if whole < length:
        for k in range(first, last):
            at_a, dvalue = get(offsets, k) * lanes, get(dvalues, k)
            for j in range(whole, length):
                dvalue += get(g, j) * get(x, at_a + j)
                if wants_dx:
                    put(dx, at_a + j, get(dx, at_a + j) + get(values, k) * get(g, j))
            put(dvalues, k, dvalue)


# --- what else there is to do on a stretch ----------------------------------------------------------------------------


def _gate(width: int):
    @njit(**options)
    def stretch(j, y, limit, dy, g, sums):
        gradient = where_at_most(load(y, j, width), limit, 0, load(dy, j, width))
        store(g, j, gradient)
        store(sums, 0, add(load(sums, 0, width), gradient))

    return stretch


gate = _in_stretches(_gate, 16, 4, 1)  # g = dy where the ReLU let y pass; and its sums


def _sum_four(width: int):
    @njit(**options)
    def stretch(j, values, offsets, first, last, lanes, bias, limit, x, right, down, y, winners, notes):
        best = splat(bias, width, x)
        one = two = three = best
        for k in range(first, last):
            value, at = get(values, k), get(offsets, k) * lanes + j
            best = multiply_add(value, load(x, at, width), best)
            one = multiply_add(value, load(x, at + right, width), one)
            two = multiply_add(value, load(x, at + down, width), two)
            three = multiply_add(value, load(x, at + down + right, width), three)
        which = where_at_most(one, best, 0, 1)
        best = where_at_most(one, best, best, one)
        which = where_at_most(two, best, which, 2)
        best = where_at_most(two, best, best, two)
        which = where_at_most(three, best, which, 3)
        best = where_at_most(three, best, best, three)
        store(y, j, where_at_most(best, limit, 0, best))
        if notes:
            store_bytes(winners, j, where_at_most(best, limit, 4, which))

    return stretch


# The largest of four such sums, at x and `right`, `down`, and both; and which it was, the first of equal ones: 0 to 3
# in reading order, or 4 where it is at most `limit` and becomes 0.
sum_four = _in_stretches(_sum_four, 32, 16, 4, 1)


def _give_back(width: int):
    @njit(**options)
    def stretch(j, dy, winners, g, right, down, sums):
        gradient = load(dy, j, width)
        which = load_bytes(winners, j, gradient)
        store(g, j, where_equal(which, 0, gradient, 0))
        store(g, j + right, where_equal(which, 1, gradient, 0))
        store(g, j + down, where_equal(which, 2, gradient, 0))
        store(g, j + down + right, where_equal(which, 3, gradient, 0))
        store(sums, 0, add(load(sums, 0, width), where_equal(which, 4, 0, gradient)))

    return stretch


give_back = _in_stretches(_give_back, 16, 4, 1)  # of four pixels, the one that was largest gets the gradient


# --- linear: x [columns, lanes] -> y [rows, lanes] --------------------------------------------------------------------
#
# What follows gets the addresses of arrays, in a tuple `at`: wrapping a dozen tensors takes longer than many a call.
# Their numbers have the type of `limit`, indices are int32, winners uint8; address 0 is an array that is not there.


@njit(**options)
def linear_one(at, rows, limit):
    """One sample: a row is a dot product with gathered inputs. `at`: values, columns, pointers, bias, x, y."""
    v, b, x, y = (pointer_at(at[0], limit), pointer_at(at[3], limit), pointer_at(at[4], limit),
                  pointer_at(at[5], limit))  # fmt: skip
    columns, pointers = pointer_at(at[1], np.int32(0)), pointer_at(at[2], np.int32(0))
    for i in range(rows):
        y_i = get(b, i) if at[3] else type(limit)(0)
        for k in range(get(pointers, i), get(pointers, i + 1)):
            y_i += get(v, k) * get(x, get(columns, k))
        put(y, i, 0 if y_i <= limit else y_i)


@njit(**options)
def linear_forward(at, rows, limit, lanes, start, stop):
    """y = weight @ x + bias, and ReLU if asked. `at`: values, columns, pointers, bias, x, y."""
    v, b, x, y = (pointer_at(at[0], limit), pointer_at(at[3], limit), pointer_at(at[4], limit),
                  pointer_at(at[5], limit))  # fmt: skip
    columns, pointers = pointer_at(at[1], np.int32(0)), pointer_at(at[2], np.int32(0))
    for begin in range(start, stop, TILE):
        for i in range(rows):
            bias = get(b, i) if at[3] else type(limit)(0)
            sum_row(0, min(TILE, stop - begin), v, columns, get(pointers, i), get(pointers, i + 1), lanes, bias, limit,
                    shifted(x, begin), shifted(y, i * lanes + begin))  # fmt: skip


@njit(**options)
def linear_backward(at, rows, limit, lanes, start, stop):
    """Adds to dx, dvalues and dbias. `at`: values, columns, pointers, x, y, dy, dx (or 0), dvalues, dbias."""
    v, x, y, dy, dx, dvalues, dbias = (pointer_at(at[0], limit), pointer_at(at[3], limit), pointer_at(at[4], limit),
                                       pointer_at(at[5], limit), pointer_at(at[6], limit), pointer_at(at[7], limit),
                                       pointer_at(at[8], limit))  # fmt: skip
    columns, pointers = pointer_at(at[1], np.int32(0)), pointer_at(at[2], np.int32(0))
    scratch = np.zeros(TILE + 16, type(limit))
    g, sums = pointer(scratch), shifted(pointer(scratch), TILE)
    for begin in range(start, stop, TILE):
        length = min(TILE, stop - begin)
        for i in range(rows):
            row = i * lanes + begin
            gate(0, length, shifted(y, row), limit, shifted(dy, row), g, sums)
            put(dbias, i, get(dbias, i) + _collected(sums))
            share_row(length, v, columns, get(pointers, i), get(pointers, i + 1), lanes, shifted(x, begin),
                      shifted(dx, begin), g, dvalues, at[6] != 0)  # fmt: skip


@njit(**options)
def _collected(sums):
    """What `gate` or `give_back` have put there, which starts from zero again."""
    collected = total(load(sums, 0, 16))
    store(sums, 0, splat(0, 16, sums))
    return collected


# --- convolution: x [channels, height, width, lanes], padded -> y [units, height', width', lanes] ---------------------


@njit(**options)
def tap_offsets(at, rows, kernel_size, dilation, height, width, group_channels, group_units):
    """Where each weight reads for the first output pixel, in pixels of x. `at`: columns, pointers, offsets."""
    columns, pointers = pointer_at(at[0], np.int32(0)), pointer_at(at[1], np.int32(0))
    offsets, taps = pointer_at(at[2], np.int32(0)), kernel_size[0] * kernel_size[1]
    for i in range(rows):
        first = i // group_units * group_channels
        for k in range(get(pointers, i), get(pointers, i + 1)):
            channel, tap = get(columns, k) // taps, get(columns, k) % taps
            down, right = tap // kernel_size[1] * dilation[0], tap % kernel_size[1] * dilation[1]
            put(offsets, k, ((first + channel) * height + down) * width + right)


@njit(**options)
def pad(at, shape, limit, strides, left, top, padded_height, padded_width):
    """x [channels, height, width, lanes] of any strides into zeros of that size. `at`: of x, and of the padded one."""
    channels, height, width, lanes = shape
    x, padded = pointer_at(at[0], limit), pointer_at(at[1], limit)
    for c in range(channels):
        for up in range(padded_height):
            line = shifted(padded, (c * padded_height + up) * padded_width * lanes)
            inside = top <= up < top + height
            for j in range(0, (left if inside else padded_width) * lanes):
                put(line, j, 0)
            if inside:
                for j in range((left + width) * lanes, padded_width * lanes):
                    put(line, j, 0)
                line, source = shifted(line, left * lanes), shifted(x, c * strides[0] + (up - top) * strides[1])
                if strides[3] == 1 and strides[2] == lanes:
                    for j in range(width * lanes):
                        put(line, j, get(source, j))
                else:
                    for n in range(lanes):
                        for q in range(width):
                            put(line, q * lanes + n, get(source, q * strides[2] + n * strides[3]))


@njit(**options)
def conv_forward(at, rows, limit, halve, lanes, width, stride_y, stride_x, y_height, y_width, start, stop):
    """y = the convolution + bias, then ReLU, then the largest of each 2 x 2 pixels (`halve`), as asked.

    at      values, offsets, pointers, bias, x, y, winners: for each number of y, if they are wanted: see `sum_four`
    width   of x; `y_height` and `y_width` are those before the halving
    """
    v, b, x, y = (pointer_at(at[0], limit), pointer_at(at[3], limit), pointer_at(at[4], limit),
                  pointer_at(at[5], limit))  # fmt: skip
    offsets, pointers = pointer_at(at[1], np.int32(0)), pointer_at(at[2], np.int32(0))
    winners = pointer_at(at[6], np.uint8(0))
    right, down, line = stride_x * lanes, stride_y * width * lanes, y_width * lanes
    stretches, stop_there = (1, line) if stride_x == 1 and stop - start == lanes else (y_width, stop)  # a line at once
    for i in range(rows):
        bias, first, last = get(b, i) if at[3] else type(limit)(0), get(pointers, i), get(pointers, i + 1)
        if halve:
            for up in range(y_height // 2):
                for q in range(y_width // 2):
                    four = shifted(x, 2 * up * down + 2 * q * right)
                    sum_four(start, stop, v, offsets, first, last, lanes, bias, limit, four, right, down, y, winners,
                             at[6] != 0)  # fmt: skip
                    y, winners = shifted(y, lanes), shifted(winners, lanes)
        else:
            for up in range(y_height):
                for q in range(stretches):
                    sum_row(start, stop_there, v, offsets, first, last, lanes, bias, limit,
                            shifted(x, up * down + q * right), shifted(y, q * lanes))  # fmt: skip
                y = shifted(y, line)


@njit(**options)
def conv_backward(at, rows, limit, halve, lanes, width, stride_y, stride_x, y_height, y_width, start, stop, dy_plane,
                  dy_line):  # fmt: skip
    """Adds to dx, dvalues and dbias.

    at                  values, offsets, pointers, x, y, winners, dy, dx (or 0), dvalues, dbias
    dy_plane, dy_line   how far the planes and lines of dy are apart
    """
    v, x, y, dy, dx, dvalues, dbias = (pointer_at(at[0], limit), pointer_at(at[3], limit), pointer_at(at[4], limit),
                                       pointer_at(at[6], limit), pointer_at(at[7], limit), pointer_at(at[8], limit),
                                       pointer_at(at[9], limit))  # fmt: skip
    offsets, pointers = pointer_at(at[1], np.int32(0)), pointer_at(at[2], np.int32(0))
    winners = pointer_at(at[5], np.uint8(0))
    size, line, samples = 2 if halve else 1, y_width * lanes, stop - start
    stretches, length = (1, line) if stride_x == 1 and samples == lanes else (y_width, samples)
    scratch = np.zeros(size * line + 16, type(limit))
    g, sums = pointer(scratch), shifted(pointer(scratch), size * line)
    pixel = start
    for i in range(rows):
        for up in range(y_height // size):
            for q in range(y_width // size):
                before = shifted(dy, i * dy_plane + up * dy_line + q * lanes + start)
                after = shifted(g, size * q * lanes + start)
                if halve:
                    give_back(0, samples, before, shifted(winners, pixel), after, lanes, line, sums)
                else:
                    gate(0, samples, shifted(y, pixel), limit, before, after, sums)
                pixel += lanes
            for r in range(size):
                base = (up * size + r) * stride_y * width * lanes + start
                for q in range(stretches):
                    here = base + q * stride_x * lanes
                    share_row(length, v, offsets, get(pointers, i), get(pointers, i + 1), lanes, shifted(x, here),
                              shifted(dx, here), shifted(g, r * line + q * lanes + start), dvalues,
                              at[7] != 0)  # fmt: skip
        put(dbias, i, get(dbias, i) + _collected(sums))


# --- Adam -------------------------------------------------------------------------------------------------------------


@njit(**options)
def adam(at, sizes, rate, root, first, second, eps, decay):
    """One step of `sizes[i]` parameters each. `at`: of parameters, gradients and both moments, four a row.

    rate = learning rate / (1 - beta1^t), root = sqrt(1 - beta2^t); `eps` has the type of the parameters.
    """
    kind = type(eps)
    rate, root, decay = kind(rate), kind(1 / root), kind(decay)
    new, rest, second = kind(1 - first), kind(1 - second), kind(second)
    for i in range(len(sizes)):
        p, g = pointer_at(at[i, 0], eps), pointer_at(at[i, 1], eps)
        m, v = pointer_at(at[i, 2], eps), pointer_at(at[i, 3], eps)
        for j in range(sizes[i]):
            gradient = get(g, j) + decay * get(p, j)
            mean = get(m, j) + new * (gradient - get(m, j))
            square = second * get(v, j) + rest * gradient * gradient
            put(m, j, mean)
            put(v, j, square)
            put(p, j, get(p, j) - rate * mean / (np.sqrt(square) * root + eps))
