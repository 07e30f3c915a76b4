"""Truly sparse layers: the active weights and where they are, and no array of the dense size, ever.

Both layers can swallow what follows them (`relu=True`; `pool=2` for a convolution), so that a backend may make one pass
of two or three (the reference does not). `to_truly_sparse` folds the runs of an `nn.Sequential` so.
"""

import operator
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from ..choices import choose
from ..kernels import CSR, LARGEST, Backend, Conv2d, Linear, Operation, backend_for, index_fault, indices_of, rows_of
from ..positions import draw_distinct, left
from .initialisation import he_fan_in
from .watching import Watched

_GEOMETRY = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_BLOCK = 2**18  # positions whose gradients are looked at together


_PADDING = {"zeros": None, "reflect": None, "replicate": None, "circular": None}


def _whole(number, name: str, least: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        whole = None
    if whole is None or isinstance(number, bool) or whole < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {number!r}")
    return whole


def _pair(value, name: str, least: int) -> tuple[int, int]:
    """One number for both directions, or one each: (vertical, horizontal)."""
    both = tuple(value) if isinstance(value, tuple | list) else (value,)
    both = both * 2 if len(both) == 1 else both
    if len(both) != 2:
        raise ValueError(f"{name} is one number or two, (vertical, horizontal), got {value!r}")
    return _whole(both[0], name, least), _whole(both[1], name, least)


def _settings(layer: nn.Module, positions: Tensor) -> dict:
    """What a sparse layer takes over from a dense or a masked one, beside its sizes."""
    return {
        "bias": layer.bias is not None,
        "positions": positions,
        "generator": torch.Generator(),  # the values it draws are replaced; the global random state stays
        "device": None if layer.weight.is_meta else layer.weight.device,
        "dtype": layer.weight.dtype,
    }


class _Sparse(nn.Module):
    """What both layers share: the weight in CSR, and what the rest of the package asks of a sparse layer."""

    values: nn.Parameter  # [active]
    columns: Tensor  # int32 [active]
    row_pointers: Tensor  # int32 [units + 1]
    backend: Backend | None = None  # one of its own; otherwise what `backend_for` says
    watching: bool = False
    padding_mode: str = "zeros"

    def _add_weight(self, shape: tuple, density: float | None, positions: Tensor | None, bias: bool,
                    generator: torch.Generator | None, device, dtype) -> None:  # fmt: skip
        self.weight_shape = torch.Size(shape)
        self._width, total = self.weight_shape[1:].numel(), self.weight_shape.numel()
        if (density is None) == (positions is None):
            raise ValueError("give either the density or the positions of the active weights")
        if positions is None:
            if not 0 <= density <= 1:
                raise ValueError(f"density is the fraction of active weights and must be in [0, 1], got {density!r}")
            positions = draw_distinct(total, round(density * total), generator)
        else:
            positions = torch.as_tensor(positions, device="cpu").flatten()
            if len(positions) and (positions.is_floating_point() or positions.dtype is torch.bool):
                raise ValueError(f"positions are whole numbers, places in the flattened weight; got {positions.dtype}")
            positions = positions.long().sort().values
            if len(positions) and (positions[0] < 0 or positions[-1] >= total or (positions.diff() == 0).any()):
                raise ValueError(f"positions must be distinct and in [0, {total}), for a weight of shape {list(shape)}")
        device = torch.get_default_device() if device is None else device
        columns, row_pointers = indices_of(positions, shape[0], self._width)
        values = he_fan_in(self.weight_shape, positions, generator)
        self.values = nn.Parameter(values.to(device, dtype or torch.get_default_dtype()))
        zeros = nn.Parameter(torch.zeros(shape[0], device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", zeros)
        self.register_buffer("columns", columns.to(device))
        self.register_buffer("row_pointers", row_pointers.to(device))
        self._watched: Watched[tuple[Tensor, Tensor]] = Watched()  # (inputs, gradient before ReLU and pooling)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the values anew, N(0, 2 / actual fan-in); the bias becomes zero, and the connections stay."""
        self.values.copy_(he_fan_in(self.weight_shape, self.active_positions().cpu()))
        if self.bias is not None:
            self.bias.zero_()

    def __getattr__(self, name: str):
        if name == "weight":
            raise AttributeError(
                f"{type(self).__name__} has no dense `weight`: its numbers are in `values`, and to_dense() makes one. "
                f"Code that reads a layer's `weight` itself needs it dense: sparsify(..., exclude=[its name])"
            )
        return super().__getattr__(name)

    @property
    def csr(self) -> CSR:
        return CSR(self.values, self.columns, self.row_pointers, self._width)

    @torch.no_grad()
    def _take_weights(self, layer: nn.Module, values: Tensor):
        """These values and a layer's bias, with what the layer says of their gradients, and its mode."""
        self.values.copy_(values)
        self.values.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None:
            if not layer.bias.is_meta:  # a shape without numbers: the bias stays zero
                self.bias.copy_(layer.bias)
            self.bias.requires_grad_(layer.bias.requires_grad)
        return self.train(layer.training)

    def operation(self, *, fused: bool = True) -> Operation:
        """What a backend has to compute; without the ReLU and the pooling behind it if not `fused`."""
        parameters, buffers = self._parameters, self._buffers  # a module's attributes take ten times as long to find
        values, bias = parameters.get("values"), parameters.get("bias")
        if values is None or bias is None:  # parametrised ones are elsewhere
            values, bias = self.values, self.bias
        return Operation(self._kind(fused), CSR(values, buffers["columns"], buffers["row_pointers"], self._width), bias)

    @property
    def chosen_backend(self) -> Backend:
        values = self._parameters.get("values")
        return backend_for(self.values if values is None else values, self.backend)

    # --- the protocol of rules.py -----------------------------------------------------------------------------------

    @property
    def parameter(self) -> nn.Parameter:
        return self.values

    @property
    def active_weights(self) -> int:
        return len(self.values)

    def active_positions(self) -> Tensor:
        return self.csr.rows() * self._width + self.columns

    def active_values(self) -> Tensor:
        return self.values.detach()

    def watch(self, on: bool) -> None:
        self.watching = on
        self._watched.clear()

    def _watch_gradient(self, x: Tensor, y: Tensor) -> None:
        """Keep the inputs, and the gradient of the outputs to come: together they tell that of every weight."""
        if y.requires_grad:
            inputs = x.detach().to(self.values.dtype, copy=True)  # who owns x may write into it
            y.register_hook(lambda gradient: self._watched.add(self.values, (inputs, gradient.detach())))

    def _applied(self) -> list[tuple[Tensor, Tensor]]:
        active = self.active_positions()
        return self._watched.applied(self.values.grad, lambda record: self._gradient_at([record], active))

    def gradient_blocks(self) -> Iterator[tuple[int, Tensor]] | None:
        return self._gradient_blocks(applied) if (applied := self._applied()) else None

    def gradient_at(self, positions: Tensor) -> Tensor:
        return self._gradient_at(self._applied(), positions)

    @torch.no_grad()
    def rewire(self, drop: Tensor, grow: Tensor, values: Tensor, moments: list[Tensor], reset: bool) -> None:
        """What is not stored cannot be kept: even without `reset` the moments of grown connections start at zero."""
        before = self.active_positions()
        kept = left(before, drop)
        positions, order = torch.cat([before[kept], grow]).sort()
        columns, row_pointers = indices_of(positions, self.weight_shape[0], self._width)
        values = torch.cat([self.values[kept], values.to(self.values)])[order]
        for moment in moments:
            moment.data = torch.cat([moment[kept], moment.new_zeros(len(grow))])[order]
        if len(drop) == len(grow):
            self.values.copy_(values)
            self.values.grad = None  # it was that of other connections
        else:  # autograd does not let a parameter change its size
            self.values = nn.Parameter(values, self.values.requires_grad)
        self.columns, self.row_pointers = columns, row_pointers

    def clear_inactive(self) -> None:
        """Nothing to do: no inactive weight is stored."""

    def to_dense(self) -> Tensor:
        """The weight as a dense tensor of `weight_shape`: to look at, and to test with."""
        dense = self.values.new_zeros(self.weight_shape.numel())
        return dense.index_put((self.active_positions(),), self.active_values()).reshape(self.weight_shape)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        names = [prefix + name for name in ("values", "columns", "row_pointers")]
        values, columns, pointers = found = [state_dict.get(name) for name in names]
        if any(map(torch.is_tensor, found)):  # another number of connections is another topology, no mistake
            if fault := self._state_fault(*found):
                errors.append(f"{', '.join(names)} are not those of a weight {[*self._matrix]}: {fault}")
                return
            state_dict[names[1]], state_dict[names[2]] = columns.int(), pointers.int()
            if len(values) != len(self.values):
                self.columns = self.columns.new_empty(len(columns))
                self.values.data = self.values.new_empty(len(values))
                self.values.grad = None
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    def _state_fault(self, values, columns, pointers) -> str | None:
        if not all(map(torch.is_tensor, (values, columns, pointers))):
            return "the three belong together"
        if values.shape != columns.shape:
            return f"there are {values.numel()} values for {columns.numel()} columns"
        if columns.is_floating_point() or pointers.is_floating_point():
            return "indices are whole numbers"
        if max((int(t.max()) for t in (columns, pointers) if t.numel() and not t.is_meta), default=0) > LARGEST:
            return "indices are int32"
        return index_fault(columns.int(), pointers.int(), *self._matrix)

    @property
    def _matrix(self) -> tuple[int, int]:
        return self.weight_shape[0], self._width

    def extra_repr(self) -> str:
        return f"active={self.active_weights:,} of {self.weight_shape.numel():,}"


def _chosen(layer: nn.Module, positions: Tensor | None, values: Tensor | None) -> tuple[Tensor, Tensor]:
    """Positions and values of the weights of a layer that are to stay: its non-zeros, if not given."""
    weight = layer.weight.detach()
    if positions is None:
        positions = weight.flatten().nonzero().flatten()
    return positions, weight.take(positions.to(weight.device)) if values is None else values


class SparseLinear(_Sparse):
    """`nn.Linear` (and the ReLU behind it, with `relu=True`) that stores its active weights and nothing else.

    in_features, out_features   x [..., in_features] -> [..., out_features]
    density     the fraction of active weights: round(density * in * out) positions, drawn at random; or
    positions   int64 [active] in the flattened weight [out, in], distinct
    bias        dense, or none; it starts at zero
    generator   of positions and values (N(0, 2 / actual fan-in)); torch's global one if not given

    Trainable: `values` [active] and `bias` are the parameters, in float32 or float64. Where an input is NaN or
    infinite, only the units connected to it are concerned; a dense layer would multiply it by its zeros.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, density: float | None = None,
                 relu: bool = False, positions: Tensor | None = None, generator: torch.Generator | None = None,
                 device=None, dtype=None):  # fmt: skip
        super().__init__()
        self.in_features, self.out_features = (
            _whole(in_features, "in_features", 0),
            _whole(out_features, "out_features", 0),
        )
        self.relu = relu
        self._add_weight((out_features, in_features), density, positions, bias, generator, device, dtype)

    @classmethod
    def from_masked(cls, layer: nn.Linear, *, relu: bool = False) -> "SparseLinear":
        """The same function as the masked layer (and a ReLU behind it), without the weights that are zero."""
        return cls.from_dense(layer, layer.active_positions(), layer.active_values(), relu=relu)

    @classmethod
    def from_dense(cls, layer: nn.Linear, positions: Tensor | None = None, values: Tensor | None = None, *,
                   relu: bool = False) -> "SparseLinear":  # fmt: skip
        """The layer with its weights at `positions` only (its non-zeros, if not given), or `values` in their place."""
        positions, values = _chosen(layer, positions, values)
        sizes = layer.in_features, layer.out_features
        return cls(*sizes, relu=relu, **_settings(layer, positions))._take_weights(layer, values)

    def _kind(self, fused: bool) -> Linear:
        return Linear(self.in_features, self.out_features, fused and self.relu)

    def forward(self, input: Tensor) -> Tensor:
        if not input.dim() or input.shape[-1] != self.in_features:
            raise ValueError(f"expected inputs [..., {self.in_features}], got {list(input.shape)}")
        y = self.chosen_backend(input, [self.operation(fused=not self.watching)])
        if not self.watching:
            return y
        self._watch_gradient(input, y)
        return F.relu(y) if self.relu else y

    def _gradient_blocks(self, watched: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[int, Tensor]]:
        flat = [(rows_of(x), rows_of(g)) for x, g in watched]
        rows = max(1, _BLOCK // max(1, self.in_features))
        for first in range(0, self.out_features, rows):
            block = sum(g[:, first : first + rows].t() @ x for x, g in flat)
            yield first * self.in_features, block.flatten()

    def _gradient_at(self, watched: list[tuple[Tensor, Tensor]], positions: Tensor) -> Tensor:
        rows, columns = positions // self.in_features, positions % self.in_features
        found = self.values.new_zeros(len(positions))
        for x, g in watched:
            for one_x, one_g in zip(rows_of(x), rows_of(g), strict=True):
                found += one_g[rows] * one_x[columns]
        return found

    def extra_repr(self) -> str:
        fused = ", relu=True" if self.relu else ""
        return f"in_features={self.in_features}, out_features={self.out_features}, {super().extra_repr()}{fused}"


class SparseConv2d(_Sparse):
    """`nn.Conv2d` (and ReLU with `relu=True`, and max-pooling with `pool=2`) that stores its active weights only.

    All settings of `nn.Conv2d` mean what they mean there; the rest is as in SparseLinear, with positions in the
    flattened weight [out, in / groups, kh, kw]. ReLU comes before the pooling.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1,
                 groups: int = 1, bias: bool = True, padding_mode: str = "zeros", *, density: float | None = None,
                 relu: bool = False, pool: int = 1, positions: Tensor | None = None,
                 generator: torch.Generator | None = None, device=None, dtype=None):  # fmt: skip
        super().__init__()
        self.in_channels, self.out_channels = (
            _whole(in_channels, "in_channels", 0),
            _whole(out_channels, "out_channels", 0),
        )
        self.groups = _whole(groups, "groups", 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide both channels, got {in_channels}, {out_channels} and {groups} groups")
        if isinstance(kernel_size, tuple | list) and len(kernel_size) != 2:
            raise ValueError(f"kernel_size is one number, or (height, width), got {kernel_size!r}")
        self.kernel_size = _pair(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = _pair(stride, "stride", 1), _pair(dilation, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else _pair(padding, "padding", 0)
        if isinstance(padding, str) and padding != "valid" and (padding, self.stride) != ("same", (1, 1)):
            raise ValueError(f"padding is numbers, 'valid', or, for a stride of 1, 'same'; got {padding!r}")
        choose(padding_mode, _PADDING, "padding_mode")
        self.padding_mode = padding_mode
        self.relu, self.pool = relu, _whole(pool, "pool", 1)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._add_weight(shape, density, positions, bias, generator, device, dtype)

    @property
    def _margins(self) -> tuple[int, int, int, int]:
        """What is padded: left, right, top, bottom."""
        if self.padding == "same":
            totals = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
            return left, right, top, bottom
        y, x = (0, 0) if self.padding == "valid" else self.padding
        return x, x, y, y

    @classmethod
    def from_masked(cls, layer: nn.Conv2d, *, relu: bool = False, pool: int = 1) -> "SparseConv2d":
        """The same function as the masked layer (and ReLU and pooling behind it), without the weights that are zero."""
        return cls.from_dense(layer, layer.active_positions(), layer.active_values(), relu=relu, pool=pool)

    @classmethod
    def from_dense(cls, layer: nn.Conv2d, positions: Tensor | None = None, values: Tensor | None = None, *,
                   relu: bool = False, pool: int = 1) -> "SparseConv2d":  # fmt: skip
        """The layer with its weights at `positions` only (its non-zeros, if not given), or `values` in their place."""
        geometry = {name: getattr(layer, name) for name in _GEOMETRY}
        positions, values = _chosen(layer, positions, values)
        made = cls(**geometry, relu=relu, pool=pool, **_settings(layer, positions))
        return made._take_weights(layer, values)

    def _kind(self, fused: bool) -> Conv2d:
        margins = self._margins if self.padding_mode == "zeros" else (0, 0, 0, 0)  # others are padded before
        return Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.dilation, self.groups,
                      margins, fused and self.relu, self.pool if fused else 1)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4) or input.shape[-3] != self.in_channels:
            raise ValueError(f"expected images [N, {self.in_channels}, H, W], got {list(input.shape)}")
        images = input if input.dim() == 4 else input[None]
        if self.padding_mode != "zeros":
            images = F.pad(images, self._margins, mode=self.padding_mode)
        y = self.chosen_backend(images, [self.operation(fused=not self.watching)])
        if self.watching:
            self._watch_gradient(F.pad(images.detach(), self._kind(True).margins), y)
            y = F.relu(y) if self.relu else y
            y = F.max_pool2d(y, self.pool) if self.pool > 1 else y
        return y if input.dim() == 4 else y[0]

    @property
    def geometry(self) -> dict:
        """The arguments of an `nn.Conv2d` of this kind, but for the bias."""
        return {name: getattr(self, name) for name in _GEOMETRY}

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what an image of this size becomes, before any pooling."""
        return self._kind(False)._replace(margins=self._margins).pixels(height, width)

    def _gradient_blocks(self, watched: list[tuple[Tensor, Tensor]]) -> Iterator[tuple[int, Tensor]]:
        channels, units = self.in_channels // self.groups, self.out_channels // self.groups
        width = self.weight_shape[1:].numel()
        at_once = max(1, _BLOCK // width)
        for unit in range(0, self.out_channels, units):  # a group's units read its channels
            read = slice(unit // units * channels, unit // units * channels + channels)
            for first in range(unit, unit + units, at_once):
                last = min(first + at_once, unit + units)
                shape = (last - first, *self.weight_shape[1:])
                block = sum(
                    conv2d_weight(x[:, read], shape, g[:, first:last], self.stride, 0, self.dilation)
                    for x, g in watched
                )
                yield first * width, block.flatten()

    def _gradient_at(self, watched: list[tuple[Tensor, Tensor]], positions: Tensor) -> Tensor:
        return torch.cat([block for _, block in self._gradient_blocks(watched)])[positions]

    def extra_repr(self) -> str:
        told = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        usual = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros", "relu": False, "pool": 1}
        told += "".join(
            f", {name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value
        )
        return f"{told}, {super().extra_repr()}"
