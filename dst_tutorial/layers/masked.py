"""Simulated sparsity (Dense+Mask): a dense weight and a boolean mask, multiplied in every forward pass.

This is how most papers "do" sparse training. It is easy and exact, and it saves nothing: every weight is stored,
multiplied and given a gradient (a zero) and optimiser state, and the mask comes on top.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .watching import Watched

_BLOCK = 2**18  # positions whose gradients are looked at together


class _Masked:
    """What both masked layers share, beside `weight`: the mask, and the protocol of `rules.py`."""

    mask: Tensor  # bool, the shape of `weight`; True = active
    _watching: bool = False

    def __init__(self, *arguments, mask: Tensor | None = None, **options):
        super().__init__(*arguments, **options)
        self._add_mask(mask)

    def _add_mask(self, mask: Tensor | None) -> None:
        if mask is None:
            mask = torch.ones_like(self.weight, dtype=torch.bool)
        if mask.shape != self.weight.shape:
            raise ValueError(f"the mask has shape {tuple(mask.shape)}, the weight {tuple(self.weight.shape)}")
        self.register_buffer("mask", mask.to(self.weight.device, torch.bool, copy=True))
        self._watched: Watched[Tensor] = Watched()  # of the loss, for all weights: only while watched
        self.clear_inactive()

    @property
    def masked_weight(self) -> Tensor:
        # The product rule does the rest: d loss / d weight = d loss / d (weight * mask) * mask, zero where inactive.
        masked = self.weight * self.mask
        if self._watching and masked.requires_grad:  # the product rule will set its inactive part to zero
            masked.register_hook(lambda gradient: self._watched.add(self.weight, gradient.detach()))
        return masked

    def reset_parameters(self) -> None:
        """As in the dense layer, at the active positions."""
        super().reset_parameters()
        if hasattr(self, "mask"):  # the dense layer calls it before there is one
            self.clear_inactive()

    @classmethod
    def from_dense(cls, layer: nn.Module, mask: Tensor | None = None):
        """A masked copy of a dense layer, with all its settings. Its weights at inactive positions become zero."""
        masked = copy.deepcopy(layer)
        masked.__class__ = cls  # a masked layer is its dense layer and one buffer more
        masked._add_mask(mask)
        return masked

    # --- the protocol of rules.py: positions index the flattened weight -----------------------------------------

    @property
    def weight_shape(self) -> torch.Size:
        return self.weight.shape

    @property
    def parameter(self) -> nn.Parameter:
        return self.weight

    @property
    def active_weights(self) -> int:
        return int(self.mask.sum())

    def active_positions(self) -> Tensor:
        return self.mask.flatten().nonzero().flatten()

    def active_values(self) -> Tensor:
        return self.weight.detach().take(self.active_positions())

    def watch(self, on: bool) -> None:
        self._watching = on
        self._watched.clear()

    def _gradient(self) -> Tensor | None:
        """Of all weights, as far as the optimiser is about to apply it."""
        active = self.active_positions()
        gradient = None if self.weight.grad is None else self.weight.grad.take(active)
        applied = self._watched.applied(gradient, lambda record: record.take(active))
        return sum(applied) if applied else None

    def gradient_blocks(self) -> Iterator[tuple[int, Tensor]] | None:
        if (gradient := self._gradient()) is None:
            return None
        width = self.weight_shape[1:].numel()
        rows = max(1, _BLOCK // max(1, width))
        return ((i * rows * width, block.flatten()) for i, block in enumerate(gradient.split(rows)))

    def gradient_at(self, positions: Tensor) -> Tensor:
        return self._gradient().take(positions)

    @torch.no_grad()
    def rewire(self, drop: Tensor, grow: Tensor, values: Tensor, moments: list[Tensor], reset: bool) -> None:
        weight = self.weight.data
        touched = torch.cat([drop, grow])
        for tensor in (weight, *(moments if reset else [])):  # put_ flattens by meaning, whatever the memory layout
            tensor.put_(touched, torch.zeros_like(touched, dtype=tensor.dtype))
        weight.put_(grow, values.to(weight))
        self.mask.put_(drop, torch.zeros_like(drop, dtype=torch.bool))
        self.mask.put_(grow, torch.ones_like(grow, dtype=torch.bool))

    @torch.no_grad()
    def clear_inactive(self) -> None:
        self.weight.data.masked_fill_(~self.mask, 0)  # not a product: NaN * 0 is NaN

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self.clear_inactive()  # the state may come from a dense layer

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, active={self.active_weights:,} of {self.weight.numel():,}"


class MaskedLinear(_Masked, nn.Linear):
    """`nn.Linear` whose weight [out, in] is multiplied by `mask` (bool [out, in], True = active) in every forward.

    It takes the arguments of `nn.Linear`, and `mask`; without one all weights are active. Inactive weights are stored
    as exact zeros, and their gradient is exactly zero: SGD, Adam and their like leave them there. Momentum from before
    a topology update, or an optimiser that mixes weights (Muon), may move them; `fit` and `DynamicSparsity.step` set
    them back, and no output ever uses them.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked_weight, self.bias)


class MaskedConv2d(_Masked, nn.Conv2d):
    """`nn.Conv2d` whose weight [out, in / groups, kh, kw] is multiplied by `mask`: see MaskedLinear."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.masked_weight, self.bias)


MASKED_FORM = {nn.Linear: MaskedLinear, nn.Conv2d: MaskedConv2d}
