"""Where a tile's activations lie, and how samples come into them and out again.

A tile has whole vectors of lanes; those beyond the last sample are zeros.
"""

import numpy as np
from numba import carray, njit

from .compiled import inner
from .simd import get, pointer_at, pointers_to, put, shifted, transpose_block
from .steps import LANES, PASS, PHASE, STEP, TILE, WHOLE
from .stretches import fill

steps_at, pass_at, phase_at = pointers_to(STEP), pointers_to(PASS), pointers_to(PHASE)
ONE, SLICE = np.int64(1), np.int64(LANES)  # for Python's own integers numba would compile a loop once more
_CONNECTIONS = 4  # that are as much work as what a row takes besides


@njit(**inner)
def record(at):
    return carray(at, 1)[0]


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
def brief_at(step, room, lanes, s):
    """Where the activations of slice `s` are while they are needed, and how far the features are apart."""
    return (shifted(room, step.brief * lanes), SLICE) if step.sliced else (
        shifted(room, step.brief * lanes + s * LANES), lanes)  # fmt: skip


@njit(**inner)
def kept_at(p, end, step, begin, lanes, s, like):
    """The same where all activations are kept, of the tile that begins with sample `begin`."""
    tile = shifted(pointer_at(p.workspace, like), begin * (end.at + end.size))
    return (shifted(tile, step.at * lanes + s * LANES * step.size), SLICE) if step.sliced else (
        shifted(tile, step.at * lanes + s * LANES), lanes)  # fmt: skip


@njit(**inner)
def place_at(p, end, step, room, begin, lanes, s, like):
    return kept_at(p, end, step, begin, lanes, s, like) if p.workspace else brief_at(step, room, lanes, s)


@njit(**inner)
def tile_of(begin, samples):
    """How many samples there are in the tile that begins there, and lanes."""
    n = min(TILE, samples - begin)
    return n, -(-n // LANES) * LANES


@njit(**inner)
def samples_of(p, phase, part):
    """[first, last) that a part goes through."""
    if phase.kind == WHOLE:
        first, last = portion(-(-p.samples // LANES), part, phase.parts)
        return first * LANES, min(last * LANES, p.samples)
    return phase.begin, min(phase.begin + TILE, p.samples)


@njit(**inner)
def room_of(p, part, like):
    """A part's own, for a tile."""
    return shifted(pointer_at(p.room, like), part * p.room_size)


@njit(**inner)
def source_at(p, n, like):
    """Of sample `n`, and the strides."""
    return shifted(pointer_at(p.source, like), n * p.source_n), (p.source_n, p.source_c, p.source_h, p.source_w)


@njit(**inner)
def target_at(p, n, like):
    return shifted(pointer_at(p.target, like), n * p.target_n), (p.target_n, p.target_c, p.target_h, p.target_w)


@njit(**inner)
def winners_at(p, step, end, start):
    return shifted(pointer_at(p.winners, np.uint8(0)), start * end.winners + step.winners * LANES)


@njit(**inner)
def portion(n, part, parts):
    """[first, last) of n things: the part's."""
    size = -(-n // parts)
    return min(part * size, n), min((part + 1) * size, n)


@njit(**inner)
def first_row(step, part, parts):
    """Of a part of the rows, all of which have about as many connections; a row itself is as much work as some."""
    pointers = pointer_at(step.pointers, np.int32(0))
    goal, low, high = (get(pointers, step.rows) + _CONNECTIONS * step.rows) * part // parts, 0, step.rows
    while low < high:
        middle = (low + high) // 2
        if get(pointers, middle) + _CONNECTIONS * middle < goal:
            low = middle + 1
        else:
            high = middle
    return low
