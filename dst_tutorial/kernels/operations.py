"""What a backend computes: a list of operations, each a kind of layer with its sparse weight and its bias.

A kind knows shapes and holds no numbers. Neighbouring layers are one list, so that a backend may keep what goes from
one to the next in the order that it likes best.
"""

import math
from typing import NamedTuple

from torch import Tensor

from .csr import CSR

Shape = tuple[int, ...]  # of one sample


class Linear(NamedTuple):
    """A weight [out, in], and ReLU if asked. Images that come from a convolution are flattened."""

    in_features: int
    out_features: int
    relu: bool = False

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns of the weight."""
        return self.out_features, self.in_features

    def output(self, shape: Shape) -> Shape:
        """What inputs of this shape become; ValueError for those that do not fit."""
        if math.prod(shape) != self.in_features:
            raise ValueError(f"expected inputs [..., {self.in_features}], got [..., {', '.join(map(str, shape))}]")
        return (self.out_features,)


class Conv2d(NamedTuple):
    """A weight [out, in / groups * kh * kw], ReLU if asked, and a max-pooling of `pool` x `pool` behind it."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, right, top, bottom: filled with zeros
    relu: bool = False
    pool: int = 1

    @property
    def matrix(self) -> tuple[int, int]:
        """As in `Linear`."""
        return self.out_channels, self.in_channels // self.groups * math.prod(self.kernel_size)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        left, right, top, bottom = self.margins
        return height + top + bottom, width + left + right

    def pixels(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what an image of this size becomes, before any pooling."""
        axes = zip(self.padded(height, width), self.kernel_size, self.stride, self.dilation, strict=True)
        return tuple((size - d * (k - 1) - 1) // step + 1 for size, k, step, d in axes)

    def output(self, shape: Shape) -> Shape:
        """As in `Linear`."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ValueError(f"expected images [N, {self.in_channels}, H, W], got [N, {', '.join(map(str, shape))}]")
        if min(*self.kernel_size, *self.stride, *self.dilation, self.groups, self.pool) < 1 or min(self.margins) < 0:
            raise ValueError(f"there is no such convolution: {self}")
        height, width = pixels = self.pixels(*shape[1:])
        if min(pixels) < 1:
            size = f"{shape[1]} x {shape[2]} pixels, padded"
            raise ValueError(f"images of {size}, are too small for the kernel {self.kernel_size}")
        if min(pixels) < self.pool:
            raise ValueError(f"{height} x {width} pixels are too few for a pooling of {self.pool}")
        return self.out_channels, height // self.pool, width // self.pool


class Operation(NamedTuple):
    kind: Linear | Conv2d
    weight: CSR
    bias: Tensor | None  # [out]


def rows_of(x: Tensor) -> Tensor:
    """[..., features] -> [samples, features]"""
    return x.flatten(end_dim=-2) if x.dim() > 1 else x[None]
