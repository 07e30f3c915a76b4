"""The CPU backend: the compiled loops as one autograd function for a whole list of operations.

One call goes through all layers, forward or backward: preparing a call costs more than many a small layer. Numbers are
float32 or float64; what comes in may have any strides, what goes out is contiguous.
"""

import operator
import threading
import weakref
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from . import backward, crew, forward, phases
from .adam import ADVANCE, ALL, CHANGE, adam_in
from .bound import Bound, bound
from .checks import address, check_indices, checked_inputs, place, plain, refuse_second_derivative
from .compiled import compiled
from .operations import Linear, Operation, rows_of
from .steps import LANES, TILE, Pass
from .threads import num_threads

ADAM_WORK = 8  # multiplications that a parameter's step is worth
_LIKE = {torch.float32: np.float32(0), torch.float64: np.float64(0)}  # what the loops take, by an example


def run(x: Tensor, operations: Sequence[Operation]) -> Tensor:
    """As in `reference`. ReLU and a pooling of 2 are parts of the same pass."""
    for i, operation in enumerate(operations):
        pool = getattr(operation.kind, "pool", 1)
        if pool > 2:
            alone = operation._replace(kind=operation.kind._replace(pool=1))
            y, rest = F.max_pool2d(run(x, (*operations[:i], alone)), pool), operations[i + 1 :]
            if not rest:
                return y
            return run(y.flatten(1) if isinstance(rest[0].kind, Linear) else y, rest)
    if isinstance(operations[0].kind, Linear) and x.dim() != 2:
        y = run(rows_of(x), operations)
        return y.view(*x.shape[:-1], y.shape[-1])
    values = [operation.weight.values for operation in operations]
    here = bound(operations, x.shape[1:])
    x = checked_inputs(x, values[0])
    biases = [operation.bias for operation in operations]
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:  # which `_Run` does not know, and says so
        return _Run.apply(x, here, operations, *values, *biases)
    return _forward(x, here, keep=False)[0]


# --- forward and backward ---------------------------------------------------------------------------------------------


def _strides(x: Tensor) -> tuple[int, int, int, int]:
    """Of images [N, C, H, W], or of vectors [N, W]."""
    return x.stride() if x.dim() == 4 else (x.stride(0), 0, 0, x.stride(1))


def _lanes(samples: int) -> int:
    return -(-samples // LANES) * LANES


class _Kept(threading.local):
    """A thread's own memory, for one call after the other: fresh memory comes page by page as it is first touched.

    That takes a quarter of the time of a forward pass, or nothing, as the heap happens to lie.
    """

    rooms: dict[torch.dtype, Tensor]
    lent: dict[torch.dtype, tuple[np.ndarray, weakref.ref]]  # memory, and who has it

    def __init__(self) -> None:
        self.rooms, self.lent = {}, {}


_kept, KEPT_BYTES = _Kept(), 2**24  # more than that is given back at once


def _room(like: Tensor, size: int) -> tuple[Tensor, int]:
    """Memory for so many numbers, this thread's until its next call, and its address."""
    room = _kept.rooms.get(like.dtype)
    if room is None or room.numel() < size:
        room = like.new_empty(size)
        if room.nbytes <= KEPT_BYTES:
            _kept.rooms[like.dtype] = room
    return room, room.data_ptr()


def _borrowed(size: int, dtype: torch.dtype) -> Tensor:
    """Memory that is this thread's again when the tensor is gone: autograd lets go of it after the backward pass.

    Of two at a time only the later one's is: `y = model(x)` again and again, without a backward pass, takes new memory.
    """
    memory, borrower = _kept.lent.get(dtype, (None, None))
    if memory is None or borrower() is not None or len(memory) < size:
        memory = torch.empty(size, dtype=dtype, device="cpu").numpy()
    lent = memory[:size]
    if memory.nbytes <= KEPT_BYTES:
        _kept.lent[dtype] = memory, weakref.ref(lent)
    return torch.from_numpy(lent)


def _forward(x: Tensor, here: Bound, keep: bool) -> tuple:
    """Outputs; then, if they are to be kept, all activations, winners, and how many threads had the samples."""
    samples, where = len(x), here.plan
    y = x.new_empty(samples, *where.output)
    threads = phases.threads_for(samples * sum(here.work) * (3 if keep else 1), num_threads())
    uneven = sum(here.work) * phases.uneven(samples, threads)
    workspace = winners = None
    if keep:
        workspace = _borrowed(_lanes(samples) * where.kept, x.dtype)
        winners = _borrowed(_lanes(samples) * where.winners, torch.uint8)
    alone = samples == 1 and not keep
    todo = _ONE if alone else phases.forward(here.convolutions, here.work, samples, threads)
    size = where.brief if alone else _lanes(min(TILE, samples)) * where.brief
    _memory, room = _room(x, 0 if keep else size * threads)
    _do(forward.one_in if alone else forward.forward_in, x.dtype, todo, threads, uneven, Pass(
        here.steps.ctypes.data, here.layers, here.convolutions, samples, 0, place(x, x.dtype), *_strides(x),
        y.data_ptr(), *_strides(y), workspace.data_ptr() if keep else 0, winners.data_ptr() if keep else 0, room, size,
        0, 0,
    ))  # fmt: skip
    return y, workspace, winners, threads


class _Run(torch.autograd.Function):
    """x, and the values and biases of all layers -> y."""

    @staticmethod
    def forward(ctx, x, here, operations, *parameters):
        keep = any(ctx.needs_input_grad)
        y, workspace, winners, threads = _forward(x, here, keep)
        if keep:
            ctx.here, ctx.shape, ctx.threads = here, x.shape, threads
            ctx.kinds = [operation.kind for operation in operations]
            indices = [index for o in operations for index in (o.weight.columns, o.weight.row_pointers)]
            ctx.weights = *parameters[: here.layers], *indices
            ctx.places = [tensor.data_ptr() for tensor in ctx.weights]
            ctx.save_for_backward(workspace, winners, *ctx.weights)
        return y

    @staticmethod
    def backward(ctx, dy):
        refuse_second_derivative()
        dy, here, layers, where, threads = plain(dy), ctx.here, ctx.here.layers, ctx.here.plan, ctx.threads
        workspace, winners, *weights = ctx.saved_tensors
        if [tensor.data_ptr() for tensor in ctx.weights] != ctx.places:
            raise RuntimeError("the weights have been replaced since the forward pass")
        steps = here.steps
        if any(map(operator.is_not, weights, ctx.weights)):  # copies, by the hooks of torch.autograd.graph
            indices = list(zip(weights[layers::2], weights[layers + 1 :: 2], strict=True))
            for kind, both in zip(ctx.kinds, indices, strict=True):
                check_indices(kind, *both, kind.matrix[1])
            steps, _offsets = here.addressed(weights[:layers], indices, [None] * layers)
        samples, (wants_x, *_), wanted = len(dy), ctx.needs_input_grad, ctx.needs_input_grad[3:]
        stop = 0 if wants_x else min(i % layers for i, want in enumerate(wanted) if want)
        dx = dy.new_empty(ctx.shape) if wants_x else None
        total, size = sum(here.sizes), _lanes(min(TILE, samples)) * where.brief
        sums = dy.new_empty(total)
        _memory, room = _room(dy, threads * size + (threads - 1) * total)
        todo = phases.backward(here.convolutions, here.work, where.reads, samples, threads, stop, wants_x)
        uneven = 2 * sum(here.work) * phases.uneven(samples, threads)
        _do(backward.backward_in, dy.dtype, todo, threads, uneven, Pass(
            steps.ctypes.data, layers, here.convolutions, samples, stop, place(dy, dy.dtype), *_strides(dy),
            *((dx.data_ptr(), *_strides(dx)) if wants_x else (0, 0, 0, 0, 0)),
            address(workspace, dy.dtype, _lanes(samples) * where.kept),
            address(winners, torch.uint8, _lanes(samples) * where.winners),
            room, size, sums.data_ptr(), room + threads * size * dy.element_size(),
        ))  # fmt: skip
        gradients = torch.unsafe_split_with_sizes(sums, here.sizes)  # views that autograd need not know of
        return dx, None, None, *[dp if want else None for dp, want in zip(gradients, wanted, strict=True)]


def adam_table(parameters: Sequence[tuple[Tensor, ...]]) -> np.ndarray | None:
    """What `adam` goes through: (parameter, first moment, second moment, gradient, step) each, all of one dtype.

    None where a loop could not read one of them. RuntimeError for moments of another size.
    """
    dtype, table = parameters[0][0].dtype, []
    for p, *others, steps in parameters:
        size = p.numel()
        if any(other.numel() != size for other in others):
            raise RuntimeError("a parameter has moments of another size: make a new optimiser, or load both states")
        try:
            table.append(
                [address(p, dtype), *[address(other, dtype) for other in others], place(steps, torch.float32), size]
            )
        except RuntimeError:
            return None
    return np.array(table)


def adam_step(parameters: Sequence[tuple[Tensor, ...]], table: np.ndarray, *settings: float) -> None:
    """One step of `adam`, and autograd is told: what needs the weights as they were can say so."""
    numbers = sum(p.numel() for p, *_ in parameters)
    threads = phases.threads_for(numbers * ADAM_WORK, num_threads())
    todo = phases.of_some((ADVANCE, 1), (CHANGE, threads))
    call = np.array([(table.ctypes.data, len(table), *settings)], ALL)
    crew.do(compiled(adam_in, _LIKE[parameters[0][0].dtype]).address, call.ctypes.data, todo, threads)
    torch.autograd.graph.increment_version([p for p, *_ in parameters])


def _do(make: Callable, dtype: torch.dtype, todo: np.ndarray, threads: int, uneven: int, call: Pass) -> None:
    at = np.array(call, np.int64)
    crew.do(compiled(make, _LIKE[dtype]).address, at.ctypes.data, todo, threads, uneven)


_ONE = phases.of_some((0, 1))
