"""Where everything goes when samples of one shape pass through a list of layers: known before there are numbers."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .operations import Conv2d, Linear, Shape
from .steps import Step


class Plan(NamedTuple):
    table: np.ndarray  # the fields of a `Step` each, without addresses; a row more than there are layers
    output: Shape
    kept: int  # numbers of all activations of a sample
    brief: int  # numbers that are there at a time, if they need not be kept
    winners: int  # bytes of a sample
    reads: tuple[int, ...]  # features that each layer reads
    rows: tuple[int, ...]  # units of each layer
    uses: tuple[int, ...]  # how often a layer uses each of its weights for a sample
    convolution: tuple[bool, ...]  # is it one?


@lru_cache(maxsize=256)
def plan(shape: Shape, *kinds: Linear | Conv2d) -> Plan:
    """For samples of this shape. ValueError for a shape that does not fit."""
    steps, uses, at, winners = [], [], 0, 0
    for kind in (*kinds, None):  # None: the outputs, which no layer reads
        step = _activations(shape, kind)._replace(at=at, winners=winners)
        at += step.size
        if kind:
            shape = kind.output(shape)
            step = step._replace(relu=kind.relu, rows=shape[0])
        if isinstance(kind, Conv2d):
            step = _convolution(step, kind)
            winners += math.prod(shape) if step.halve else 0
        steps.append(step)
        uses.append(max(1, step.y_height * step.y_width))
    steps, brief = _in_turns(steps)
    reads, rows, convolution = zip(*[(step.size, step.rows, step.convolution) for step in steps[:-1]], strict=True)
    return Plan(np.array(steps, np.int64), shape, at, brief, winners, reads, rows, tuple(uses[:-1]), convolution)


def _activations(shape: Shape, reader: Linear | Conv2d | None) -> Step:
    """Of this shape, with the margins that their reader wants around its images."""
    channels, height, width = shape if len(shape) == 3 else (1, 1, *shape)
    left, _, top, _ = reader.margins if isinstance(reader, Conv2d) else (0, 0, 0, 0)
    lines, line = reader.padded(height, width) if isinstance(reader, Conv2d) else (height, width)
    plane = lines * line
    return Step(size=channels * plane, channels=channels, height=height, width=width, first=top * line + left,
                line=line, plane=plane)  # fmt: skip


def _convolution(step: Step, kind: Conv2d) -> Step:
    height, width = kind.pixels(step.height, step.width)
    return step._replace(
        convolution=1,
        halve=kind.pool == 2,
        y_height=height,
        y_width=width,
        stride_y=kind.stride[0],
        stride_x=kind.stride[1],
        group_channels=step.channels // kind.groups,
        group_units=step.rows // kind.groups,
        kernel_width=kind.kernel_size[1],
        taps=math.prod(kind.kernel_size),
        dilation_y=kind.dilation[0],
        dilation_x=kind.dilation[1],
    )


def _in_turns(steps: list[Step]) -> tuple[list[Step], int]:
    """The steps with their `brief` places, and the room that these take: every second one has the same place.

    The activations around convolutions are those of a slice at a time; the rest, of a tile, lie behind them.
    """
    convolutions = sum(step.convolution for step in steps)
    sliced = convolutions + 1 if convolutions == len(steps) - 1 else convolutions
    placed, room = [], 0
    for group in (steps[:sliced], steps[sliced:]):
        even, odd = (max((step.size for step in group[i::2]), default=0) for i in (0, 1))
        for i, step in enumerate(group):
            placed.append(step._replace(brief=room + (even if i % 2 else 0), sliced=len(placed) < sliced))
        room += even + odd
    return placed, room
