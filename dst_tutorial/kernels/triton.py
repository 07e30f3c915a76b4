"""Triton in both directions: the loops of a GPU, written in Python, with one sum a program and no atomics.

The reference's operations, with another product. A program owns a row and some samples: it gathers the rows of x that
its weights name, some at a time, and adds them up. The gradient of x is the same walk through the transposed index;
that of a value is a dot product of two rows. Under TRITON_INTERPRET=1, set before Triton is imported, it runs on a CPU:
slowly, to be tested. On a GPU it has not run yet, so nothing chooses it: `kernels.use("triton")` does.
"""

from functools import partial
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from triton.runtime.interpreter import InterpretedFunction

from . import reference
from .checks import refuse_second_derivative
from .csr import CSR

_ALL = 1024  # numbers of x that a program holds at a time: so many entries times so many samples
_SAMPLES = 128  # of a program, at most


@triton.jit
def _add_rows(y, x, values, columns, pointers, places, rows, n, entries: tl.constexpr, samples: tl.constexpr):
    """y[row] = sum over the row's entries k of values[places[k]] x[columns[k]]; without `places`, of values[k]."""
    program = tl.program_id(0)  # one axis: the second holds 65,535 at most
    row = (program % rows).to(tl.int64)
    lane = program // rows * samples + tl.arange(0, samples)
    last = tl.load(pointers + row + 1)
    total = tl.zeros([samples], y.dtype.element_ty)
    for first in range(tl.load(pointers + row), last, entries):
        k = first + tl.arange(0, entries)
        here = k < last
        column = tl.load(columns + k, here, 0).to(tl.int64)
        place = k if places is None else tl.load(places + k, here, 0)
        weight = tl.load(values + place, here, 0)
        read = tl.load(x + column[:, None] * n + lane[None, :], here[:, None] & (lane < n)[None, :], 0)
        total += tl.sum(weight[:, None] * read, 0)
    tl.store(y + row * n + lane, total, lane < n)


@triton.jit
def _dots(dvalues, dy, x, rows, columns, active, n, entries: tl.constexpr, samples: tl.constexpr):
    """dvalues[k] = dy[rows[k]] . x[columns[k]]"""
    k = tl.program_id(0) * entries + tl.arange(0, entries)
    here = k < active
    row, column = tl.load(rows + k, here, 0).to(tl.int64), tl.load(columns + k, here, 0).to(tl.int64)
    total = tl.zeros([entries], dvalues.dtype.element_ty)
    for first in range(0, n, samples):
        lane = first + tl.arange(0, samples)
        both = here[:, None] & (lane < n)[None, :]
        g = tl.load(dy + row[:, None] * n + lane[None, :], both, 0)
        total += tl.sum(g * tl.load(x + column[:, None] * n + lane[None, :], both, 0), 1)
    tl.store(dvalues + k, total, here)


class _Index(NamedTuple):
    """What the backward pass needs of a topology: int32 [active] each, but `pointers` [width + 1]."""

    rows: Tensor  # of every entry
    transposed: Tensor  # the rows, in the order of the columns
    pointers: Tensor  # where each column begins in that order
    places: Tensor  # where each of these entries stands in the rows' order


_kept = WeakTensorKeyDictionary()  # columns -> (row pointers, versions, shape, index): made once for a layer's topology
_INTERPRETED = isinstance(_add_rows, InterpretedFunction)


def _index(weight: CSR) -> _Index:
    columns, pointers = weight.columns, weight.row_pointers
    about = columns._version, pointers._version, weight.shape
    if columns not in _kept or _kept[columns][0] is not pointers or _kept[columns][1] != about:
        order, rows = columns.argsort(stable=True), weight.rows()
        starts = torch.arange(weight.width + 1, device=columns.device)
        begins = torch.searchsorted(columns[order].long(), starts)
        _kept[columns] = pointers, about, _Index(*(t.int() for t in (rows, rows[order], begins, order)))
    return _kept[columns][2]


def _tile(n: int) -> dict[str, int]:
    samples = min(_SAMPLES, triton.next_power_of_2(n))
    return {"entries": _ALL // samples, "samples": samples}


def _product(rows: int, x: Tensor, values: Tensor, columns: Tensor, pointers: Tensor, places: Tensor | None) -> Tensor:
    n = x.shape[1]
    y, tile = x.new_empty(rows, n), _tile(n)
    programs = rows * triton.cdiv(n, tile["samples"])
    with torch.cuda.device_of(x):  # Triton launches on the current device
        _add_rows[programs,](y, x, values, columns, pointers, places, rows, n, **tile)
    return y


class _Matmul(torch.autograd.Function):
    """weight @ x for x [columns, n]"""

    @staticmethod
    def forward(ctx, x: Tensor, values: Tensor, columns: Tensor, row_pointers: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, values, columns, row_pointers)
        return _product(len(row_pointers) - 1, x, values, columns, row_pointers, None)

    @staticmethod
    def backward(ctx, dy: Tensor):
        refuse_second_derivative()
        x, values, columns, row_pointers = ctx.saved_tensors
        index, dy, tile = _index(CSR(values, columns, row_pointers, len(x))), dy.contiguous(), _tile(x.shape[1])
        dx = dvalues = None
        if ctx.needs_input_grad[0]:
            dx = _product(len(x), dy, values, index.transposed, index.pointers, index.places)
        if ctx.needs_input_grad[1]:
            dvalues = torch.empty_like(values)
            programs = triton.cdiv(len(values), tile["entries"])
            with torch.cuda.device_of(x):
                _dots[programs,](dvalues, dy, x, index.rows, columns, len(values), x.shape[1], **tile)
        return dx, dvalues, None, None


def matmul(weight: CSR, x: Tensor) -> Tensor:
    """weight [rows, columns] @ x [columns, n] -> [rows, n]. RuntimeError on a CPU, unless Triton interprets."""
    if not x.is_cuda and not _INTERPRETED:
        raise RuntimeError(
            "the triton backend runs on a GPU; on a CPU only with TRITON_INTERPRET=1, set before Python starts, to be "
            "tested"
        )
    if not weight.values.numel() or not x.numel():
        return reference.matmul(weight, x)
    return _Matmul.apply(x, weight.values.contiguous(), weight.columns, weight.row_pointers)


run = partial(reference.run, product=matmul)
