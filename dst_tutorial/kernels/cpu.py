"""The CPU backend: the loops of `loops.py` as autograd functions, for float32 and float64.

Activations are features-major inside. What goes out is a transposed view, [samples, features] for all the world, so
that the next truly sparse layer takes it as it is; only a first layer, and padding, copy.
"""

import math
import threading

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from tqdm.auto import tqdm

from . import loops
from .csr import CSR
from .threads import each, parts

# What a ReLU passes must be above 0; everything is above NaN, and nothing below it. By (dtype, relu).
_LIMITS = {(torch.float32, True): np.float32(0), (torch.float32, False): np.float32(math.nan),
           (torch.float64, True): np.float64(0), (torch.float64, False): np.float64(math.nan)}  # fmt: skip


def linear(x: Tensor, weight: CSR, bias: Tensor | None, *, relu: bool = False) -> Tensor:
    """As in `reference`."""
    flat = x if x.dim() == 2 else x.reshape(-1, weight.width)
    arguments = flat, *weight[:3], bias, relu
    y = _Linear.apply(*arguments) if torch.is_grad_enabled() else _linear(*arguments)[1]
    y = y.t()  # out here, so that autograd knows this view: one may change it in place
    return y if x.dim() == 2 else y.view(*x.shape[:-1], weight.shape[0])


def _linear(x, values, columns, pointers, bias, relu) -> tuple[Tensor, Tensor]:
    """(inputs, outputs), features-major."""
    _check(x, values, columns, pointers, bias)
    x = x.t().contiguous()  # [in, samples]
    lanes, rows, limit = x.shape[1], len(pointers) - 1, _LIMITS[x.dtype, relu]
    y = x.new_empty(rows, lanes)
    at = _addresses(values, columns, pointers, bias, x, y)
    if lanes == 1:
        _run(loops.linear_one, at, rows, limit)
    else:
        jobs = parts(lanes, lanes * len(values))
        each(lambda start, stop: _run(loops.linear_forward, at, rows, limit, lanes, start, stop), jobs)
    return x, y


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, values, columns, pointers, bias, relu):
        x, y = _linear(x, values, columns, pointers, bias, relu)
        ctx.save_for_backward(x, values, columns, pointers, y if relu else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, values, columns, pointers, y = ctx.saved_tensors
        wants_dx, wants_values, *_, wants_bias, _ = ctx.needs_input_grad
        dy = dy.contiguous()
        lanes, rows, limit = x.shape[1], len(dy), _LIMITS[x.dtype, y is not None]
        dx = torch.zeros_like(x) if wants_dx else None
        at = _addresses(values, columns, pointers, x, dy if y is None else y, dy, dx)

        def work(start, stop, sums):
            _run(loops.linear_backward, at + sums, rows, limit, lanes, start, stop)

        dvalues, dbias = _summed(work, parts(lanes, 2 * lanes * len(values)), values, rows)
        return (dx.t() if wants_dx else None, dvalues if wants_values else None, None, None,
                dbias if wants_bias else None, None)  # fmt: skip


def conv2d(
    x: Tensor,
    weight: CSR,
    bias: Tensor | None,
    *,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
    relu: bool = False,
    pool: int = 1,
) -> Tensor:
    """As in `reference`. ReLU and a pooling of 2 are parts of the same pass."""
    halve = pool == 2
    arguments = x, *weight[:3], bias, kernel_size, stride, dilation, groups, margins, relu, halve
    y = _Conv2d.apply(*arguments) if torch.is_grad_enabled() else _conv2d(*arguments, keep_winners=False)[0]
    y = y.permute(3, 0, 1, 2)
    return F.max_pool2d(y, pool) if pool > 1 and not halve else y


def _conv2d(x, values, columns, pointers, bias, kernel_size, stride, dilation, groups, margins, relu, halve,
            keep_winners) -> tuple:  # fmt: skip
    """Outputs [out, H', W', samples], then what the backward pass needs: padded inputs, offsets, winners, geometry."""
    _check(x, values, columns, pointers, bias)
    x = _padded(x.permute(1, 2, 3, 0), margins)  # [C, H, W, samples]
    (channels, height, width, lanes), rows = x.shape, len(pointers) - 1
    y_height, y_width = (
        (n - d * (k - 1) - 1) // step + 1
        for n, k, d, step in zip((height, width), kernel_size, dilation, stride, strict=True)
    )
    offsets = torch.empty_like(columns)
    _run(loops.tap_offsets, _addresses(columns, pointers, offsets), rows, kernel_size, dilation, height, width,
         channels // groups, rows // groups)  # fmt: skip
    size = 2 if halve else 1
    y = x.new_empty(rows, y_height // size, y_width // size, lanes)
    winners = torch.empty_like(y, dtype=torch.uint8) if halve and keep_winners else None
    at, limit = _addresses(values, offsets, pointers, bias, x, y, winners), _LIMITS[x.dtype, relu]
    geometry = rows, limit, halve, lanes, width, *stride, y_height, y_width
    jobs = parts(lanes, y_height * y_width * lanes * len(values))
    each(lambda start, stop: _run(loops.conv_forward, at, *geometry, start, stop), jobs)
    return y, x, offsets, winners, geometry


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, values, columns, pointers, bias, kernel_size, stride, dilation, groups, margins, relu, halve):
        y, x, offsets, winners, ctx.geometry = _conv2d(
            x, values, columns, pointers, bias, kernel_size, stride, dilation, groups, margins, relu, halve,
            keep_winners=any(ctx.needs_input_grad))  # fmt: skip
        ctx.margins = margins
        ctx.save_for_backward(x, values, offsets, pointers, y if relu and not halve else None, winners)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, values, offsets, pointers, y, winners = ctx.saved_tensors
        wants_dx, wants_values, *_, wants_bias = (ctx.needs_input_grad[i] for i in (0, 1, 4))
        rows, *_, y_height, y_width = ctx.geometry
        lanes = x.shape[-1]
        if dy.stride()[2:] != (lanes, 1):  # planes and lines may lie apart, as in the gradient of padded images
            dy = dy.contiguous()
        apart = dy.stride()[:2]
        dx = torch.zeros_like(x) if wants_dx else None
        at = _addresses(values, offsets, pointers, x, dy if y is None else y, winners, dy, dx)

        def work(start, stop, sums):
            _run(loops.conv_backward, at + sums, *ctx.geometry, start, stop, *apart)

        jobs = parts(lanes, 2 * y_height * y_width * lanes * len(values))
        dvalues, dbias = _summed(work, jobs, values, rows)
        return (_inside(dx, ctx.margins).permute(3, 0, 1, 2) if wants_dx else None, dvalues if wants_values else None,
                None, None, dbias if wants_bias else None, *[None] * 7)  # fmt: skip


def _summed(work, jobs, values: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Each thread sums up the gradients of its samples for itself: (of the values, of the bias), together."""
    sums = [(torch.zeros_like(values), values.new_zeros(rows)) for _ in jobs]
    each(work, [(*job, _addresses(*own)) for job, own in zip(jobs, sums, strict=True)])
    (dvalues, dbias), *others = sums
    for more_values, more_bias in others:
        dvalues += more_values
        dbias += more_bias
    return dvalues, dbias


def adam_step(parameters: list[tuple[Tensor, Tensor, Tensor, Tensor]], *settings: float) -> None:
    """See `loops.adam`: (parameter, gradient, first, second moment) each, all of one dtype."""
    at = np.array([_addresses(*four) for four in parameters])
    sizes = np.array([four[0].numel() for four in parameters])
    *others, eps, decay = settings
    _run(loops.adam, at, sizes, *others, type(_LIMITS[parameters[0][0].dtype, True])(eps), decay)


_compiled: set = set()


def _run(kernel, *arguments) -> None:
    """Call a kernel. Its first call may compile it, which is said if it takes a while."""
    key = kernel, type(arguments[2])  # all that decides it: float32 or float64
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


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    """Of their numbers in memory; the caller keeps them alive. They must be contiguous, or their strides be known."""
    return tuple([0 if tensor is None else tensor.data_ptr() for tensor in tensors])


def _check(x: Tensor, values: Tensor, columns: Tensor, pointers: Tensor, bias: Tensor | None) -> None:
    """What the loops cannot see in an address. RuntimeError, as dense layers raise."""
    if x.dtype != values.dtype or (bias is not None and bias.dtype != values.dtype):
        raise RuntimeError(f"inputs and bias must be {values.dtype} as the weights are, got {x.dtype}")
    if (values.dtype, True) not in _LIMITS or columns.dtype != torch.int32 or pointers.dtype != torch.int32:
        raise RuntimeError(f"the cpu backend takes float32 or float64 and int32 indices, got {values.dtype}")
    given = [values, columns, pointers] if bias is None else [values, columns, pointers, bias]
    if not (x.is_cpu and all(tensor.is_cpu and tensor.is_contiguous() for tensor in given)):
        raise RuntimeError(f"the cpu backend takes contiguous weights and inputs on the CPU, got inputs on {x.device}")


def _padded(x: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    """x [C, H, W, samples], contiguous, with zeros around its images."""
    if x.is_contiguous() and not any(margins):
        return x
    left, right, top, bottom = margins
    channels, height, width, lanes = x.shape
    padded = x.new_empty(channels, height + top + bottom, width + left + right, lanes)
    _run(loops.pad, _addresses(x, padded), tuple(x.shape), _LIMITS[x.dtype, True], x.stride(), left, top,
         *padded.shape[1:3])  # fmt: skip
    return padded


def _inside(padded: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    left, right, top, bottom = margins
    return padded[:, top : padded.shape[1] - bottom, left : padded.shape[2] - right]
