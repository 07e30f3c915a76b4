"""The loops of the CPU backend, compiled by numba: a list of sparse layers, forward and backward.

Samples are taken in tiles of up to `TILE`, one tile through all layers, so that its activations stay in the cache.
Inside, activations are features-major: the numbers of one feature, or of one pixel of a channel, lie side by side for
all samples of the tile (its `lanes`), so that a weight multiplies a contiguous stretch. A convolution is then a linear
layer with shifted pointers: a weight of its kernel reads the same stretch some pixels on. So two loops serve both
layers: `sum_row`, what a unit's connections add up to, and `share_row`, what its gradient means for them.

A tile has whole vectors of lanes; those beyond the last sample are zeros. A ReLU is a `limit` of zero, at and below
which sums become zero; NaN is a limit that nothing is at or below. Arrays come as addresses: wrapping dozens of tensors
takes longer than many a call. Their numbers have the type of `like`, indices are int32, winners uint8.
"""

import numpy as np
from numba import carray, njit

from .compiled import as_c, inner
from .simd import (
    add,
    every_second,
    get,
    load,
    load_apart,
    load_bytes,
    multiply_add,
    pointer,
    pointer_at,
    pointers_to,
    products,
    put,
    shifted,
    splat,
    store,
    store_apart,
    store_bytes,
    total,
    totals,
    transpose_block,
    where_above,
    where_at_most,
    where_equal,
)
from .steps import ADD, LANES, PACK, PASS, PHASE, ROWS, SLICES, STEP, TILE, UNPACK, WHOLE

steps_at, pass_at, phase_at = pointers_to(STEP), pointers_to(PASS), pointers_to(PHASE)
_ROW = 4  # connections that are as much work as what a row takes besides
_ONE, _SLICE = np.int64(1), np.int64(LANES)  # for Python's own integers numba would compile a loop once more


def _in_stretches(make, width: int, *narrower: int):
    """f(j, length, ...): stretches of j .. length, each done by make(width)(j, ...), the widest first."""
    stretch = make(width)
    if not narrower:

        @njit(**inner)
        def run(j, length, *arguments):
            while j < length:
                stretch(j, *arguments)
                j += width
    else:
        rest = _in_stretches(make, *narrower)

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
sum_row = _in_stretches(_sum, 64, 32, 16)
sum_line = _in_stretches(_sum, 16, 4, 1)  # the same for the pixels of one sample


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
share_row = _in_stretches(_share, 64, 16)


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


gate = _in_stretches(_gate, 16)  # g = dy where the ReLU let y pass; and its sums


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
sum_four = _in_stretches(_sum_four, 2, 1)


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


give_back = _in_stretches(_give_back, 16)  # of four pixels, the one that was largest gets the gradient


@njit(**inner)
def _collected(sums):
    """What `gate` or `give_back` have put there, which starts from zero again."""
    collected = total(load(sums, 0, 16))
    store(sums, 0, splat(0, 16, sums))
    return collected


@njit(**inner)
def _limit(step, like):
    return type(like)(0 if step.relu else np.nan)


@njit(**inner)
def _bias(step, i, like):
    return get(pointer_at(step.bias, like), i) if step.bias else type(like)(0)


# --- linear: x [columns, lanes] -> y [rows, lanes] --------------------------------------------------------------------


@njit(**inner)
def linear_forward(step, x, y, lanes, begin, end, like):
    """y = weight @ x + bias, and ReLU if asked, for units [begin, end)."""
    limit, values = _limit(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    for i in range(begin, end):
        sum_row(0, lanes, values, columns, get(pointers, i), get(pointers, i + 1), lanes, _bias(step, i, like), limit,
                x, shifted(y, i * lanes))  # fmt: skip


@njit(**inner)
def linear_backward(step, x, y, dy, dx, sums, wants_dx, lanes, begin, end, like):
    """Units [begin, end) add to dx and, among the sums, to dvalues and dbias; dy becomes the gradient before ReLU."""
    limit, values = _limit(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    dvalues, dbias, scratch = shifted(sums, step.dvalues), shifted(sums, step.dbias), np.zeros(16, type(like))
    for i in range(begin, end):
        g = shifted(dy, i * lanes)
        gate(0, lanes, shifted(y, i * lanes), limit, g, g, pointer(scratch))
        put(dbias, i, get(dbias, i) + _collected(pointer(scratch)))
        share_row(0, lanes, values, columns, get(pointers, i), get(pointers, i + 1), lanes, x, dx, g, dvalues, wants_dx)


@njit(**inner)
def linear_one(step, x, y, like):
    """`linear_forward` of all units for one sample: a row is a dot product with gathered inputs."""
    limit, values = _limit(step, like), pointer_at(step.values, like)
    columns, pointers = pointer_at(step.columns, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    for i in range(step.rows):
        y_i = _bias(step, i, like)
        for k in range(get(pointers, i), get(pointers, i + 1)):
            y_i += get(values, k) * get(x, get(columns, k))
        put(y, i, 0 if y_i <= limit else y_i)


# --- convolution: x [channels, height, width, lanes], padded -> y [units, height', width', lanes] ---------------------


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
    limit, values = _limit(step, like), pointer_at(step.values, like)
    offsets, pointers = pointer_at(step.offsets, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    right, down = step.stride_x * LANES, step.stride_y * step.line * LANES
    whole = step.stride_x == 1 and y_lanes == LANES  # pixels lie side by side
    pixels, length = (1, after.width * LANES) if whole else (after.width, LANES)
    for up in range(after.height):
        for i in range(step.rows):
            bias, first, last = _bias(step, i, like), get(pointers, i), get(pointers, i + 1)
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
    limit, values = _limit(step, like), pointer_at(step.values, like)
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
            put(dbias, i, get(dbias, i) + _collected(added))
            for r in range(size if first < last else 0):
                for q in range(pixels):
                    there = (up * size + r) * step.stride_y * step.line * LANES + q * right
                    share_line(length, values, offsets, first, last, LANES, shifted(x, there), shifted(dx, there),
                               shifted(g, r * line + q * LANES), dvalues, wants_dx)  # fmt: skip


@njit(**inner)
def conv_one(step, after, x, y, like):
    """`conv_forward` for one sample: stretches are lines of pixels."""
    limit, values = _limit(step, like), pointer_at(step.values, like)
    offsets, pointers = pointer_at(step.offsets, np.int32(0)), pointer_at(step.pointers, np.int32(0))
    pixels, length = (1, step.y_width) if step.stride_x == 1 else (step.y_width, 1)
    scratch = np.empty(2 * step.y_width, type(like))
    upper, lower = pointer(scratch), shifted(pointer(scratch), step.y_width)
    for i in range(step.rows):
        bias, first, last = _bias(step, i, like), get(pointers, i), get(pointers, i + 1)
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


@njit(**inner)
def record(at):
    return carray(at, 1)[0]


# --- tiles ------------------------------------------------------------------------------------------------------------


@njit(**inner)
def transpose(source, across, along, target, to_across, to_along, n, length):
    """target[i * to_across + j * to_along] = source[i * across + j * along] for i < n, j < length; block by block.

    Where rows lie side by side on both sides, blocks are vectors: the last ones begin early enough to be whole.
    """
    there, back = along == 1 and to_across == 1, across == 1 and to_along == 1
    whole = (there or back) and n >= 16 and length >= 16
    for begin in range(0, length, 16):
        for start in range(0, n, 16):
            if whole:
                i, j = min(start, n - 16), min(begin, length - 16)
                here, to = shifted(source, i * across + j * along), shifted(target, i * to_across + j * to_along)
                transpose_block(here, across if there else along, to, to_along if there else to_across)
            else:
                for j in range(begin, min(begin + 16, length)):
                    for i in range(start, min(start + 16, n)):
                        put(target, i * to_across + j * to_along, get(source, i * across + j * along))


@njit(**inner)
def surround(step, x, lanes):
    """Zeros around images."""
    end = 0
    for c in range(step.channels):
        for up in range(step.height):
            begin = step.first + c * step.plane + up * step.line
            fill(x, end * lanes, begin * lanes, 0)
            end = begin + step.width
    fill(x, end * lanes, step.size * lanes, 0)


@njit(**inner)
def pack(step, source, strides, target, samples, lanes):
    """Samples of any strides [N, C, H, W] into activations of a tile, with zeros around and behind them."""
    surround(step, target, lanes)
    for c in range(step.channels):
        for up in range(step.height):
            begin = step.first + c * step.plane + up * step.line
            transpose(shifted(source, c * strides[1] + up * strides[2]), strides[0], strides[3],
                      shifted(target, begin * lanes), 1, lanes, samples, step.width)  # fmt: skip
            for q in range(begin, begin + step.width if samples < lanes else begin):
                fill(target, q * lanes + samples, (q + 1) * lanes, 0)


@njit(**inner)
def unpack(step, source, target, strides, samples, lanes):
    """The way back."""
    for c in range(step.channels):
        for up in range(step.height):
            begin = step.first + c * step.plane + up * step.line
            transpose(shifted(source, begin * lanes), 1, lanes, shifted(target, c * strides[1] + up * strides[2]),
                      strides[0], strides[3], samples, step.width)  # fmt: skip


@njit(**inner)
def fill(target, begin, end, number):
    for j in range(begin, end):
        put(target, j, number)


@njit(**inner)
def _brief(step, room, lanes, s):
    """Where the activations of slice `s` are while they are needed, and how far the features are apart."""
    return (shifted(room, step.brief * lanes), _SLICE) if step.sliced else (
        shifted(room, step.brief * lanes + s * LANES), lanes)  # fmt: skip


@njit(**inner)
def _kept(p, end, step, begin, lanes, s, like):
    """The same where all activations are kept, of the tile that begins with sample `begin`."""
    tile = shifted(pointer_at(p.workspace, like), begin * (end.at + end.size))
    return (shifted(tile, step.at * lanes + s * LANES * step.size), _SLICE) if step.sliced else (
        shifted(tile, step.at * lanes + s * LANES), lanes)  # fmt: skip


@njit(**inner)
def _place(p, end, step, room, begin, lanes, s, like):
    return _kept(p, end, step, begin, lanes, s, like) if p.workspace else _brief(step, room, lanes, s)


@njit(**inner)
def _tile(begin, samples):
    """How many samples there are in the tile that begins there, and lanes."""
    n = min(TILE, samples - begin)
    return n, -(-n // LANES) * LANES


@njit(**inner)
def _samples(p, phase, part):
    """[first, last) that a part goes through."""
    if phase.kind == WHOLE:
        first, last = _some(-(-p.samples // LANES), part, phase.parts)
        return first * LANES, min(last * LANES, p.samples)
    return phase.begin, min(phase.begin + TILE, p.samples)


@njit(**inner)
def _room(p, part, like):
    """A part's own, for a tile."""
    return shifted(pointer_at(p.room, like), part * p.room_size)


@njit(**inner)
def _source(p, n, like):
    """Of sample `n`, and the strides."""
    return shifted(pointer_at(p.source, like), n * p.source_n), (p.source_n, p.source_c, p.source_h, p.source_w)


@njit(**inner)
def _target(p, n, like):
    return shifted(pointer_at(p.target, like), n * p.target_n), (p.target_n, p.target_c, p.target_h, p.target_w)


@njit(**inner)
def _winners(p, step, end, start):
    return shifted(pointer_at(p.winners, np.uint8(0)), start * end.winners + step.winners * LANES)


@njit(**inner)
def _some(n, part, parts):
    """[first, last) of n things: the part's."""
    size = -(-n // parts)
    return min(part * size, n), min((part + 1) * size, n)


@njit(**inner)
def _first_row(step, part, parts):
    """Of a part of the rows, all of which have about as many connections; a row itself is as much work as some."""
    pointers = pointer_at(step.pointers, np.int32(0))
    goal, low, high = (get(pointers, step.rows) + _ROW * step.rows) * part // parts, 0, step.rows
    while low < high:
        middle = (low + high) // 2
        if get(pointers, middle) + _ROW * middle < goal:
            low = middle + 1
        else:
            high = middle
    return low


# --- forward ----------------------------------------------------------------------------------------------------------


@njit(**inner)
def _slices_forward(p, steps, begin, samples, lanes, first, last, room, own, like):
    """The convolutions, for slices [first, last) of a tile; what lies between them is in a room of one's own."""
    end = steps[p.layers]
    for s in range(first, last):
        start, n = begin + s * LANES, min(LANES, samples - s * LANES)
        source, strides = _source(p, start, like)
        x, _ = _place(p, end, steps[0], own, begin, lanes, s, like)
        pack(steps[0], source, strides, x, n, _SLICE)
        for i in range(p.convolutions):
            after = steps[i + 1]
            y, y_lanes = _place(p, end, after, own if after.sliced else room, begin, lanes, s, like)
            surround(after, y, y_lanes)
            conv_forward(steps[i], after, x, y, y_lanes, _winners(p, steps[i], end, start), p.workspace, like)
            x = y
        if steps[p.convolutions].sliced:
            target, strides = _target(p, start, like)
            unpack(steps[p.convolutions], x, target, strides, n, _SLICE)


@njit(**inner)
def _pack_inputs(p, steps, begin, samples, lanes, room, like):
    source, strides = _source(p, begin, like)
    x, _ = _place(p, steps[p.layers], steps[0], room, begin, lanes, 0, like)
    pack(steps[0], source, strides, x, samples, lanes)


@njit(**inner)
def _unpack_outputs(p, steps, begin, samples, lanes, room, like):
    target, strides = _target(p, begin, like)
    y, _ = _place(p, steps[p.layers], steps[p.layers], room, begin, lanes, 0, like)
    unpack(steps[p.layers], y, target, strides, samples, lanes)


def forward_in(like, keep):
    """A part of a phase: some samples through all layers, or a tile through some slices or units of a layer."""

    def run(pass_, phase_, part):
        p, phase = record(pass_at(pass_)), record(phase_at(phase_))
        steps, kind, whole = carray(steps_at(p.steps), p.layers + 1), phase.kind, phase.kind == WHOLE
        own, room, (first, last) = _room(p, part, like), _room(p, part if whole else 0, like), _samples(p, phase, part)
        part, parts = (0, 1) if whole else (part, phase.parts)
        lowest, highest = (p.convolutions, p.layers) if whole else (phase.layer, phase.layer + (kind == ROWS))
        for begin in range(first, last, TILE):
            samples, lanes = _tile(begin, last)
            if kind == SLICES or (whole and p.convolutions):
                start, end = _some(lanes // LANES, part, parts)
                _slices_forward(p, steps, begin, samples, lanes, start, end, room, own, like)
            if kind == PACK or (whole and not p.convolutions):
                _pack_inputs(p, steps, begin, samples, lanes, room, like)
            for i in range(lowest, highest):
                start, end = _first_row(steps[i], part, parts), _first_row(steps[i], part + 1, parts)
                x, _ = _place(p, steps[p.layers], steps[i], room, begin, lanes, 0, like)
                y, _ = _place(p, steps[p.layers], steps[i + 1], room, begin, lanes, 0, like)
                linear_forward(steps[i], x, y, lanes, start, end, like)
            if kind == UNPACK or (whole and not steps[p.layers].sliced):
                _unpack_outputs(p, steps, begin, samples, lanes, room, like)

    return as_c(run, 3, keep)


def taps_in(keep):
    """The offsets of the first so many layers."""

    def run(steps_, convolutions):
        steps = carray(steps_at(steps_), convolutions)
        for i in range(convolutions):
            tap_offsets(steps[i])

    return as_c(run, 2, keep)


def one_in(like, keep):
    """One sample through all layers."""

    def run(pass_, phase_, part):
        p = record(pass_at(pass_))
        steps, space, (source, strides) = (
            carray(steps_at(p.steps), p.layers + 1),
            _room(p, 0, like),
            _source(p, 0, like),
        )
        x = shifted(space, steps[0].brief)
        pack(steps[0], source, strides, x, _ONE, _ONE)
        for i in range(p.layers):
            step, after = steps[i], steps[i + 1]
            y = pointer_at(p.target, like) if i + 1 == p.layers else shifted(space, after.brief)
            if step.convolution:
                surround(after, y, _ONE)
                conv_one(step, after, x, y, like)
            else:
                linear_one(step, x, y, like)
            x = y

    return as_c(run, 3, keep)


# --- backward ---------------------------------------------------------------------------------------------------------


def _collect(width: int):
    @njit(**inner)
    def stretch(j, rooms, apart, target):
        added = load(target, j, width)
        for room in range(1, rooms):
            added = add(added, load(target, room * apart + j, width))
        store(target, j, added)

    return stretch


collect = _in_stretches(_collect, 16)  # what the same place in the other rooms holds is added to the first


@njit(**inner)
def _sums(p, size, part, like):
    """Where a part adds up gradients of parameters."""
    return shifted(pointer_at(p.more_sums, like), (part - 1) * size) if part else pointer_at(p.sums, like)


@njit(**inner)
def _slices_backward(p, steps, begin, samples, lanes, first, last, room, rooms, own, added, like):
    end, before = steps[p.layers], steps[p.convolutions]
    for s in range(first, last):
        start, n = begin + s * LANES, min(LANES, samples - s * LANES)
        dy, y_lanes = _brief(before, own if before.sliced else room, lanes, s)
        if before.sliced:
            source, strides = _source(p, start, like)
            pack(before, source, strides, dy, n, _SLICE)
        elif rooms > 1:
            for j in range(before.size):
                collect(0, LANES, rooms, p.room_size, shifted(dy, j * lanes))
        for i in range(p.convolutions - 1, p.stop - 1, -1):
            step, after = steps[i], steps[i + 1]
            x, _ = _kept(p, end, step, begin, lanes, s, like)
            y, _ = _kept(p, end, after, begin, lanes, s, like)
            dx, _ = _brief(step, own, lanes, s)
            wants = p.target != 0 or i > p.stop
            if wants:
                fill(dx, 0, step.size * LANES, 0)
            conv_backward(step, after, x, y, y_lanes, _winners(p, step, end, start), dy, dx, added, wants, like)
            dy, y_lanes = dx, _SLICE
        if p.target:
            target, strides = _target(p, start, like)
            unpack(steps[0], dy, target, strides, n, _SLICE)


@njit(**inner)
def _pack_gradients(p, steps, begin, samples, lanes, room, like):
    source, strides = _source(p, begin, like)
    dy, _ = _brief(steps[p.layers], room, lanes, 0)
    pack(steps[p.layers], source, strides, dy, samples, lanes)


@njit(**inner)
def _unpack_gradients(p, steps, begin, samples, lanes, room, rooms, like):
    target, strides = _target(p, begin, like)
    dx, _ = _brief(steps[0], room, lanes, 0)
    if rooms > 1:
        collect(0, steps[0].size * lanes, rooms, p.room_size, dx)
    unpack(steps[0], dx, target, strides, samples, lanes)


@njit(**inner)
def _clear(step, added, first, last):
    """Zeros where the gradients of some units are added up."""
    pointers = pointer_at(step.pointers, np.int32(0))
    fill(added, step.dvalues + get(pointers, first), step.dvalues + get(pointers, last), 0)
    fill(added, step.dbias + first, step.dbias + last, 0)


@njit(**inner)
def _add_up(p, size, first, last, parts, like):
    added = pointer_at(p.sums, like)
    for other in range(1, parts):
        more = _sums(p, size, other, like)
        for j in range(first, last):
            put(added, j, get(added, j) + get(more, j))


def backward_in(like, keep):
    """The same for gradients, back down to layer `stop`; or a share of adding up what the parts have found."""

    def run(pass_, phase_, part):
        p, phase = record(pass_at(pass_)), record(phase_at(phase_))
        steps, kind, whole = carray(steps_at(p.steps), p.layers + 1), phase.kind, phase.kind == WHOLE
        size, rooms = steps[p.layers].dvalues, phase.rooms
        if kind == ADD:
            if phase.layer == p.layers:  # of everything
                start, end = _some(size, part, phase.parts)
                _add_up(p, size, start, end, rooms, like)
                return
            for i in range(p.stop, p.convolutions):
                many = get(pointer_at(steps[i].pointers, np.int32(0)), steps[i].rows)
                _add_up(p, size, steps[i].dvalues, steps[i].dvalues + many, rooms, like)
                _add_up(p, size, steps[i].dbias, steps[i].dbias + steps[i].rows, rooms, like)
            return
        own, room, (first, last) = _room(p, part, like), _room(p, part if whole else 0, like), _samples(p, phase, part)
        added = _sums(p, size, 0 if kind == ROWS else part, like)  # units have sums of their own
        part, parts = (0, 1) if whole else (part, phase.parts)
        highest, lowest = (
            (p.layers, max(p.stop, p.convolutions)) if whole else (phase.layer + (kind == ROWS), phase.layer)
        )
        if whole:
            fill(added, 0, size, 0)
        for begin in range(first, last, TILE):
            samples, lanes = _tile(begin, last)
            if kind == PACK or (whole and not steps[p.layers].sliced):
                _pack_gradients(p, steps, begin, samples, lanes, room, like)
            for i in range(highest - 1, lowest - 1, -1):
                start, end = _first_row(steps[i], part, parts), _first_row(steps[i], part + 1, parts)
                if begin == 0 and not whole:
                    _clear(steps[i], added, start, end)
                x, _ = _kept(p, steps[p.layers], steps[i], begin, lanes, 0, like)
                y, _ = _kept(p, steps[p.layers], steps[i + 1], begin, lanes, 0, like)
                dy, _ = _brief(steps[i + 1], room, lanes, 0)
                dx, _ = _brief(steps[i], own, lanes, 0)
                wants = p.target != 0 or i > p.stop
                if wants:
                    fill(dx, 0, steps[i].size * lanes, 0)
                for row in range(start, end if rooms > 1 else start):
                    collect(0, lanes, rooms, p.room_size, shifted(dy, row * lanes))
                linear_backward(steps[i], x, y, dy, dx, added, wants, lanes, start, end, like)
            if kind == SLICES or (whole and p.stop < p.convolutions):
                for i in range(p.stop, p.convolutions if begin == 0 and not whole else p.stop):
                    _clear(steps[i], added, 0, steps[i].rows)
                start, end = _some(lanes // LANES, part, parts)
                _slices_backward(p, steps, begin, samples, lanes, start, end, room, rooms, own, added, like)
            elif kind == UNPACK or (whole and p.target):
                _unpack_gradients(p, steps, begin, samples, lanes, room, rooms, like)

    return as_c(run, 3, keep)
