"""What a backend reads is checked here: compiled loops and libraries read where an address points, unasked."""

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from .operations import Operation

FLOATS = (torch.float32, torch.float64)


def checked(x: Tensor, operations: Sequence[Operation]) -> Tensor:
    """The inputs as backends take them: of the weights' dtype and device, with their numbers in memory.

    RuntimeError for what no backend can compute, and for weights that are not CSR, whoever put them there.
    """
    values = operations[0].weight.values
    if values.dtype not in FLOATS:
        raise RuntimeError(f"sparse layers compute in float32 or float64, and these weights are {values.dtype}")
    for operation in operations:
        _check(operation, values)
    if x.dtype is not values.dtype and x.is_floating_point() and torch.is_autocast_enabled(values.device.type):
        x = x.to(values.dtype)  # a dense neighbour's outputs; what is sparse keeps its precision
    if x.dtype is not values.dtype or x.device != values.device or x.layout is not torch.strided:
        raise RuntimeError(
            f"inputs must be {values.dtype} on {values.device}, as the weights are (float32 or float64), and dense; "
            f"got {x.dtype} on {x.device}{'' if x.layout is torch.strided else f', {x.layout}'}"
        )
    return plain(x)


def plain(x: Tensor) -> Tensor:
    """With its numbers in memory, which torch may put off: negated later, or zeros without memory."""
    return x.clone() if x._is_zerotensor() else x.resolve_neg()


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
    """Where its first number lies; the others by its strides."""
    if not in_memory(tensor, dtype):
        raise RuntimeError(
            f"the cpu backend reads {dtype} here, in the CPU's memory; got {tensor.dtype} on {tensor.device}"
        )
    return tensor.data_ptr()


def in_memory(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Can a loop find its numbers?"""
    return (
        tensor.dtype is dtype
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_neg()
        and (tensor.data_ptr() != 0 or not tensor.numel())  # zeros without memory, fake tensors
    )


def index_fault(columns: Tensor, pointers: Tensor, rows: int, width: int) -> str | None:
    """Why these are not the indices of a matrix [rows, width] in CSR; None if they are."""
    if not (columns.dtype is pointers.dtype is torch.int32):
        return f"they must be int32, got {columns.dtype} and {pointers.dtype}"
    if columns.dim() != 1 or pointers.shape != (rows + 1,):
        return f"they must be of shapes [active] and [{rows + 1}], got {list(columns.shape)} and {list(pointers.shape)}"
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


# columns that were looked at: their id -> themselves, their row pointers, and what they were found good for
_sound: dict[int, tuple] = {}


def _check(operation: Operation, like: Tensor) -> None:
    (values, columns, pointers, width), bias, shape = operation.weight, operation.bias, operation.kind.matrix
    if values.dtype is not like.dtype or values.device != like.device or values.shape != columns.shape:
        raise RuntimeError(
            f"the values are {list(values.shape)} of {values.dtype} on {values.device}; they must be one a column, "
            f"{list(columns.shape)}, of {like.dtype} on {like.device}"
        )
    rows = shape[0]
    if bias is not None and (bias.shape != (rows,) or bias.dtype is not like.dtype or bias.device != like.device):
        raise RuntimeError(
            f"the bias is {list(bias.shape)} of {bias.dtype} on {bias.device}; it must be [{rows}] of {like.dtype} on "
            f"{like.device}"
        )
    if columns.is_inference() or pointers.is_inference():  # they do not tell when they are changed
        found = None
    else:
        found = shape, columns._version, pointers._version
        known = _sound.get(id(columns))
        if known and known[0]() is columns and known[1]() is pointers and known[2] == found:
            return
    fault = index_fault(columns, pointers, rows, width) if width == shape[1] else f"they are of width {width}"
    if fault:
        raise RuntimeError(f"columns and row_pointers are not those of a weight {list(shape)}: {fault}")
    if found:
        key = id(columns)
        _sound[key] = weakref.ref(columns, lambda _: _sound.pop(key, None)), weakref.ref(pointers), found
