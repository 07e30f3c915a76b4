"""What a form of sparsity costs in bytes, counted from the shapes. float32 values, bool masks, int32 indices."""

import torch
from torch import nn

from .sparsify import count_weights, prunable_layers, sparse_layers

VALUE, INDEX, MASK = 4, 4, 1  # bytes

Ledger = dict[str, int]  # bytes by kind


def dense_bytes(model: nn.Module) -> Ledger:
    """Training all Linear and Conv2d layers with Adam: weights and biases, gradients, two moments."""
    return _arrays(count_weights(model)[1] + _biases(model))


def masked_bytes(model: nn.Module) -> Ledger:
    """The same for Dense+Mask: all of the dense arrays, and the mask on top.

    "transient" comes and goes with every step: the masked copies of all weights, which autograd keeps until the
    backward pass, and the gradient of one of them at a time, at most that of the largest layer.
    """
    total = count_weights(model)[1]
    largest = max(_shape(layer).numel() for layer in _layers(model))
    return _arrays(total + _biases(model)) | {"masks": MASK * total, "transient": VALUE * (total + largest)}


def csr_bytes(model: nn.Module) -> Ledger:
    """The same for truly sparse CSR: arrays for the active weights only, a column index each, a pointer a row."""
    active, _ = count_weights(model)
    pointers = sum(_shape(layer)[0] + 1 for layer in _layers(model))
    return _arrays(active + _biases(model)) | {"indices": INDEX * (active + pointers)}


def _arrays(n: int) -> Ledger:
    return {"weights": VALUE * n, "gradients": VALUE * n, "Adam's moments": 2 * VALUE * n}


def _biases(model: nn.Module) -> int:
    return sum(layer.bias.numel() for layer in _layers(model) if layer.bias is not None)


def _layers(model: nn.Module) -> list[nn.Module]:
    return [*prunable_layers(model).values(), *sparse_layers(model).values()]


def _shape(layer: nn.Module) -> torch.Size:
    return layer.weight_shape if hasattr(layer, "weight_shape") else layer.weight.shape
