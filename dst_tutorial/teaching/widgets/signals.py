"""Notebook 02: what sparse layers make of a signal."""

from functools import cache

import ipywidgets as ipw
import torch
from matplotlib.figure import Figure
from torch import nn

from ...layers import sparsify
from ...show import plots
from ...training import SlideCNN, build, find_recipe, load_mnist
from .explorer import explorer, slider
from .storage import SPARSITIES


@cache
def _images() -> torch.Tensor:
    return load_mnist().test_images[:500].clone()


@torch.no_grad()
def layer_signals(model: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """How much the output of every layer with weights varies from image to image: layer name -> standard deviation.

    images [N, 1, 28, 28]. The mean over units of the variance over images, and its root: biases do not count.
    """
    signals, x = {}, images
    for name, layer in model.named_children():
        x = layer(x)
        if hasattr(layer, "weight"):
            signals[name] = x.var(dim=0).mean().sqrt().item()
    return signals


def draw_signals(sparsity: float, seed: int = 42) -> Figure:
    """How strong the signal of the untrained slide network is after each layer: dense and sparse, by two rules.

    Compare dense with sparse under one rule: the rules differ in their gain, too.
    """
    dense = build(find_recipe("dense"), SlideCNN, 0.0, seed)
    networks = {
        "dense, PyTorch's values": dense,
        "sparse, the same values": sparsify(dense, sparsity, allocation="uniform", init="dense", seed=seed),
        "dense, drawn for its fan-in": sparsify(dense, 0.0, allocation="uniform", init="fan_in", seed=seed),
        "sparse, drawn for the actual fan-in": sparsify(
            dense, sparsity, allocation="uniform", init="fan_in", seed=seed
        ),
    }
    signals = {name: layer_signals(network, _images()) for name, network in networks.items()}
    return plots.signal_strength(signals, f"untrained SlideCNN, {100 * sparsity:g}% sparse")


def signal_explorer() -> ipw.VBox:
    """Move the sparsity; see the signal die, or not."""
    return explorer(draw_signals, sparsity=slider(SPARSITIES, 0.95, "sparsity"))
