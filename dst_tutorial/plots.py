"""Drawing. Every function returns a matplotlib Figure, whose label is its alt text; only notebooks display.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only cue.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .measures import CHANGES, PackedMask, changes

ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE, BLACK = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000",
)  # fmt: skip
GREY = "#8A8A8A"

# Of a mask's four states, in the order of CHANGES. The slides' red and green look alike to many readers.
PALETTES = {
    "okabe-ito": ("#1A1A1A", "#FFFFFF", VERMILLION, SKY),
    "slides": ("#000000", "#FFFFFF", "#E00000", "#00B000"),
}
# One look for one recipe, everywhere: colour, marker, line.
LOOKS = {
    "dense": (BLACK, "o", "-"),
    "slides": (BLUE, "s", "-"),
    "slides-static": (ORANGE, "^", "--"),
    "slides-fan-in": (GREEN, "v", "-."),
}
NAMES = {
    "dense": "dense",
    "slides": "Dense+Mask, DST",
    "slides-static": "Dense+Mask, static",
    "slides-fan-in": "Dense+Mask, DST, fan-in init",
}

STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "dst-tutorial",  # same results, same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Our look, whatever the reader's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _figure(width: float, height: float, alt: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(alt)
    return figure


def _styled(function):
    @wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with style():
            return function(*args, **kwargs)

    return draw


# --- masks ------------------------------------------------------------------------------------------------------------


def _draw_changes(axes, before: PackedMask, after: PackedMask, palette: str, **options) -> None:
    image = changes(before, after)
    colours = ListedColormap(PALETTES[palette])
    axes.imshow(image.reshape(len(image), -1), cmap=colours, vmin=0, vmax=3, interpolation="nearest", **options)
    axes.grid(False)


def _legend_of_changes(figure: Figure, palette: str) -> None:
    words = ("inactive", "active", "just dropped", "just grown")
    patches = [Patch(facecolor=c, edgecolor=GREY, label=w) for c, w in zip(PALETTES[palette], words, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=4)


@_styled
def mask_changes(before: PackedMask, after: PackedMask, palette: str = "okabe-ito", title: str = "") -> Figure:
    """One topology update of a small layer: a square a weight, units down, inputs across."""
    rows, columns = after.shape[0], int(np.prod(after.shape[1:]))
    counts = np.bincount(changes(before, after).ravel(), minlength=4)
    told = ", ".join(f"{n} {what}" for n, what in zip(counts, CHANGES, strict=True))
    figure = _figure(9, 1.1 + 9 * rows / columns, f"A mask of {rows} by {columns} weights: {told}.")
    axes = figure.subplots()
    _draw_changes(axes, before, after, palette)
    axes.set(xlabel="input", ylabel="unit", title=title)
    _legend_of_changes(figure, palette)
    return figure


@_styled
def mask_evolution(masks: Sequence[PackedMask], layer: str, palette: str = "okabe-ito") -> Figure:
    """The slides' picture: a layer's mask at the start and after every epoch, each against the one before.

    masks   of the layer called `layer`, at the start and at the end of each epoch
    Every weight is drawn, at least two pixels wide.
    """
    first, epochs = masks[0], len(masks) - 1
    moved = sum((a.bits != b.bits).any() for a, b in pairwise(masks))
    figure = _figure(
        13,
        0.62 * (epochs + 1) + 0.6,
        f"The mask of {layer} over {epochs} epochs, a strip an epoch: {first.active} of {first.size} weights are "
        f"active in each; {moved} epochs end with a topology update, which moves some; the others change none.",
    )
    for epoch, axes in enumerate(figure.subplots(epochs + 1, 1)):
        before = masks[max(epoch - 1, 0)]
        _draw_changes(axes, before, masks[epoch], palette, aspect="auto")
        counts = np.bincount(changes(before, masks[epoch]).ravel(), minlength=4)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.set_ylabel("start" if epoch == 0 else f"epoch {epoch}", rotation=0, ha="right", va="center")
        moves = f"−{counts[2]}  +{counts[3]}" if counts[2] else "no update"
        axes.annotate(f"{masks[epoch].active} active\n{moves if epoch else ''}", (1.005, 0.5), xycoords="axes fraction",
                      va="center", fontsize=9)  # fmt: skip
    _legend_of_changes(figure, palette)
    return figure


@_styled
def mask_product(weight: np.ndarray, mask: np.ndarray) -> Figure:
    """weight x mask = what the forward pass uses, for a layer small enough to read: [out, in] each."""
    figure = _figure(11, 2.6, "Three grids side by side: a weight matrix, a mask of zeros and ones, and their product.")
    product = weight * mask
    limit = np.abs(weight).max()
    titles = ("weight", "mask", "weight × mask")
    for axes, values, title in zip(figure.subplots(1, 3), (weight, mask, product), titles, strict=True):
        is_mask = values is mask
        axes.imshow(values, cmap="gray" if is_mask else "PuOr", vmin=0 if is_mask else -limit,
                    vmax=1 if is_mask else limit)  # fmt: skip
        for (i, j), value in np.ndenumerate(values):
            text = f"{int(value)}" if is_mask else f"{value:.1f}" if value else "0"
            dark = value == 0 if is_mask else abs(value) > 0.7 * limit
            axes.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(False)
    return figure


# --- training ---------------------------------------------------------------------------------------------------------


def _draw_seeds(axes, recipe: str, seeds: Sequence[Sequence[float]]) -> str:
    """A recipe's curves by epoch: the mean over seeds, in a band from the lowest to the highest. Its colour."""
    curves = np.array(seeds)
    epochs = np.arange(1, curves.shape[1] + 1)
    colour, marker, line = LOOKS.get(recipe, (GREY, "d", "-."))
    axes.fill_between(epochs, curves.min(0), curves.max(0), color=colour, alpha=0.18, linewidth=0)
    axes.plot(epochs, curves.mean(0), line, marker=marker, color=colour, label=NAMES.get(recipe, recipe))
    return colour


@_styled
def training_curves(curves: Mapping[str, Sequence[Sequence[float]]], references: Mapping[str, float] | None = None,
                    title: str = "") -> Figure:  # fmt: skip
    """Test accuracy by epoch. `curves`: recipe -> one list a seed, in percent. Mean, and the range over seeds.

    references   recipe -> a number to compare with, drawn as a dotted line (the slides' value, say)
    """
    told = "; ".join(f"{NAMES.get(n, n)} ends at {np.mean(np.array(c)[:, -1]):.2f}%" for n, c in curves.items())
    figure = _figure(8, 4.2, f"Test accuracy by epoch. {told}.")
    axes = figure.subplots()
    for name, seeds in curves.items():
        colour = _draw_seeds(axes, name, seeds)
        if references and name in references:
            axes.axhline(references[name], color=colour, linestyle=":", linewidth=1)
            axes.annotate(f"slides: {references[name]:.2f}", (1, references[name]), color=colour, fontsize=9,
                          textcoords="offset points", xytext=(0, 3))  # fmt: skip
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", title=title)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


@_styled
def topology_in_motion(accuracy: Mapping[str, Sequence[Sequence[float]]], steps: Sequence[int],
                       explored: Sequence[float], kept: Sequence[float], title: str = "") -> Figure:  # fmt: skip
    """What the sliders of notebook 03 move.

    accuracy         recipe -> test accuracy (%) by epoch, one list a seed: mean and range are drawn
    steps            at the start and after each topology update
    explored, kept   at those steps: exploration rate R_s, and the share of the first mask that is still active
    """
    figure = _figure(
        10,
        3.6,
        f"Left: test accuracy by epoch, ending at "
        f"{', '.join(f'{np.mean(c, axis=0)[-1]:.1f}% ({NAMES.get(n, n)})' for n, c in accuracy.items())}, means of "
        f"{len(next(iter(accuracy.values())))} seeds. Right: after the last of "
        f"{len(steps) - 1} updates {100 * explored[-1]:.1f}% of all positions have been active at some time, and "
        f"{100 * kept[-1]:.0f}% of the first connections still are.",
    )
    left, right = figure.subplots(1, 2)
    for name, seeds in accuracy.items():
        _draw_seeds(left, name, seeds)
    left.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(None, 100), title=title)
    left.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    left.legend(loc="lower right")
    right.step(steps, [100 * e for e in explored], where="post", color=GREEN, label="ever active (all positions)")
    right.step(steps, [100 * k for k in kept], "--", where="post", color=PURPLE, label="first connections kept")
    right.set(
        xlabel="step", ylabel="%", ylim=(0, 140), yticks=range(0, 101, 20), title=f"{len(steps) - 1} topology updates"
    )
    right.legend(loc="upper right")
    return figure


@_styled
def signal_strength(signals: Mapping[str, Mapping[str, float]], title: str = "") -> Figure:
    """How much each layer's output varies from image to image: `signals[network][layer]`, on a logarithmic axis."""
    ends = ", ".join(f"{name} {list(values.values())[-1]:.2g}" for name, values in signals.items())
    figure = _figure(8, 3.8, f"How strong the signal is after each layer. After the last: {ends}.")
    axes = figure.subplots()
    for (name, values), (colour, marker, line) in zip(
        signals.items(), ((BLACK, "o", "-"), (BLUE, "s", "-"), (GREY, "o", "--"), (VERMILLION, "^", "--")), strict=False
    ):
        axes.plot(list(values), list(values.values()), line, marker=marker, color=colour, label=name)
    axes.set(yscale="log", ylabel="standard deviation\nfrom image to image", title=title)
    axes.legend()
    return figure


@_styled
def bytes_held(ledgers: Mapping[str, Mapping[str, int]], title: str = "") -> Figure:
    """A stacked bar a form: `ledgers[form][kind]` in bytes. Hatches tell the kinds apart without colour."""
    looks = {
        "weights": (BLUE, ""),
        "gradients": (SKY, "//"),
        "Adam's moments": (GREEN, ".."),
        "masks": (BLACK, ""),
        "indices": (PURPLE, "xx"),
        "transient": ("#DDDDDD", "--"),
    }
    totals = {form: sum(kinds.values()) for form, kinds in ledgers.items()}
    figure = _figure(
        9, 0.75 * len(ledgers) + 1.6, "; ".join(f"{form}: {n / 1e6:.1f} MB" for form, n in totals.items()) + "."
    )
    axes = figure.subplots()
    for form, kinds in ledgers.items():
        left = 0.0
        for kind, n in kinds.items():
            colour, hatch = looks[kind]
            axes.barh(form, n / 1e6, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
            left += n / 1e6
        axes.annotate(f" {left:.1f} MB", (left, form), va="center")
    shown = [kind for kind in looks if any(kind in kinds for kinds in ledgers.values())]
    figure.legend(
        handles=[Patch(facecolor=looks[k][0], hatch=looks[k][1], edgecolor="white", label=k) for k in shown],
        loc="outside lower center",
        ncols=len(shown),
        fontsize=9,
    )
    axes.invert_yaxis()
    axes.set(xlabel="megabytes held while training", title=title, xlim=(0, 1.15 * max(totals.values()) / 1e6))
    axes.grid(False, axis="y")
    return figure
