"""The reference backend: plain torch and torch.sparse, on any device. It is short and exact, not fast.

Nothing here has the size of the dense weight. Activations are features-major inside, [features, samples], so that a
sparse layer hands the next one a transposed view and no copy.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .csr import CSR

# torch says so once a process. Our tests compare every use with dense torch.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

BLOCK = 2**22  # numbers held at a time in the backward pass


class _Matmul(torch.autograd.Function):
    """weight @ x for x [columns, n]. `torch.sparse` would stop the gradient of the values, or make a dense one."""

    @staticmethod
    def forward(ctx, x: Tensor, values: Tensor, columns: Tensor, row_pointers: Tensor) -> Tensor:
        ctx.save_for_backward(x, values, columns, row_pointers)
        size = (len(row_pointers) - 1, len(x))
        return torch.sparse_csr_tensor(row_pointers, columns, values, size=size, check_invariants=False) @ x

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor):
        x, values, columns, row_pointers = ctx.saved_tensors
        rows = CSR(values, columns, row_pointers, len(x)).rows()
        dx = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        dvalues = torch.empty_like(values) if ctx.needs_input_grad[1] else None
        block = max(1, BLOCK // max(1, x.shape[1]))
        for i in range(0, len(values), block):
            column, g = columns[i : i + block], dy[rows[i : i + block]]  # [block, n]
            if dvalues is not None:
                dvalues[i : i + block] = (g * x[column]).sum(1)
            if dx is not None:
                dx.index_add_(0, column, values[i : i + block, None] * g)
        return dx, dvalues, None, None


def _matmul(weight: CSR, x: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    y = _Matmul.apply(x, weight.values, weight.columns, weight.row_pointers)
    if bias is not None:
        y = y + bias[:, None]
    return y.relu() if relu else y


def linear(x: Tensor, weight: CSR, bias: Tensor | None, *, relu: bool = False) -> Tensor:
    """x [..., in] -> [..., out], as `F.linear` with the dense form of `weight` [out, in], and ReLU if asked."""
    y = _matmul(weight, x.reshape(-1, weight.width).t(), bias, relu)
    return y.t().reshape(*x.shape[:-1], weight.shape[0])


def conv2d(
    x: Tensor,
    weight: CSR,
    bias: Tensor | None,
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    relu: bool = False,
    pool: int = 1,
) -> Tensor:
    """Padded x [N, C, H, W] -> [N, out, H', W'], as `F.conv2d` with the dense form of `weight`.

    `weight` is [out, C / groups * kh * kw] here. ReLU and a max-pooling of `pool` x `pool` follow if asked. The patches
    are unfolded into columns, so that the convolution is a matrix product: kh * kw times the input's memory.
    """
    out, n = weight.shape[0], len(x)
    if groups > 1:  # a unit's columns begin where its group's channels do
        first = weight.rows() // (out // groups) * weight.width
        weight = weight._replace(columns=(weight.columns + first).int(), width=weight.width * groups)
    patches = F.unfold(x, kernel_size, dilation, stride=stride)  # [N, C * kh * kw, places]
    y = _matmul(weight, patches.transpose(0, 1).reshape(weight.width, -1), bias, relu)
    height, width = (
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(x.shape[2:], kernel_size, stride, dilation, strict=True)
    )
    y = y.reshape(out, n, height, width).transpose(0, 1)
    return F.max_pool2d(y, pool) if pool > 1 else y
