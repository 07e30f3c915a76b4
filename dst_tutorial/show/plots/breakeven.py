"""From which sparsity on truly sparse pays: maps, and times by sparsity under the roofline."""

import math
from collections.abc import Mapping

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .look import SLIDE, new_axes, new_figure, styled
from .timing import METHODS

SHADES = colormaps["cividis"].reversed()


@styled
def times_by_sparsity(times: Mapping[str, Mapping[float | None, float]], least: Mapping[str, Mapping[float, float]],
                      title: str = "") -> Figure:  # fmt: skip
    """What one layer takes by its sparsity, on logarithmic axes, and the least that the machine would allow.

    times   method -> sparsity -> milliseconds; of what no zero changes, under None
    least   method -> sparsity -> milliseconds by the roofline, dotted
    """
    told = "; ".join(
        f"{method} {', '.join(f'{ms:.3g} ms' + (f' at {s:.1%}' if s is not None else '') for s, ms in line.items())}"
        for method, line in times.items()
    )
    figure, axes = new_axes(9, 4.6, f"Median time by sparsity: {told}.")
    all_sparsities = sorted({s for line in times.values() for s in line if s is not None})
    for method, line in times.items():
        colour, _, marker, style = METHODS[method]
        by_sparsity = dict.fromkeys(all_sparsities, line[None]) if None in line else dict(sorted(line.items()))
        densities = [1 - s for s in by_sparsity]
        axes.plot(densities, list(by_sparsity.values()), marker=marker, color=colour, linestyle=style, label=method)
    for method, line in least.items():
        axes.plot([1 - s for s in line], list(line.values()), color=METHODS[method][0], linestyle=(0, (1, 4)),
                  label=f"roofline, {method}")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="sparsity", ylabel="milliseconds (median)", title=title)
    axes.invert_xaxis()
    axes.set_xticks([1 - s for s in all_sparsities], [f"{100 * s:g}%" for s in all_sparsities], rotation=45)
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


@styled
def break_even_maps(maps: Mapping[str, Mapping[tuple[int, int], float | None]], lowest: float) -> Figure:
    """A panel a comparison: from which sparsity on it pays, by width and batch. Paler is earlier, black is never.

    maps     title -> (width, batch) -> sparsity, or None
    lowest   the lowest measured sparsity, which stands for all below
    """
    told = ". ".join(
        f"{title}: "
        + "; ".join(f"width {w:,}, batch {b}: {from_sparsity(sparsity, lowest)}" for (w, b), sparsity in found.items())
        for title, found in maps.items()
    )
    rows = 1 + (len(maps) - 1) // 3
    figure = new_figure(SLIDE, 3.1 * rows, f"From which sparsity on truly sparse pays. {told}.")
    panels = figure.subplots(rows, min(3, len(maps)), squeeze=False).flat
    for axes, (title, found) in zip(panels, maps.items(), strict=False):
        widths, batches = (sorted({key[i] for key in found}) for i in (0, 1))
        for (width, batch), sparsity in found.items():
            x, y = batches.index(batch), widths.index(width)
            # equal steps for equal factors of the density
            dark = 1.0 if sparsity is None else min(1.0, math.log(1 - sparsity) / math.log(1e-3))
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=SHADES(dark), edgecolor="white"))
            axes.annotate(from_sparsity(sparsity, lowest), (x + 0.5, y + 0.5), ha="center", va="center", fontsize=9,
                          color="white" if dark > 0.5 else "black")  # fmt: skip
        axes.set(xlim=(0, len(batches)), ylim=(0, len(widths)), xlabel="batch", ylabel="width")
        axes.set_xticks([i + 0.5 for i in range(len(batches))], [f"{b:,}" for b in batches])
        axes.set_yticks([i + 0.5 for i in range(len(widths))], [f"{w:,}" for w in widths])
        axes.set_title(title, fontsize=11)
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(False)
    for axes in panels:  # those that are left over
        axes.set_axis_off()
    return figure


def from_sparsity(sparsity: float | None, lowest: float) -> str:
    """A sparsity from which on something pays, in words; `lowest` stands for itself and all below."""
    if sparsity is None:
        return "never"
    return f"≤ {100 * lowest:g}%" if sparsity == lowest else f"{100 * sparsity:.1f}%"
