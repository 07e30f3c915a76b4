"""The explorers: controls over a picture and a line of text. Core ipywidgets only.

An explorer is a function of its controls' values that returns a Figure (which carries its alt text). The functions
are public, so that they can be called, tested and shown without any widget.
"""

import base64
import html
from collections.abc import Callable
from functools import cache, lru_cache

import ipywidgets as ipw
import torch
from matplotlib.figure import Figure
from torch import nn

from . import plots
from .algorithms import RigL, Static
from .breakeven import DENSE, layer_times, medians_by_sparsity, pays_from
from .data import Dataset, load_mnist
from .experiments import EXPERIMENTS, load_masks
from .figures import LAYERS, bytes_by_sparsity
from .ledger import bytes_by_form
from .measures import exploration, overlap
from .models import LeNet300100, SlideCNN
from .notebook import png
from .recipes import build, find_recipe
from .rules import SCHEDULES
from .sparsify import sparsify
from .training import History, fit

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
INTERVALS = (2, 5, 10, 20, 50)  # steps


def explorer(draw: Callable[..., Figure], **controls: ipw.Widget) -> ipw.VBox:
    """`draw(**values)` below its controls, drawn anew at every move. An error is shown where the picture was."""
    picture = ipw.HTML()
    picture.add_class("dst-explorer-picture")

    def show(*_) -> None:
        picture.value = _as_html(draw(**{name: control.value for name, control in controls.items()}))

    def show_safely(*_) -> None:
        try:
            show()
        except Exception as error:  # in a widget's callback nobody would see it
            picture.value = f"<pre>{html.escape(f'{type(error).__name__}: {error}')}</pre>"

    show()  # an error at the first values is the cell's error
    for control in controls.values():
        control.observe(show_safely, names="value")
    row = ipw.Box(list(controls.values()), layout=ipw.Layout(flex_flow="row wrap"))
    return ipw.VBox([row, picture])


def _as_html(figure: Figure) -> str:
    alt = html.escape(figure.get_label(), quote=True)
    data = base64.b64encode(png(figure)).decode()
    return f'<img alt="{alt}" style="max-width: 100%" src="data:image/png;base64,{data}"><p>{alt}</p>'


def _slider(options, value, description: str) -> ipw.SelectionSlider:
    style = {"description_width": "initial"}
    return ipw.SelectionSlider(options=options, value=value, description=description, continuous_update=False,
                               style=style)  # fmt: skip


# --- notebook 01: storage ---------------------------------------------------------------------------------------------

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)


def draw_storage(sparsity: float, size: int) -> Figure:
    """What a size x size matrix takes in each format, by sparsity."""
    return bytes_by_sparsity(size, size, sparsity)


def storage_explorer() -> ipw.VBox:
    """Move the sparsity and the size; see what the indices cost."""
    return explorer(
        draw_storage, sparsity=_slider(SPARSITIES, 0.95, "sparsity"), size=_slider(SIZES, 1000, "rows = columns")
    )


# --- notebook 02: initialisation --------------------------------------------------------------------------------------


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
    images = _some_mnist().test_images[:500]
    dense = build(find_recipe("dense"), SlideCNN, 0.0, seed)
    networks = {
        "dense, PyTorch's values": dense,
        "sparse, the same values": sparsify(dense, sparsity, allocation="uniform", init="dense", seed=seed),
        "dense, drawn for its fan-in": sparsify(dense, 0.0, allocation="uniform", init="fan_in", seed=seed),
        "sparse, drawn for the actual fan-in": sparsify(
            dense, sparsity, allocation="uniform", init="fan_in", seed=seed
        ),
    }
    signals = {name: layer_signals(network, images) for name, network in networks.items()}
    return plots.signal_strength(signals, f"untrained SlideCNN, {100 * sparsity:g}% sparse")


def signal_explorer() -> ipw.VBox:
    """Move the sparsity; see the signal die, or not."""
    return explorer(draw_signals, sparsity=_slider(SPARSITIES, 0.95, "sparsity"))


# --- notebook 03: the DST loop ----------------------------------------------------------------------------------------

LIVE_IMAGES, LIVE_EPOCHS = 2_000, 4
LIVE_SEEDS = (42, 43, 44)
RULES = {"random": "grown at random", "gradient": "grown by gradient"}


@cache
def _some_mnist() -> Dataset:
    return load_mnist().at_most(LIVE_IMAGES, 1_000)


@lru_cache(maxsize=256)
def train_live(sparsity: float, update_interval: int | None, seed: int, grow: str = "gradient",
               schedule: str = "cosine") -> History:  # fmt: skip
    """LeNet-300-100 (ERK) on 2,000 images for 4 epochs; an update every so many steps (None: a static mask)."""
    model = build(find_recipe("static"), LeNet300100, sparsity, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    if update_interval:
        topology = RigL(model, optimizer, update_interval=update_interval, grow=grow, schedule=schedule, seed=seed)
    else:
        topology = Static(model, optimizer)
    return fit(model, _some_mnist(), optimizer, epochs=LIVE_EPOCHS, topology=topology, seed=seed, progress=False)


def draw_dst(sparsity: float, update_interval: int, grow: str = "gradient", schedule: str = "cosine") -> Figure:
    """Train live from three seeds, with topology updates and without; show accuracy, and how the topology moved."""
    moving = [train_live(sparsity, update_interval, seed, grow, schedule) for seed in LIVE_SEEDS]
    static = [train_live(sparsity, None, seed) for seed in LIVE_SEEDS]
    snapshots = moving[0].snapshots  # how far it moves hardly depends on the seed
    masks = [snapshot.masks for snapshot in snapshots]
    return plots.topology_in_motion(
        {
            RULES[grow]: [history.curve("test_accuracy") for history in moving],
            "static": [history.curve("test_accuracy") for history in static],
        },
        steps=[snapshot.step for snapshot in snapshots],
        explored=list(exploration(masks)),
        kept=[overlap(masks[0], later) for later in masks],
        title=f"LeNet-300-100, {100 * sparsity:g}% sparse",
    )


def dst_explorer() -> ipw.VBox:
    """Move the sparsity, the prune interval, the growth rule and the schedule; each move trains anew, in seconds."""
    return explorer(
        draw_dst,
        sparsity=_slider(SPARSITIES, 0.95, "sparsity"),
        update_interval=_slider(INTERVALS, 10, "prune interval (steps)"),
        grow=_slider(tuple(RULES), "gradient", "grow by"),
        schedule=_slider(tuple(SCHEDULES), "cosine", "schedule"),
    )


# --- notebook 04: mask evolution --------------------------------------------------------------------------------------


def draw_mask(layer: str, epoch: int, palette: str = "okabe-ito") -> Figure:
    """The recorded mask of a layer at the end of an epoch, against the epoch before."""
    recorded = load_masks("slides")
    before, after = (recorded.masks_at(e)[layer] for e in (max(epoch - 1, 0), epoch))
    return plots.mask_close_up(before, after, palette, f"{layer}, epoch {epoch}")


def mask_explorer() -> ipw.VBox:
    """Every layer of the recorded run, every epoch, both palettes; every weight drawn."""
    epochs = range(EXPERIMENTS["slides"].epochs + 1)
    return explorer(
        draw_mask,
        layer=_slider(LAYERS, "fc2", "layer"),
        epoch=_slider(epochs, 2, "epoch"),
        palette=_slider(tuple(plots.PALETTES), "okabe-ito", "colours"),
    )


# --- notebook 05: break-even ------------------------------------------------------------------------------------------

WIDTHS = (256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256)


def draw_break_even(width: int, batch: int, rounds: int = 7) -> Figure:
    """One width x width layer, timed now on one thread: inference of `batch` random inputs, by method and sparsity."""
    points = layer_times(width, batch, SPARSITIES, rounds=rounds, threads=1)
    pays = {method: pays_from(points, "truly sparse", method)[width, batch] for method in DENSE}
    told = "; ".join(f"{method} {plots.from_sparsity(pays[method], SPARSITIES[0])}" for method in DENSE)
    title = f"{width:,} x {width:,}, batch {batch}, 1 thread. Truly sparse pays against:\n{told}"
    return plots.times_by_sparsity(medians_by_sparsity(points), {}, title)


def break_even_explorer() -> ipw.VBox:
    """Move the width and the batch; the layer is timed anew, at every sparsity and in every form, in seconds."""
    return explorer(draw_break_even, width=_slider(WIDTHS, 1024, "width"), batch=_slider(BATCHES, 64, "batch"))


# --- notebook 06: memory ----------------------------------------------------------------------------------------------

FROM_DENSE = (0.0, 0.2, *SPARSITIES)
IMAGES = (1, 16, 64, 256)


def draw_training_bytes(sparsity: float, batch: int) -> Figure:
    """What training the slide network takes in every form, counted."""
    masked = sparsify(SlideCNN(), sparsity, allocation="uniform")
    ledgers = bytes_by_form(masked, torch.zeros(batch, 1, 28, 28))
    return plots.bytes_held(ledgers, f"SlideCNN, {100 * sparsity:g}% sparse, {batch} images at a time")


def memory_explorer() -> ipw.VBox:
    """Move the sparsity and the batch; see which bytes sparsity saves, and which it does not."""
    return explorer(
        draw_training_bytes, sparsity=_slider(FROM_DENSE, 0.95, "sparsity"), batch=_slider(IMAGES, 64, "batch")
    )
