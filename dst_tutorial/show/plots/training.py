"""Training: accuracy over epochs, signals through layers."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .look import BLACK, BLUE, GREEN, GREY, LOOKS, NAMES, VERMILLION, ends, new_axes, sentence, styled


@styled
def training_curves(curves: Mapping[str, Sequence[Sequence[float]]], references: Mapping[str, float] | None = None,
                    title: str = "") -> Figure:  # fmt: skip
    """Test accuracy by epoch. `curves`: recipe -> one list a seed, in percent. Mean, and the range over seeds.

    references   recipe -> a number to compare with, drawn as a dotted line (the slides' value, say)
    """
    told = "; ".join(f"{NAMES.get(n, n)} ends at {np.mean(np.array(c)[:, -1]):.2f}%" for n, c in curves.items())
    last = {NAMES.get(n, n): float(np.mean(np.array(c)[:, -1])) for n, c in curves.items()}
    finding = f"{sentence(title)}Test accuracy by epoch. At the end {ends(last, '{:.2f}%')}."
    figure, axes = new_axes(8, 4.2, finding, f"{told}.")
    for name, seeds in curves.items():
        by_epoch = np.array(seeds)
        epochs = np.arange(1, by_epoch.shape[1] + 1)
        colour, marker, line = LOOKS.get(name, (GREY, "d", "-."))
        axes.fill_between(epochs, by_epoch.min(0), by_epoch.max(0), color=colour, alpha=0.18, linewidth=0)
        axes.plot(epochs, by_epoch.mean(0), line, marker=marker, color=colour, label=NAMES.get(name, name))
        if references and name in references:
            axes.axhline(references[name], color=colour, linestyle=":", linewidth=1)
            axes.annotate(f"slides: {references[name]:.2f}", (1, references[name]), color=colour, fontsize="small",
                          textcoords="offset points", xytext=(0, 3))  # fmt: skip
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", title=title)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


@styled
def accuracy_by_sparsity(curves: Mapping[str, Mapping[float, float | Sequence[float]]], title: str = "",
                         lowest: float | None = 0) -> Figure:  # fmt: skip
    """Test accuracy (percent) along the sparsity: `curves[name][sparsity]`, a number or one a seed (mean and range).

    A curve of a single sparsity, such as that of a dense network, is drawn across.
    """
    means = {name: {s: float(np.mean(a)) for s, a in curve.items()} for name, curve in curves.items()}
    told = "; ".join(
        f"{NAMES.get(name, name)}: {', '.join(f'{100 * s:g}% {a:.1f}' for s, a in c.items())}"
        for name, c in means.items()
    )
    at = max(s for curve in curves.values() for s in curve)
    there = {NAMES.get(name, name): by[at] for name, by in means.items() if at in by}
    finding = f"{sentence(title)}Test accuracy by sparsity. At {100 * at:g}% {ends(there)}."
    figure, axes = new_axes(8, 3.8, finding, f"{told}.")
    others = iter(((BLUE, "o", "-"), (VERMILLION, "s", "--"), (GREEN, "v", "-.")))
    for name, curve in curves.items():
        colour, marker, line = LOOKS[name] if name in LOOKS else next(others)
        label, sparsities = NAMES.get(name, name), [100 * s for s in curve]
        if len(curve) == 1:
            (values,) = curve.values()
            axes.axhline(np.mean(values), color=colour, linestyle=line, label=label)
            axes.axhspan(np.min(values), np.max(values), color=colour, alpha=0.15, linewidth=0)
            continue
        axes.plot(sparsities, list(means[name].values()), line, marker=marker, color=colour, label=label)
        ranges = [(np.min(a), np.max(a)) for a in curve.values()]
        axes.fill_between(sparsities, *zip(*ranges, strict=True), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="sparsity (%)", ylabel="test accuracy (%)", title=title)
    if lowest is not None:
        axes.set_ylim(lowest, 102)
    figure.legend(loc="outside right center")
    return figure


@styled
def accuracies(seeds: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Final test accuracy (percent), a dot a seed and a bar at the mean: `seeds[recipe]`."""
    told = "; ".join(f"{NAMES.get(n, n)} {np.mean(a):.2f}%, {min(a):.2f} to {max(a):.2f}" for n, a in seeds.items())
    means = {NAMES.get(n, n): float(np.mean(a)) for n, a in seeds.items()}
    finding = f"{sentence(title)}Test accuracy, means over seeds: {ends(means, '{:.2f}%')}."
    figure, axes = new_axes(8, 0.9 + 0.45 * len(seeds), finding, f"Mean, lowest and highest seed: {told}.")
    for row, (name, values) in enumerate(seeds.items()):
        colour, marker, _ = LOOKS.get(name, (GREY, "d", "-"))
        axes.plot(values, [row] * len(values), marker, color=colour, markersize=7, alpha=0.75)
        axes.plot([np.mean(values)] * 2, [row - 0.35, row + 0.35], color=colour, linewidth=2)
        axes.annotate(f"{np.mean(values):.2f}", (np.mean(values), row + 0.36), ha="center", va="top", fontsize="small",
                      textcoords="offset points", xytext=(0, -1))  # fmt: skip
    axes.set(yticks=range(len(seeds)), yticklabels=[NAMES.get(n, n) for n in seeds], xlabel="test accuracy (%)",
             title=title, ylim=(len(seeds) - 0.3, -0.6))  # fmt: skip
    axes.grid(axis="y", visible=False)
    return figure


@styled
def signal_strength(signals: Mapping[str, Mapping[str, float]], title: str = "") -> Figure:
    """How much each layer's output varies from image to image: `signals[network][layer]`, on a logarithmic axis."""
    last = ", ".join(f"{name} {list(values.values())[-1]:.2g}" for name, values in signals.items())
    figure, axes = new_axes(8, 3.8, f"How strong the signal is after each layer. After the last: {last}.")
    for (name, values), (colour, marker, line) in zip(
        signals.items(), ((BLACK, "o", "-"), (BLUE, "s", "-"), (GREY, "o", "--"), (VERMILLION, "^", "--")), strict=False
    ):
        axes.plot(list(values), list(values.values()), line, marker=marker, color=colour, label=name)
    axes.set(yscale="log", ylabel="standard deviation\nfrom image to image", title=title)
    axes.legend()
    return figure
