"""The reference backend: plain torch and torch.sparse, on any device. It is short and exact, not fast.

Nothing here has the size of the dense weight. Activations are features-major inside, [features, samples].
"""

import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import checked
from .csr import CSR
from .operations import Conv2d, Operation, rows_of

# torch says so once a process. Our tests compare every use with dense torch.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

BLOCK = 2**22  # numbers held at a time in the backward pass


class _Matmul(torch.autograd.Function):
    """weight @ x for x [columns, n]. `torch.sparse` would stop the gradient of the values, or make a dense one."""

    @staticmethod
    def forward(ctx, x: Tensor, values: Tensor, columns: Tensor, row_pointers: Tensor) -> Tensor:
        ctx.save_for_backward(x, values, columns, row_pointers)
        size = (len(row_pointers) - 1, len(x))
        with torch.autocast(x.device.type, enabled=False):
            return torch.sparse_csr_tensor(row_pointers, columns, values, size=size, check_invariants=False) @ x

    @staticmethod
    def backward(ctx, dy: Tensor):  # of operations that torch differentiates once more, if asked to
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


def matmul(weight: CSR, x: Tensor) -> Tensor:
    """weight [rows, columns] @ x [columns, n] -> [rows, n]."""
    return _Matmul.apply(x, weight.values, weight.columns, weight.row_pointers)


def gathered(weight: CSR, x: Tensor) -> Tensor:
    """The same in operations that torch can differentiate, trace, compile and export; it holds [active, n] numbers."""
    products = weight.values[:, None] * x[weight.columns]
    return products.new_zeros(weight.shape[0], x.shape[1]).index_add(0, weight.rows(), products)


def run(x: Tensor, operations: Sequence[Operation], *, product: Callable = matmul) -> Tensor:
    """The operations one after the other: x [..., in], or images [N, C, H, W], to what the last one makes of it.

    product   what multiplies, with the signature of `matmul`

    ValueError for shapes that do not fit, RuntimeError for what `checks.py` refuses.
    """
    x = checked(x, operations, traced=product is gathered)
    images = False
    for operation in operations:
        x = x.flatten(1) if images and not isinstance(operation.kind, Conv2d) else x
        images = isinstance(operation.kind, Conv2d)
        operation.kind.output(x.shape[1:] if images else x.shape[-1:])
        x = (_conv2d if images else _linear)(x, operation, product)
    return x


def _linear(x: Tensor, operation: Operation, product: Callable) -> Tensor:
    y = _affine(operation, rows_of(x).t(), product)
    return y.t().view(*x.shape[:-1], operation.kind.out_features)


def _conv2d(x: Tensor, operation: Operation, product: Callable) -> Tensor:
    """Shifted copies of the images, one a tap of the kernel, make it a matrix product: kh * kw times their memory."""
    kind, weight = operation.kind, operation.weight
    if kind.groups > 1:  # a unit's columns begin where its group's channels do
        first = weight.rows() // (weight.shape[0] // kind.groups) * weight.width
        weight = weight._replace(columns=(weight.columns + first).int(), width=weight.width * kind.groups)
    x = F.pad(x, kind.margins).transpose(0, 1) if any(kind.margins) else x.transpose(0, 1)
    axes = zip(x.shape[2:], kind.kernel_size, kind.stride, kind.dilation, strict=True)
    down, right = (_taps(*axis) for axis in axes)
    taps = torch.stack([x[:, :, i, j] for i in down for j in right], dim=1)  # [C, kh * kw, N, H', W']
    y = _affine(operation._replace(weight=weight), taps.flatten(0, 1).flatten(1), product)
    y = y.view(-1, 1, *taps.shape[3:])  # an image a unit and sample
    y = F.max_pool2d(y, kind.pool) if kind.pool > 1 else y
    return y.view(weight.shape[0], x.shape[1], *y.shape[2:]).transpose(0, 1)


def _affine(operation: Operation, x: Tensor, product: Callable) -> Tensor:
    y = product(operation.weight, x)
    if operation.bias is not None:
        y = y.add_(operation.bias[:, None])
    return y.relu_() if operation.kind.relu else y


def _taps(size: int, kernel: int, stride: int, dilation: int) -> list[slice]:
    """What each tap of the kernel sees along one axis of the padded image."""
    reach = size - dilation * (kernel - 1)
    return [slice(first, first + reach, stride) for first in range(0, dilation * kernel, dilation)]
