"""Slides 2 to 5: what sparsity is and what it stores, by arithmetic on shapes and on layers small enough to see."""

import logging

import numpy as np
import torch
from matplotlib.figure import Figure

from ...layers import csr_bytes, dense_bytes, format_bytes, macs, masked_bytes, sparse_layers, sparsify
from ...randomness import stream
from ...studies import slides
from ...topology import Mask, at_random, by_magnitude
from ...training import SlideCNN, mlp
from .. import plots
from ..pictures import pictures

SHAPES = "arithmetic on shapes"
EXAMPLE = np.array(  # notebook 01's
    [[0, 3, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], [4, 0, 0, 2, 0, 0, 7, 0], [0, 0, 5, 0, 0, 6, 0, 8]]
)
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3", "fc4")


def dense_and_sparse() -> Figure:
    """Slide 2: what 95% less looks like."""
    logging.disable(logging.WARNING)  # that a toy as small has constant outputs is no news
    model = sparsify(mlp(10, 14, 14, 6), slides.SPARSITY, allocation="uniform", init="dense", seed=1)
    logging.disable(logging.NOTSET)
    masks = [layer.mask.numpy() for layer in sparse_layers(model).values()]
    return plots.dense_and_sparse(masks, "The same neurons, with 5% of the connections")


def bytes_by_sparsity(rows: int = 1000, columns: int = 1000, marked: float = slides.SPARSITY) -> Figure:
    """Slide 2's "95% memory reduction", for a matrix of the size of fc3: what the indices cost."""
    sparsities = np.linspace(0.3, 0.99, 70)
    series = {}
    for name, form, index in (("COO, int64 indices (torch's)", "COO", 8), ("CSR, int64", "CSR", 8),
                              ("CSR, int32", "CSR", 4)):  # fmt: skip
        counts = [round((1 - s) * rows * columns) for s in sparsities]
        dense = format_bytes(rows, columns, 0)["dense"]
        series[name] = [100 * format_bytes(rows, columns, n, index)[form] / dense for n in counts]
    series["values alone (the slide)"] = [100 * (1 - s) for s in sparsities]
    share = np.interp(marked, sparsities, series["CSR, int32"])
    not_so = f"not {100 - 100 * marked:.0f}"
    title = f"{100 * marked:g}% sparse: {share:.0f}% of the bytes, {not_so} (CSR, {rows:,} x {columns:,})"
    return plots.bytes_by_sparsity(sparsities, series, marked, title)


def bytes_to_guess(rows: int = 1000, columns: int = 1000, sparsity: float = slides.SPARSITY) -> plots.Answer:
    """The same, and what CSR with int32 takes, in percent of dense."""
    sizes = format_bytes(rows, columns, round((1 - sparsity) * rows * columns))
    share = 100 * sizes["CSR"] / sizes["dense"]
    return plots.Answer(bytes_by_sparsity(rows, columns, sparsity), share, 100 * sparsity)


def storage_formats() -> Figure:
    """Slide 3: the arrays of each format."""
    return plots.storage_formats(EXAMPLE)


def training_memory() -> Figure:
    """Slides 2 and 3: what is held while training, counted from the shapes."""
    model = sparsify(SlideCNN(), slides.SPARSITY, allocation="uniform")
    ledgers = {
        "dense": dense_bytes(model),
        "Dense+Mask, 95%": masked_bytes(model),
        "truly sparse (CSR), 95%": csr_bytes(model),
    }
    return plots.bytes_held(ledgers, "A mask saves no memory: it is stored beside all the weights")


def layers() -> Figure:
    """Slide 4: where the network's weights are, and where its multiplications."""
    model = SlideCNN()
    weights = {name: model.get_submodule(name).weight.numel() for name in LAYERS}
    budgets = {"weights": weights, "multiplications for one image": macs(model, torch.zeros(1, 28, 28))}
    most = 100 * weights["fc3"] / sum(weights.values())
    of_macs = budgets["multiplications for one image"]
    convolved = 100 * sum(of_macs[name] for name in LAYERS[:2]) / sum(of_macs.values())
    title = f"fc3 has {most:.0f}% of the weights; the convolutions do {convolved:.0f}% of the multiplications"
    return plots.layer_budgets(budgets, "number", title)


def topology_update() -> Figure:
    """Slide 5: prune and regrow, on a layer small enough to see."""
    layer = sparsify(torch.nn.Linear(60, 8), 0.9, init="fan_in", seed=2)
    active, dropped = layer.active_positions(), by_magnitude(layer, 0.25)
    grown = at_random(layer, active, 12, stream(2, "topology"))
    masks = [layer.mask.clone() for _ in range(3)]
    for mask in masks[1:]:
        mask.view(-1)[dropped] = False
    masks[2].view(-1)[grown] = True
    return plots.topology_update(*(Mask.of(mask.numpy()) for mask in masks))


FIGURES = (
    *pictures(SHAPES, dense_and_sparse, bytes_by_sparsity, slide=2),
    *pictures(SHAPES, storage_formats, training_memory, slide=3),
    *pictures(SHAPES, layers, slide=4),
    *pictures(SHAPES, topology_update, slide=5),
)
