"""From which sparsity on truly sparse pays: maps, and times by sparsity under the roofline."""

import math
from collections.abc import Mapping

from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator

from .look import WIDE, ends, new_axes, new_figure, sentence, styled
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
    most = max(s for line in times.values() for s in line if s is not None)
    there = {method: line.get(most, line.get(None)) for method, line in times.items()}
    finding = f"{sentence(title)}Milliseconds at {100 * most:g}% sparsity: {ends(there, '{:.3g}')}."
    figure, axes = new_axes(9, 4.6, finding, f"Median time by sparsity: {told}.")
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
    axes.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return figure


@styled
def break_even_maps(maps: Mapping[str, Mapping[tuple[int, int], float | None]], lowest: float,
                    title: str = "") -> Figure:  # fmt: skip
    """A panel a comparison: from which sparsity on it pays, by width and batch. Paler is earlier, darkest is never.

    maps     title -> (width, batch) -> sparsity, or None
    lowest   the lowest measured sparsity, which stands for all below
    """
    told = ". ".join(
        f"{title}: "
        + "; ".join(f"width {w:,}, batch {b}: {from_sparsity(sparsity, lowest)}" for (w, b), sparsity in found.items())
        for title, found in maps.items()
    )
    in_short = "; ".join(f"{against}: {_range(found, lowest)}" for against, found in maps.items())
    figure = new_figure(WIDE, 4, f"{sentence(title)}From which sparsity on it pays. {in_short}.", f"{told}.")
    panels = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
    for axes, (against, found) in zip(panels, maps.items(), strict=True):
        widths, batches = (sorted({key[i] for key in found}) for i in (0, 1))
        for (width, batch), sparsity in found.items():
            x, y = batches.index(batch), widths.index(width)
            dark = 1.0 if sparsity is None else _dark(sparsity, lowest)
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=SHADES(dark), edgecolor="white"))
            axes.annotate(from_sparsity(sparsity, lowest, 0), (x + 0.5, y + 0.5), ha="center", va="center",
                          fontsize="small", color="white" if dark > 0.5 else "black")  # fmt: skip
        axes.set(xlim=(0, len(batches)), ylim=(0, len(widths)), xlabel="inputs at once")
        axes.set_xticks([i + 0.5 for i in range(len(batches))], [f"{b:,}" for b in batches])
        axes.set_yticks([i + 0.5 for i in range(len(widths))], [f"{w:,}" for w in widths])
        axes.set_title(against.replace(" against ", "\nagainst "), fontsize="small")
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    panels[0].set_ylabel("inputs and outputs of the layer")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), SHADES), ax=list(panels), shrink=0.9, pad=0.01)
    marks = (lowest, 0.8, 0.9, 0.99, 0.999)
    bar.set_ticks(
        [_dark(s, lowest) for s in marks[:-1]] + [1.0],
        labels=[from_sparsity(s, lowest, 0) for s in marks[:-1]] + ["never"],
    )
    figure.suptitle(title, fontsize="large")
    return figure


def _dark(sparsity: float, lowest: float) -> float:
    """From 0 to 1; equal steps for equal factors of the density."""
    return min(1.0, math.log((1 - sparsity) / (1 - lowest)) / math.log(1e-3 / (1 - lowest)))


def _range(found: Mapping[tuple[int, int], float | None], lowest: float) -> str:
    pays = [sparsity for sparsity in found.values() if sparsity is not None]
    never = len(found) - len(pays)
    told = f"from {from_sparsity(min(pays), lowest)} to {from_sparsity(max(pays), lowest)}" if pays else "nowhere"
    return f"{told}, never in {never} of {len(found)}" if never and pays else told


def from_sparsity(sparsity: float | None, lowest: float, digits: int = 1) -> str:
    """A sparsity from which on something pays, in words; `lowest` stands for itself and all below.

    digits   behind the point; near 100% there is one more
    """
    if sparsity is None:
        return "never"
    digits += sparsity > 0.985 and not digits
    return f"≤ {100 * lowest:g}%" if sparsity == lowest else f"{100 * sparsity:.{digits}f}%"
