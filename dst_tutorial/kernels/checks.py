"""What a backend reads is checked here: compiled loops and libraries read where an address points, unasked."""

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from .operations import Conv2d, Linear, Operation

FLOATS = (torch.float32, torch.float64)
_HALVES = (torch.bfloat16, torch.float16)


def checked(x: Tensor, operations: Sequence[Operation], *, traced: bool = False) -> Tensor:
    """The inputs as backends take them: of the weights' dtype and device, with their numbers in memory.

    RuntimeError for what no backend can compute, and for weights that are not CSR, whoever put them there. Where it is
    `traced` there are no numbers to look at.
    """
    check_weights(operations, traced=traced)
    return checked_inputs(x, operations[0].weight.values, traced=traced)


def check_weights(operations: Sequence[Operation], *, traced: bool = False) -> None:
    """The part of `checked` that the inputs have no part in."""
    dtype = operations[0].weight.values.dtype
    if dtype not in FLOATS:
        raise RuntimeError(f"sparse layers compute in float32 or float64, and these weights are {dtype}")
    for operation in operations:
        _check(operation, dtype, traced)


def checked_inputs(x: Tensor, values: Tensor, *, traced: bool = False) -> Tensor:
    """The other part: inputs for the layer of these values."""
    dtype = values.dtype
    if x.dtype in _HALVES and torch.is_autocast_enabled(values.device.type):
        x = x.to(dtype)  # a dense neighbour's outputs; what is sparse keeps its precision
    if x.dtype is not dtype or x.device != values.device or x.layout is not torch.strided:
        raise RuntimeError(
            f"inputs must be {dtype} on {values.device}, as the weights are (float32 or float64), and dense; "
            f"got {x.dtype} on {x.device}{'' if x.layout is torch.strided else f', {x.layout}'}"
        )
    return x if traced else plain(x)


def plain(x: Tensor) -> Tensor:
    """With its numbers in memory, which torch may put off: negated later, or zeros without memory."""
    if x._is_zerotensor():
        return x.clone()
    return x.resolve_neg() if x.is_neg() else x


def refuse_second_derivative() -> None:
    """For a backward pass that cannot be differentiated itself. RuntimeError where it is asked to be."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of a gradient (create_graph=True) is for the reference backend alone: call "
            "kernels.use('reference') before the forward pass"
        )


def address(tensor: Tensor | None, dtype: torch.dtype, size: int | None = None) -> int:
    """Where its numbers lie, one behind the other, as long as it lives; 0 for None.

    RuntimeError if a loop could not read them there, or if they are not `size` many.
    """
    if tensor is None:
        return 0
    if not tensor.is_contiguous() or (size is not None and tensor.numel() != size):
        raise RuntimeError(f"{size or 'contiguous'} numbers are read here; got {list(tensor.shape)} {tensor.stride()}")
    return place(tensor, dtype)


def place(tensor: Tensor, dtype: torch.dtype) -> int:
    """Where its first number lies; the others by its strides. RuntimeError if it lies in no memory of ours."""
    at = tensor.data_ptr()  # 0: zeros without memory, fake tensors
    if tensor.dtype is dtype and tensor.is_cpu and not tensor.is_neg() and (at or not tensor.numel()):
        return at
    raise RuntimeError(f"the cpu backend reads {dtype} in the CPU's memory; got {tensor.dtype} on {tensor.device}")


def index_fault(columns: Tensor, pointers: Tensor, rows: int, width: int) -> str | None:
    """Why these are not the indices of a matrix [rows, width] in CSR; None if they are."""
    if not (columns.dtype is pointers.dtype is torch.int32):
        return f"they must be int32, got {columns.dtype} and {pointers.dtype}"
    if columns.dim() != 1 or pointers.shape != (rows + 1,):
        return f"they must be of shapes [active] and [{rows + 1}], got {list(columns.shape)} and {list(pointers.shape)}"
    if columns.is_neg() or pointers.is_neg() or not (columns.is_contiguous() and pointers.is_contiguous()):
        return "they must be contiguous, and not lazily negated"
    if columns.is_meta:
        return None
    size = len(columns)
    if pointers[0] != 0 or pointers[-1] != size or (pointers.diff() < 0).any():
        return f"row_pointers must rise from 0 to {size}"
    if size and (columns.min() < 0 or columns.max() >= width):
        return f"columns must be in [0, {width})"
    rising = columns.diff() > 0
    starts = pointers[(pointers > 0) & (pointers < size)].long() - 1  # a new row may begin with any column
    if not rising.index_fill_(0, starts, True).all():
        return "columns must rise within a row, each once"
    return None


def _check(operation: Operation, dtype: torch.dtype, traced: bool) -> None:
    kind, (values, columns, pointers, width), bias = operation
    if values.dtype is not dtype or values.numel() != columns.numel() or values.dim() != 1:
        raise RuntimeError(
            f"the values must be one a column, {list(columns.shape)}, and {dtype}; got {list(values.shape)} of "
            f"{values.dtype}"
        )
    if bias is not None and not (
        bias.dtype is dtype and bias.numel() == kind[1] and bias.dim() == 1 and bias.is_cpu is values.is_cpu
    ):
        raise RuntimeError(
            f"the bias must be [{kind[1]}], {dtype} and on {values.device}; got {list(bias.shape)} of {bias.dtype} on "
            f"{bias.device}"
        )
    if not traced:
        check_indices(kind, columns, pointers, width)


# columns that were looked at: their id -> columns, row pointers, and what they were found good for
_sound: dict[int, tuple] = {}


def check_indices(kind: Linear | Conv2d, columns: Tensor, pointers: Tensor, width: int) -> None:
    """RuntimeError if these are not the indices of such a weight. Once they are, it is looked at no more.

    What is written into them past autograd's notice (by `.data` or NumPy) is not seen.
    """
    try:
        found = kind, width, columns._version, pointers._version, columns.data_ptr(), pointers.data_ptr()
    except RuntimeError:  # inference tensors do not tell when they are changed, others have no address
        found = None
    known = _sound.get(id(columns))
    if known and known[2] == found and known[0]() is columns and known[1]() is pointers:
        return
    shape = kind.matrix
    fault = f"they are of width {width}" if width != shape[1] else index_fault(columns, pointers, *shape)
    if fault:
        raise RuntimeError(f"columns and row_pointers are not those of a weight {[*shape]}: {fault}")
    if found:
        key = id(columns)
        _sound[key] = weakref.ref(columns, lambda _: _sound.pop(key, None)), weakref.ref(pointers), found
