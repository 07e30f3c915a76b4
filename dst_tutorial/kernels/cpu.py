"""The CPU backend: the loops of `loops.py` as one autograd function for a whole list of operations.

One call goes through all layers, forward or backward: preparing a call costs more than many a small layer. Numbers are
float32 or float64; what comes in may have any strides, what goes out is contiguous.
"""

import threading
import weakref
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from tqdm.auto import tqdm

from . import loops
from .adam import adam
from .operations import Linear, Operation
from .plan import Plan, plan
from .steps import LANES, STEP, TILE
from .threads import each, parts

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
        y = run(x.reshape(-1, x.shape[-1]), operations)
        return y.view(*x.shape[:-1], y.shape[-1])
    where = plan(tuple(x.shape[1:]), *[operation.kind for operation in operations])
    values = [operation.weight.values for operation in operations]
    biases = [operation.bias for operation in operations]
    indices = [(operation.weight.columns, operation.weight.row_pointers) for operation in operations]
    if torch.is_grad_enabled():
        return _Run.apply(x, where, indices, *values, *biases)
    return _forward(x, where, indices, values, biases, keep=False)[0]


def _jobs(where: Plan, values: Sequence[Tensor], samples: int, passes: int) -> list[tuple[int, int]]:
    """(first, last) sample of each thread."""
    multiplications = sum(numbers.numel() * uses for numbers, uses in zip(values, where.uses, strict=True))
    return parts(samples, samples * multiplications * passes, LANES)


# --- forward and backward ---------------------------------------------------------------------------------------------


def _addresses(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> list[int]:
    """Of the numbers of tensors that stay alive; 0 for None. RuntimeError if a loop could not read them."""
    for t in tensors:
        if t is not None and not (t.dtype is dtype and t.is_cpu and t.is_contiguous()):
            raise RuntimeError(
                f"the cpu backend takes weights of {dtype} here, as the inputs are, contiguous and on the CPU; "
                f"got {t.dtype} on {t.device}"
            )
    return [0 if t is None else t.data_ptr() for t in tensors]


def _addressed(where: Plan, values: Sequence, columns: Sequence, offsets: Sequence, pointers: Sequence,
               biases: Sequence) -> np.ndarray:  # fmt: skip
    """The steps of the plan with the addresses of these."""
    if any(v.numel() != c.numel() for v, c in zip(values, columns, strict=True)):
        raise RuntimeError("a layer has not as many values as it has columns")
    steps, kind = where.table.copy().view(STEP)[:, 0], values[0].dtype
    layers = steps[:-1]
    layers["values"], layers["bias"] = _addresses(values, kind), _addresses(biases, kind)
    layers["columns"], layers["pointers"] = _addresses(columns, torch.int32), _addresses(pointers, torch.int32)
    layers["offsets"] = [t.data_ptr() for t in offsets]
    return steps


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
    free: dict[torch.dtype, list[np.ndarray]]

    def __init__(self) -> None:
        self.rooms, self.free = {}, {}


_kept, KEPT_BYTES = _Kept(), 2**24  # more than that is given back at once


def _rooms(like: Tensor, count: int, size: int) -> tuple[Tensor, list[int]]:
    """Memory, this thread's until its next call, and the addresses in it of so many rooms for `size` numbers each."""
    room = _kept.rooms.get(like.dtype)
    if room is None or room.numel() < count * size:
        room = like.new_empty(count * size)
        if room.nbytes <= KEPT_BYTES:
            _kept.rooms[like.dtype] = room
    return room, [room.data_ptr() + i * size * room.element_size() for i in range(count)]


def _borrowed(size: int, dtype: torch.dtype) -> Tensor:
    """Memory that is this thread's again when the tensor is gone: autograd lets go of it after the backward pass."""
    free = _kept.free.setdefault(dtype, [])
    memory = free.pop() if free else None
    if memory is None or len(memory) < size:
        memory = torch.empty(size, dtype=dtype).numpy()
    lent = memory[:size]
    if memory.nbytes <= KEPT_BYTES:
        weakref.finalize(lent, _give_back, free, memory).atexit = False
    return torch.from_numpy(lent)


def _give_back(free: list[np.ndarray], memory: np.ndarray) -> None:
    if not free:  # one is enough: a training step borrows when the one before has given back
        free.append(memory)


def _forward(x: Tensor, where: Plan, indices: list, values: Sequence, biases: Sequence, keep: bool) -> tuple:
    """Outputs; then, if they are to be kept, all activations, winners, where each weight reads, and who had which."""
    if x.dtype != values[0].dtype or x.dtype not in _LIKE or not x.is_cpu:
        raise RuntimeError(
            f"inputs must be {values[0].dtype} as the weights are, and on the CPU, for the cpu backend (which takes "
            f"float32 and float64); got {x.dtype} on {x.device}"
        )
    samples, like, (columns, pointers) = len(x), _LIKE[x.dtype], zip(*indices, strict=True)
    y = x.new_empty(samples, *where.output)
    offsets = [torch.empty_like(c) if taps else c for c, taps in zip(columns, where.convolution, strict=True)]
    steps = _addressed(where, values, columns, offsets, pointers, biases)
    ends = x.data_ptr(), _strides(x), y.data_ptr(), _strides(y)
    if samples == 1 and not keep:
        _memory, (room,) = _rooms(x, 1, where.brief)
        _run(loops.forward_one, steps, like, *ends, room)
        return (y,)
    jobs = _jobs(where, values, samples, 3 if keep else 1)
    if keep:
        workspace = _borrowed(_lanes(samples) * where.kept, x.dtype)
        winners = _borrowed(_lanes(samples) * where.winners, torch.uint8)
        rooms = [workspace.data_ptr()] * len(jobs)
    else:
        workspace = winners = None
        _memory, rooms = _rooms(x, len(jobs), _lanes(min(TILE, samples)) * where.brief)
    notes = winners.data_ptr() if keep else 0
    each(lambda room, job: _run(loops.forward, steps, like, *ends, room, notes, *job, keep),
         list(zip(rooms, jobs, strict=True)))  # fmt: skip
    return y, workspace, winners, offsets, steps, jobs


class _Run(torch.autograd.Function):
    """x, and the values and biases of all layers -> y."""

    @staticmethod
    def forward(ctx, x, where, indices, *parameters):
        keep, layers = any(ctx.needs_input_grad), len(indices)
        y, *kept = _forward(x, where, indices, parameters[:layers], parameters[layers:], keep)
        if keep:
            workspace, winners, *ctx.kept = kept
            ctx.where, ctx.shape, ctx.indices = where, x.shape, indices
            ctx.save_for_backward(workspace, winners, *parameters[:layers])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        where, (workspace, winners, *values) = ctx.where, ctx.saved_tensors
        _, steps, jobs = ctx.kept  # the same jobs: they decide where the activations of a sample are
        layers, samples, like = len(values), len(dy), _LIKE[dy.dtype]
        wants_x, wanted = ctx.needs_input_grad[0], ctx.needs_input_grad[3:]
        stop = 0 if wants_x else min(i % layers for i, want in enumerate(wanted) if want)
        if _addresses(values, dy.dtype) != steps["values"][:-1].tolist():
            raise RuntimeError("the weights have been replaced since the forward pass")
        sizes = [*(columns.numel() for columns, _ in ctx.indices), *where.rows]
        starts = list(accumulate(sizes, initial=0))
        steps["dvalues"], steps["dbias"][:-1] = [*starts[:layers], starts[-1]], starts[layers:-1]
        dx = dy.new_empty(ctx.shape) if wants_x else None
        ends = dy.data_ptr(), _strides(dy), *((dx.data_ptr(), _strides(dx)) if wants_x else (0, (0, 0, 0, 0)))
        sums = dy.new_empty(len(jobs), starts[-1])  # a thread's are its own
        _memory, rooms = _rooms(dy, len(jobs), _lanes(min(TILE, samples)) * where.brief)
        kept = workspace.data_ptr(), winners.data_ptr()
        each(lambda job, room, own: _run(loops.backward, steps, like, *ends, *kept, *job, room,
                                         own.data_ptr(), stop), list(zip(jobs, rooms, sums, strict=True)))  # fmt: skip
        if len(jobs) > 1:
            _run(loops.add_up, len(jobs), like, sums.data_ptr(), starts[-1])
        gradients = torch.unsafe_split_with_sizes(sums[0], sizes)  # views that autograd need not know of
        return dx, None, None, *[dp if want else None for dp, want in zip(gradients, wanted, strict=True)]


def adam_step(parameters: list[tuple[Tensor, ...]], *settings: float) -> None:
    """See `adam`: (parameter, first moment, second moment, gradient, step) each, all parameters of one dtype."""
    if any(p.numel() != m.numel() or m.numel() != v.numel() for p, m, v, *_ in parameters):
        raise RuntimeError("a parameter has moments of another size: make a new optimiser, or load both states")
    at = np.array([[one.data_ptr() for one in five] + [five[0].numel()] for five in parameters])
    _run(adam, at, _LIKE[parameters[0][0].dtype], *settings)


_compiled: set = set()


def _run(kernel, *arguments) -> None:
    """Call a kernel. Its first call may compile it, which is said if it takes a while."""
    key = kernel, type(arguments[1])  # all that decides it: float32 or float64
    if key in _compiled:
        kernel(*arguments)
        return
    said: list[tqdm] = []
    told = f"compiling {kernel.__name__} for this machine: some seconds, once"
    patience = threading.Timer(1.0, lambda: said.append(tqdm(desc=told, leave=False, bar_format="{desc}")))
    patience.daemon = True
    patience.start()
    try:
        kernel(*arguments)
    finally:
        patience.cancel()
        patience.join()
        for bar in said:
            bar.close()
    _compiled.add(key)
