"""Loops over one row of weights and a stretch of lanes: what both kinds of layer are made of. Compiled by numba.

Activations are features-major: the numbers of one feature, or of one pixel of a channel, lie side by side for all
samples of a tile (its `lanes`), so that a weight multiplies a contiguous stretch. Two loops serve all layers:
`sum_row`, what a unit's connections add up to, and `share_row`, what its gradient means for them.

A ReLU is a `limit` of zero, at and below which sums become zero; NaN is a limit that nothing is at or below. Arrays
come as addresses: wrapping dozens of tensors takes longer than many a call. Their numbers have the type of `like`,
indices are int32, winners uint8.
"""

import numpy as np
from numba import njit

from .compiled import inner
from .simd import (
    add,
    every_second,
    get,
    load,
    load_apart,
    load_bytes,
    multiply_add,
    pointer_at,
    products,
    put,
    shifted,
    splat,
    store,
    store_apart,
    store_bytes,
    total,
    totals,
    where_above,
    where_at_most,
    where_equal,
)
from .steps import LANES


def in_stretches(make, width: int, *narrower: int):
    """f(j, length, ...): stretches of j .. length, each done by make(width)(j, ...), the widest first."""
    stretch = make(width)
    if not narrower:

        @njit(**inner)
        def run(j, length, *arguments):
            while j < length:
                stretch(j, *arguments)
                j += width
    else:
        rest = in_stretches(make, *narrower)

        @njit(**inner)
        def run(j, length, *arguments):
            while j + width <= length:
                stretch(j, *arguments)
                j += width
            rest(j, length, *arguments)

    return run


# --- the two loops of both layers -------------------------------------------------------------------------------------


def _sum(width: int):
    @njit(**inner)
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
sum_row = in_stretches(_sum, 64, 32, 16)
sum_line = in_stretches(_sum, 16, 4, 1)  # the same for the pixels of one sample


def _share(width: int):
    @njit(**inner)
    def stretch(j, values, offsets, first, last, lanes, x, dx, g, dvalues, wants_dx):
        gradient, k = load(g, j, width), first
        while k + 4 <= last:
            at_a, at_b = get(offsets, k) * lanes + j, get(offsets, k + 1) * lanes + j
            at_c, at_d = get(offsets, k + 2) * lanes + j, get(offsets, k + 3) * lanes + j
            a, b = products(gradient, load(x, at_a, width)), products(gradient, load(x, at_b, width))
            c, d = products(gradient, load(x, at_c, width)), products(gradient, load(x, at_d, width))
            if wants_dx:
                store(dx, at_a, multiply_add(get(values, k), gradient, load(dx, at_a, width)))
                store(dx, at_b, multiply_add(get(values, k + 1), gradient, load(dx, at_b, width)))
                store(dx, at_c, multiply_add(get(values, k + 2), gradient, load(dx, at_c, width)))
                store(dx, at_d, multiply_add(get(values, k + 3), gradient, load(dx, at_d, width)))
            store(dvalues, k, add(load(dvalues, k, 4), totals(a, b, c, d)))
            k += 4
        while k < last:
            at = get(offsets, k) * lanes + j
            put(dvalues, k, get(dvalues, k) + total(products(gradient, load(x, at, width))))
            if wants_dx:
                store(dx, at, multiply_add(get(values, k), gradient, load(dx, at, width)))
            k += 1

    return stretch


# for k in [first, last), at offsets[k] * lanes + j: dvalues[k] += g . x, and dx += values[k] * g if wanted
share_row = in_stretches(_share, 64, 16)


@njit(**inner)
def share_line(length, values, offsets, first, last, lanes, x, dx, g, dvalues, wants_dx):
    """The same for a long stretch, from 0 to `length`: the sums of dvalues stay in registers, and not g."""
    k = first
    while k + 2 <= last:
        a = b = splat(0, 16, x)
        at_a, at_b = get(offsets, k) * lanes, get(offsets, k + 1) * lanes
        for j in range(0, length, 16):
            gradient = load(g, j, 16)
            a = multiply_add(gradient, load(x, at_a + j, 16), a)
            b = multiply_add(gradient, load(x, at_b + j, 16), b)
            if wants_dx:
                store(dx, at_a + j, multiply_add(get(values, k), gradient, load(dx, at_a + j, 16)))
                store(dx, at_b + j, multiply_add(get(values, k + 1), gradient, load(dx, at_b + j, 16)))
        put(dvalues, k, get(dvalues, k) + total(a))
        put(dvalues, k + 1, get(dvalues, k + 1) + total(b))
        k += 2
    if k < last:
        a, at_a = splat(0, 16, x), get(offsets, k) * lanes
        for j in range(0, length, 16):
            gradient = load(g, j, 16)
            a = multiply_add(gradient, load(x, at_a + j, 16), a)
            if wants_dx:
                store(dx, at_a + j, multiply_add(get(values, k), gradient, load(dx, at_a + j, 16)))
        put(dvalues, k, get(dvalues, k) + total(a))


# --- what else there is to do on a stretch ----------------------------------------------------------------------------


def _gate(width: int):
    @njit(**inner)
    def stretch(j, y, limit, dy, g, sums):
        gradient = where_at_most(load(y, j, width), limit, 0, load(dy, j, width))
        store(g, j, gradient)
        store(sums, 0, add(load(sums, 0, width), gradient))

    return stretch


gate = in_stretches(_gate, 16)  # g = dy where the ReLU let y pass; and its sums


def _sum_four(pixels: int):
    width, twice, loads = 16 * pixels, 32 * pixels, 2 * pixels

    @njit(**inner)
    def stretch(q, values, offsets, first, last, bias, limit, x, right, down, y, y_lanes, winners, notes):
        x = shifted(x, 2 * q * right)
        upper = lower = splat(bias, twice, x)
        for k in range(first, last):
            value, at = get(values, k), get(offsets, k) * LANES
            upper = multiply_add(value, load_apart(x, at, right, loads), upper)
            lower = multiply_add(value, load_apart(x, at + down, right, loads), lower)
        best, which = every_second(upper, 0), splat(0, width, x)
        one, two, three = every_second(upper, 1), every_second(lower, 0), every_second(lower, 1)
        which = where_above(one, best, 1, which)
        best = where_above(one, best, one, best)
        which = where_above(two, best, 2, which)
        best = where_above(two, best, two, best)
        which = where_above(three, best, 3, which)
        best = where_above(three, best, three, best)
        store_apart(y, q * y_lanes, y_lanes, where_at_most(best, limit, 0, best))
        if notes:
            store_bytes(winners, q * LANES, where_at_most(best, limit, 4, which))

    return stretch


# For pooled pixels q ..: the largest of four such sums, of two pixels `right` of each other and the two `down` of
# these; and which it was, the first of equal ones: 0 to 3 in reading order, or 4 where it is at most `limit`.
sum_four = in_stretches(_sum_four, 2, 1)


def _give_back(width: int):
    @njit(**inner)
    def stretch(j, dy, winners, g, right, down, sums):
        gradient = load(dy, j, width)
        which = load_bytes(winners, j, gradient)
        store(g, j, where_equal(which, 0, gradient, 0))
        store(g, j + right, where_equal(which, 1, gradient, 0))
        store(g, j + down, where_equal(which, 2, gradient, 0))
        store(g, j + down + right, where_equal(which, 3, gradient, 0))
        store(sums, 0, add(load(sums, 0, width), where_equal(which, 4, 0, gradient)))

    return stretch


give_back = in_stretches(_give_back, 16)  # of four pixels, the one that was largest gets the gradient


@njit(**inner)
def collected_from(sums):
    """What `gate` or `give_back` have put there, which starts from zero again."""
    collected = total(load(sums, 0, 16))
    store(sums, 0, splat(0, 16, sums))
    return collected


@njit(**inner)
def limit_of(step, like):
    return type(like)(0 if step.relu else np.nan)


@njit(**inner)
def bias_of(step, i, like):
    return get(pointer_at(step.bias, like), i) if step.bias else type(like)(0)


def _collect(width: int):
    @njit(**inner)
    def stretch(j, rooms, apart, target):
        added = load(target, j, width)
        for room in range(1, rooms):
            added = add(added, load(target, room * apart + j, width))
        store(target, j, added)

    return stretch


collect = in_stretches(_collect, 16)  # what the same place in the other rooms holds is added to the first


@njit(**inner)
def fill(target, begin, end, number):
    for j in range(begin, end):
        put(target, j, number)
