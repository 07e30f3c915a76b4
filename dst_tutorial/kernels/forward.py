"""Forward: a list of sparse layers, a phase at a time.

Samples are taken in tiles of up to `TILE`, one tile through all layers, so that its activations stay in the cache.
"""

from numba import carray, njit

from .compiled import as_c, inner
from .convolution import conv_forward, conv_one, tap_offsets
from .linear import linear_forward, linear_one
from .simd import pointer_at, shifted
from .steps import LANES, PACK, ROWS, SLICES, TILE, UNPACK, WHOLE
from .tiles import (
    ONE,
    SLICE,
    first_row,
    pack,
    pass_at,
    phase_at,
    place_at,
    portion,
    record,
    room_of,
    samples_of,
    source_at,
    steps_at,
    surround,
    target_at,
    tile_of,
    unpack,
    winners_at,
)


@njit(**inner)
def _slices_forward(p, steps, begin, samples, lanes, first, last, room, own, like):
    """The convolutions, for slices [first, last) of a tile; what lies between them is in a room of one's own."""
    end = steps[p.layers]
    for s in range(first, last):
        start, n = begin + s * LANES, min(LANES, samples - s * LANES)
        source, strides = source_at(p, start, like)
        x, _ = place_at(p, end, steps[0], own, begin, lanes, s, like)
        pack(steps[0], source, strides, x, n, SLICE)
        for i in range(p.convolutions):
            after = steps[i + 1]
            y, y_lanes = place_at(p, end, after, own if after.sliced else room, begin, lanes, s, like)
            surround(after, y, y_lanes)
            conv_forward(steps[i], after, x, y, y_lanes, winners_at(p, steps[i], end, start), p.workspace, like)
            x = y
        if steps[p.convolutions].sliced:
            target, strides = target_at(p, start, like)
            unpack(steps[p.convolutions], x, target, strides, n, SLICE)


@njit(**inner)
def _pack_inputs(p, steps, begin, samples, lanes, room, like):
    source, strides = source_at(p, begin, like)
    x, _ = place_at(p, steps[p.layers], steps[0], room, begin, lanes, 0, like)
    pack(steps[0], source, strides, x, samples, lanes)


@njit(**inner)
def _unpack_outputs(p, steps, begin, samples, lanes, room, like):
    target, strides = target_at(p, begin, like)
    y, _ = place_at(p, steps[p.layers], steps[p.layers], room, begin, lanes, 0, like)
    unpack(steps[p.layers], y, target, strides, samples, lanes)


def forward_in(like, keep):
    """A part of a phase: some samples through all layers, or a tile through some slices or units of a layer."""

    def run(pass_, phase_, part):
        p, phase = record(pass_at(pass_)), record(phase_at(phase_))
        steps, kind, whole = carray(steps_at(p.steps), p.layers + 1), phase.kind, phase.kind == WHOLE
        own, room, (first, last) = (
            room_of(p, part, like),
            room_of(p, part if whole else 0, like),
            samples_of(p, phase, part),
        )
        part, parts = (0, 1) if whole else (part, phase.parts)
        lowest, highest = (p.convolutions, p.layers) if whole else (phase.layer, phase.layer + (kind == ROWS))
        for begin in range(first, last, TILE):
            samples, lanes = tile_of(begin, last)
            if kind == SLICES or (whole and p.convolutions):
                start, end = portion(lanes // LANES, part, parts)
                _slices_forward(p, steps, begin, samples, lanes, start, end, room, own, like)
            if kind == PACK or (whole and not p.convolutions):
                _pack_inputs(p, steps, begin, samples, lanes, room, like)
            for i in range(lowest, highest):
                start, end = first_row(steps[i], part, parts), first_row(steps[i], part + 1, parts)
                x, _ = place_at(p, steps[p.layers], steps[i], room, begin, lanes, 0, like)
                y, _ = place_at(p, steps[p.layers], steps[i + 1], room, begin, lanes, 0, like)
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
            room_of(p, 0, like),
            source_at(p, 0, like),
        )
        x = shifted(space, steps[0].brief)
        pack(steps[0], source, strides, x, ONE, ONE)
        for i in range(p.layers):
            step, after = steps[i], steps[i + 1]
            y = pointer_at(p.target, like) if i + 1 == p.layers else shifted(space, after.brief)
            if step.convolution:
                surround(after, y, ONE)
                conv_one(step, after, x, y, like)
            else:
                linear_one(step, x, y, like)
            x = y

    return as_c(run, 3, keep)
