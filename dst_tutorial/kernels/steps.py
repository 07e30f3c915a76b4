"""What the compiled loops are told of a list of layers: a table of numbers, a row a step."""

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


STEP = np.dtype([(name, np.int64) for name in Step._fields])
