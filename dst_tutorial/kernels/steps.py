"""What the compiled loops are told: tables of numbers, of the layers, of a pass through them, and of its phases."""

from typing import NamedTuple

import numpy as np

LANES = 16  # samples that convolutions take together, a slice: a whole vector
TILE = 64  # samples that linear layers take together


class Step(NamedTuple):
    """Activations, and the layer that reads them and writes those of the next step; the last step has no layer.

    Sizes and places of activations and winners are those of one lane: times the lanes, they are numbers in memory.
    """

    # activations, images [channels, height, width] or vectors [1, 1, width]
    at: int = 0  # first number, where all activations are kept
    brief: int = 0  # first number, where each makes room for those after the next
    size: int = 0  # numbers, with the margins around images
    channels: int = 0
    height: int = 0
    width: int = 0
    first: int = 0  # of [0, 0, 0]
    line: int = 0  # from one line of pixels to the next
    plane: int = 0  # from one channel to the next
    sliced: int = 0  # slice by slice, as convolutions take them; otherwise a tile at once, as linear layers do

    # the layer
    rows: int = 0  # units
    relu: int = 0
    values: int = 0  # address, as the next four
    columns: int = 0
    offsets: int = 0  # where each weight reads for the first output, per lane; columns again in a linear layer
    pointers: int = 0
    bias: int = 0  # or 0: none
    dvalues: int = 0  # first number among the gradients of all parameters; in the last step, how many these are
    dbias: int = 0

    # a convolution
    convolution: int = 0  # is it one?
    halve: int = 0  # keep the largest of each 2 x 2 pixels
    winners: int = 0  # first byte of which these were: see `sum_four`
    y_height: int = 0  # before the halving
    y_width: int = 0
    stride_y: int = 0
    stride_x: int = 0
    dilation_y: int = 0
    dilation_x: int = 0
    kernel_width: int = 0
    taps: int = 0  # weights of a whole kernel
    group_channels: int = 0
    group_units: int = 0


class Pass(NamedTuple):
    """Samples through all layers, forward or backward. Source and target are [N, C, H, W] of these strides."""

    steps: int  # address, as source, target, workspace, winners, room, sums and more_sums
    layers: int
    convolutions: int  # the first so many layers
    samples: int
    stop: int  # backward: the first layer with a gradient that somebody wants
    source: int  # of what comes in: inputs, or the gradient of the outputs
    source_n: int
    source_c: int
    source_h: int
    source_w: int
    target: int  # of what goes out; 0: the gradient of the inputs is not wanted
    target_n: int
    target_c: int
    target_h: int
    target_w: int
    workspace: int  # where all activations are kept for the backward pass; 0: they are not
    winners: int
    room: int  # for what is there for a tile only, `room_size` numbers a part
    room_size: int
    sums: int  # for the gradients of all parameters
    more_sums: int  # the same for each part but the first


# kinds of phases, and what a part of one is
WHOLE, SLICES, ROWS = 0, 1, 2  # samples through all layers; slices of a tile through the convolutions; units of a layer
PACK, UNPACK, ADD = 3, 4, 5  # the ends of a tile; a share of adding up what the parts have found


class Phase(NamedTuple):
    """What of a pass may be done at once, in `parts`."""

    parts: int
    kind: int
    layer: int = 0
    begin: int = 0  # first sample of the tile
    rooms: int = 1  # backward: so many parts have added to the gradient that this phase reads


STEP, PASS, PHASE = (np.dtype([(name, np.int64) for name in kind._fields]) for kind in (Step, Pass, Phase))
