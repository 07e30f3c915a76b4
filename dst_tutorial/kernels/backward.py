"""Backward: the same layers from the last to the first, a phase at a time."""

import numpy as np
from numba import carray, njit

from .compiled import as_c, inner
from .convolution import conv_backward
from .linear import linear_backward
from .simd import get, pointer_at, put, shifted
from .steps import ADD, LANES, PACK, ROWS, SLICES, TILE, UNPACK, WHOLE
from .stretches import collect, fill
from .tiles import (
    SLICE,
    brief_at,
    first_row,
    kept_at,
    pack,
    pass_at,
    phase_at,
    portion,
    record,
    room_of,
    samples_of,
    source_at,
    steps_at,
    target_at,
    tile_of,
    unpack,
    winners_at,
)


@njit(**inner)
def _sums(p, size, part, like):
    """Where a part adds up gradients of parameters."""
    return shifted(pointer_at(p.more_sums, like), (part - 1) * size) if part else pointer_at(p.sums, like)


@njit(**inner)
def _slices_backward(p, steps, begin, samples, lanes, first, last, room, rooms, own, added, like):
    end, before = steps[p.layers], steps[p.convolutions]
    for s in range(first, last):
        start, n = begin + s * LANES, min(LANES, samples - s * LANES)
        dy, y_lanes = brief_at(before, own if before.sliced else room, lanes, s)
        if before.sliced:
            source, strides = source_at(p, start, like)
            pack(before, source, strides, dy, n, SLICE)
        elif rooms > 1:
            for j in range(before.size):
                collect(0, LANES, rooms, p.room_size, shifted(dy, j * lanes))
        for i in range(p.convolutions - 1, p.stop - 1, -1):
            step, after = steps[i], steps[i + 1]
            x, _ = kept_at(p, end, step, begin, lanes, s, like)
            y, _ = kept_at(p, end, after, begin, lanes, s, like)
            dx, _ = brief_at(step, own, lanes, s)
            wants = p.target != 0 or i > p.stop
            if wants:
                fill(dx, 0, step.size * LANES, 0)
            conv_backward(step, after, x, y, y_lanes, winners_at(p, step, end, start), dy, dx, added, wants, like)
            dy, y_lanes = dx, SLICE
        if p.target:
            target, strides = target_at(p, start, like)
            unpack(steps[0], dy, target, strides, n, SLICE)


@njit(**inner)
def _pack_gradients(p, steps, begin, samples, lanes, room, like):
    source, strides = source_at(p, begin, like)
    dy, _ = brief_at(steps[p.layers], room, lanes, 0)
    pack(steps[p.layers], source, strides, dy, samples, lanes)


@njit(**inner)
def _unpack_gradients(p, steps, begin, samples, lanes, room, rooms, like):
    target, strides = target_at(p, begin, like)
    dx, _ = brief_at(steps[0], room, lanes, 0)
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
                start, end = portion(size, part, phase.parts)
                _add_up(p, size, start, end, rooms, like)
                return
            for i in range(p.stop, p.convolutions):
                many = get(pointer_at(steps[i].pointers, np.int32(0)), steps[i].rows)
                _add_up(p, size, steps[i].dvalues, steps[i].dvalues + many, rooms, like)
                _add_up(p, size, steps[i].dbias, steps[i].dbias + steps[i].rows, rooms, like)
            return
        own, room, (first, last) = (
            room_of(p, part, like),
            room_of(p, part if whole else 0, like),
            samples_of(p, phase, part),
        )
        added = _sums(p, size, 0 if kind == ROWS else part, like)  # units have sums of their own
        part, parts = (0, 1) if whole else (part, phase.parts)
        highest, lowest = (
            (p.layers, max(p.stop, p.convolutions)) if whole else (phase.layer + (kind == ROWS), phase.layer)
        )
        if whole:
            fill(added, 0, size, 0)
        for begin in range(first, last, TILE):
            samples, lanes = tile_of(begin, last)
            if kind == PACK or (whole and not steps[p.layers].sliced):
                _pack_gradients(p, steps, begin, samples, lanes, room, like)
            for i in range(highest - 1, lowest - 1, -1):
                start, end = first_row(steps[i], part, parts), first_row(steps[i], part + 1, parts)
                if begin == 0 and not whole:
                    _clear(steps[i], added, start, end)
                x, _ = kept_at(p, steps[p.layers], steps[i], begin, lanes, 0, like)
                y, _ = kept_at(p, steps[p.layers], steps[i + 1], begin, lanes, 0, like)
                dy, _ = brief_at(steps[i + 1], room, lanes, 0)
                dx, _ = brief_at(steps[i], own, lanes, 0)
                wants = p.target != 0 or i > p.stop
                if wants:
                    fill(dx, 0, steps[i].size * lanes, 0)
                for row in range(start, end if rooms > 1 else start):
                    collect(0, lanes, rooms, p.room_size, shifted(dy, row * lanes))
                linear_backward(steps[i], x, y, dy, dx, added, wants, lanes, start, end, like)
            if kind == SLICES or (whole and p.stop < p.convolutions):
                for i in range(p.stop, p.convolutions if begin == 0 and not whole else p.stop):
                    _clear(steps[i], added, 0, steps[i].rows)
                start, end = portion(lanes // LANES, part, parts)
                _slices_backward(p, steps, begin, samples, lanes, start, end, room, rooms, own, added, like)
            elif kind == UNPACK or (whole and p.target):
                _unpack_gradients(p, steps, begin, samples, lanes, room, rooms, like)

    return as_c(run, 3, keep)
