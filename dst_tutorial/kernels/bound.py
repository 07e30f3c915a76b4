"""What the loops are told of some layers, kept from call to call: preparing it takes longer than many a call."""

import weakref
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from .checks import address, check_weights
from .compiled import compiled
from .forward import taps_in
from .operations import Operation, Shape
from .plan import plan
from .steps import STEP


class Bound:
    """The steps of the plan for inputs of one shape, with the addresses of weights that have been checked."""

    def __init__(self, operations: Sequence[Operation], shape: Shape):
        self.plan = plan(shape, *[operation.kind for operation in operations])
        self.layers, self.convolutions = len(operations), sum(self.plan.convolution)
        columns = [operation.weight.columns for operation in operations]
        self.work = tuple([c.numel() * uses for c, uses in zip(columns, self.plan.uses, strict=True)])
        self.sizes = [*(c.numel() for c in columns), *self.plan.rows]  # gradients of values, then of biases
        self.dtype = operations[0].weight.values.dtype
        self.steps, self._offsets = self.addressed([operation.weight.values for operation in operations],
                                    [(o.weight.columns, o.weight.row_pointers) for o in operations],
                                    [operation.bias for operation in operations])  # fmt: skip
        self._found = [(_state(operation), weakref.ref(operation.weight.columns),
                        weakref.ref(operation.weight.row_pointers)) for operation in operations]  # fmt: skip

    def addressed(self, values: Sequence[Tensor], indices: Sequence[tuple[Tensor, Tensor]],
                  biases: Sequence[Tensor | None]) -> tuple[np.ndarray, list[Tensor]]:  # fmt: skip
        """The steps with the addresses of these, and what convolutions read beside them."""
        steps, starts = self.plan.table.copy().view(STEP)[:, 0], list(accumulate(self.sizes, initial=0))
        offsets = [torch.empty_like(columns) for columns, _ in indices[: self.convolutions]]
        layers = steps[:-1]
        layers["values"] = [address(v, self.dtype, size) for v, size in zip(values, self.sizes, strict=False)]
        layers["bias"] = [address(bias, self.dtype) for bias in biases]
        layers["columns"], layers["pointers"] = zip(*[(c.data_ptr(), r.data_ptr()) for c, r in indices], strict=True)
        layers["offsets"] = [t.data_ptr() for t in (*offsets, *(c for c, _ in indices[self.convolutions :]))]
        steps["dvalues"] = [*starts[: self.layers], starts[-1]]
        layers["dbias"] = starts[self.layers : -1]
        compiled(taps_in).call(steps.ctypes.data, self.convolutions)
        return steps, offsets

    def holds(self, operations: Sequence[Operation]) -> bool:
        """Are these the very weights, where they were?"""
        for operation, (state, columns, pointers) in zip(operations, self._found, strict=True):
            weight = operation.weight
            if columns() is not weight.columns or pointers() is not weight.row_pointers or _state(operation) != state:
                return False
        return True


def _state(operation: Operation) -> tuple | None:
    """All that decides whether a loop may read them; None where that can't be told."""
    kind, (values, columns, pointers, width), bias = operation
    try:
        return (
            kind, width, values.data_ptr(), values.dtype, values.shape, values.is_contiguous(), values.is_neg(),
            columns.data_ptr(), columns._version, pointers.data_ptr(), pointers._version,
            bias is None or (bias.data_ptr(), bias.dtype, bias.shape, bias.is_contiguous(), bias.is_neg()),
        )  # fmt: skip
    except RuntimeError:  # inference tensors do not tell when they are changed, others have no address
        return None


_known: dict[tuple, Bound] = {}
_MOST = 256  # of them: each is some kilobytes


def bound(operations: Sequence[Operation], shape: Shape) -> Bound:
    """For inputs [N, *shape]. RuntimeError for weights that are not what they should be, ValueError for the shape."""
    key = id(operations[0].weight.columns), len(operations), shape
    known = _known.get(key)
    if known is not None and known.holds(operations):
        return known
    check_weights(operations)
    made = Bound(operations, shape)
    if all(state for state, *_ in made._found):
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = made
    return made
