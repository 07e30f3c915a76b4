"""torch.sparse in both directions: what a GPU runs. cuSPARSE multiplies there, MKL on a CPU.

The reference's operations, with another product: its backward pass samples dy @ x.T at the connections and multiplies
by the transposed matrix, one call of the library each, where the reference gathers in plain torch. A CPU without MKL
has no such calls: there it is the reference.
"""

from functools import partial

import torch
from torch import Tensor

from . import reference
from .checks import refuse_second_derivative
from .csr import CSR


class _Matmul(torch.autograd.Function):
    """weight @ x for x [columns, n]"""

    @staticmethod
    def forward(ctx, x: Tensor, values: Tensor, columns: Tensor, row_pointers: Tensor) -> Tensor:
        ctx.save_for_backward(x, values, columns, row_pointers)
        with torch.autocast(x.device.type, enabled=False):
            return _matrix(values, columns, row_pointers, len(x)) @ x

    @staticmethod
    def backward(ctx, dy: Tensor):
        refuse_second_derivative()
        x, values, columns, row_pointers = ctx.saved_tensors
        dx = dvalues = None
        if ctx.needs_input_grad[0]:
            dx = _matrix(values, columns, row_pointers, len(x)).t() @ dy
        if ctx.needs_input_grad[1]:
            nothing = _matrix(torch.zeros_like(values), columns, row_pointers, len(x))
            dvalues = torch.sparse.sampled_addmm(nothing, dy.contiguous(), x.t(), beta=0.0).values()
        return dx, dvalues, None, None


def _matrix(values: Tensor, columns: Tensor, row_pointers: Tensor, width: int) -> Tensor:
    size = (len(row_pointers) - 1, width)
    return torch.sparse_csr_tensor(row_pointers, columns, values, size=size, check_invariants=False)


def matmul(weight: CSR, x: Tensor) -> Tensor:
    """weight [rows, columns] @ x [columns, n] -> [rows, n]. RuntimeError for dtypes that the library does not have."""
    called = x.is_cuda or torch.backends.mkl.is_available()
    if not called or not weight.values.numel() or not x.numel():  # libraries refuse empty products
        return reference.matmul(weight, x)
    return _Matmul.apply(x, weight.values, weight.columns, weight.row_pointers)


run = partial(reference.run, product=matmul)
