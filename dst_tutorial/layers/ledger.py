"""What sparsity costs and saves, counted: bytes (float32 values, bool masks, int32 indices) and multiplications."""

import math

import torch
from torch import Tensor, nn

from .convert import to_dense, to_truly_sparse
from .masked import MaskedConv2d, MaskedLinear
from .modes import modes_kept
from .sparsify import count_weights, prunable_layers, sparse_layers

VALUE, INDEX, MASK = 4, 4, 1  # bytes
MASKED = MaskedLinear, MaskedConv2d

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


def bytes_by_form(masked: nn.Module, images: Tensor) -> dict[str, Ledger]:
    """What training a masked network on so many images takes in every form, activations included."""
    forms = {
        "dense": (dense_bytes, to_dense(masked)),
        "Dense+Mask": (masked_bytes, masked),
        "truly sparse": (csr_bytes, to_truly_sparse(masked)),
    }
    return {
        form: count(network) | {"activations": activation_bytes(network, images)}
        for form, (count, network) in forms.items()
    }


def state_bytes(model: nn.Module) -> int:
    """What training with Adam holds from step to step, in the form the model has: dense, masked or truly sparse."""
    layers = _layers(model)
    if any(isinstance(layer, MASKED) for layer in layers):
        return sum(n for kind, n in masked_bytes(model).items() if kind != "transient")
    return sum((csr_bytes if sparse_layers(model) else dense_bytes)(model).values())


def activation_bytes(model: nn.Module, images: Tensor) -> int:
    """What a forward pass of these images keeps until the backward pass, the images included: each array once.

    Masked copies of weights are not activations: see "transient" in `masked_bytes`.
    """
    if any(isinstance(layer, MASKED) for layer in _layers(model)):
        model = to_dense(model)
    known = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if (place := tensor.data_ptr()) not in known:
            kept[place] = max(kept.get(place, 0), tensor.nbytes)  # one array may be kept in several shapes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = model(images)  # it holds what was kept, so that no two arrays are in one place
    del y
    return sum(kept.values())


def format_bytes(rows: int, columns: int, nonzeros: int, index: int = INDEX) -> Ledger:
    """One float32 matrix in each format, with indices of `index` bytes: values, and all that says where they are."""
    return {
        "dense": VALUE * rows * columns,
        "COO": (VALUE + 2 * index) * nonzeros,
        "CSR": (VALUE + index) * nonzeros + index * (rows + 1),
        "CSC": (VALUE + index) * nonzeros + index * (columns + 1),
    }


def macs(model: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-accumulates that the active weights ask for: layer name -> number for one image [C, H, W].

    An active weight is used once for every place its layer computes: once in a linear layer, at every pixel of the
    output in a convolution.
    """
    counts, hooks = {}, []

    def count(name: str):
        def hook(layer, inputs, output):
            weights = layer.active_weights if hasattr(layer, "active_weights") else layer.weight.numel()
            size = layer.output_size if hasattr(layer, "output_size") else None  # it may have been pooled
            places = math.prod(size(*inputs[0].shape[-2:])) if size else output[0].numel() // _shape(layer)[0]
            counts[name] = counts.get(name, 0) + weights * places

        return hook

    for name, layer in {**prunable_layers(model), **sparse_layers(model)}.items():
        hooks.append(layer.register_forward_hook(count(name)))
    try:
        with torch.no_grad(), modes_kept(model):
            model.eval()(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    return {name: counts[name] for name, layer in model.named_modules() if name in counts}


def _arrays(n: int) -> Ledger:
    return {"weights": VALUE * n, "gradients": VALUE * n, "Adam's moments": 2 * VALUE * n}


def _biases(model: nn.Module) -> int:
    return sum(layer.bias.numel() for layer in _layers(model) if layer.bias is not None)


def _layers(model: nn.Module) -> list[nn.Module]:
    return [*prunable_layers(model).values(), *sparse_layers(model).values()]


def _shape(layer: nn.Module) -> torch.Size:
    return layer.weight_shape if hasattr(layer, "weight_shape") else layer.weight.shape
