"""One way of training against another: effects with intervals, a waterfall, and accuracy against what it costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from ...studies import Difference
from .look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LOOKS,
    NAMES,
    VERMILLION,
    WIDE,
    new_axes,
    new_figure,
    sentence,
    slanted,
    styled,
)

_VERDICTS = {  # colour, marker, filled?
    "more": (GREEN, "^", True),
    "less": (VERMILLION, "v", True),
    "level": (BLACK, "o", True),
    "undecided": (GREY, "o", False),
}


@styled
def effects(groups: Mapping[str, Mapping[str, Difference]], title: str = "") -> Figure:
    """How much each thing changes test accuracy (points), with its 95% interval: a block of rows a group, on one axis.

    The band is the margin within which two are level. Filled: decided.
    """
    told = ". ".join(
        f"{group}: {'; '.join(f'{name} {change} ({change.verdict})' for name, change in changes.items())}"
        for group, changes in groups.items()
    )
    everything = [change for changes in groups.values() for change in changes.values()]
    verdicts = Counter(change.verdict for change in everything)
    in_short = ", ".join(f"{verdict} in {verdicts[verdict]}" for verdict in _VERDICTS if verdicts[verdict])
    rows, margin = len(everything) + len(groups), everything[0].margin
    finding = f"{sentence(title)}Paired differences of test accuracy, in points: {in_short}."
    figure, axes = new_axes(WIDE, min(7.4, 1.2 + 0.22 * rows), finding, f"{told}.")
    size = min(0.85 * mpl.rcParams["font.size"], 52 * (figure.get_figheight() - 1.5) / rows)  # a row has no more room
    axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    labels: list[str] = []
    for group, changes in groups.items():
        labels.append(group)
        for name, change in changes.items():
            row, (colour, marker, filled) = len(labels), _VERDICTS[change.verdict]
            axes.plot([change.low, change.high], [row, row], color=colour, linewidth=2)
            axes.plot(change.mean, row, marker, color=colour, markersize=7,
                      markerfacecolor=colour if filled else "white")  # fmt: skip
            axes.annotate(f"{change.mean:+.2f}", (1, row), xycoords=("axes fraction", "data"), va="center",
                          xytext=(4, 0), textcoords="offset points", fontsize=size)  # fmt: skip
            labels.append(name)
    axes.set(ylim=(rows - 0.4, -0.6), xlabel="points of test accuracy gained (right) or lost (left), 95% intervals",
             title=title)  # fmt: skip
    axes.set_yticks(range(rows), labels, fontsize=size)
    for label in axes.get_yticklabels():
        if label.get_text() in groups:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    keys = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor=colour if filled else "white", label=verdict)
        for verdict, (colour, marker, filled) in _VERDICTS.items()
    ]
    keys.append(Patch(color=GREY, alpha=0.18, label=f"all of an interval in here: level (± {margin:g})"))
    figure.legend(handles=keys, loc="outside lower center", ncols=5, fontsize="small")
    return figure


@styled
def waterfall(steps: Mapping[str, Sequence[float]], controls: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Test accuracy (percent, one a seed) step by step, each on top of the one before; then controls, apart.

    Bars reach from the mean before to the mean after, dots are seeds, whiskers the sample standard deviation.
    """
    everything = {**steps, **controls}
    told = "; ".join(f"{name} {np.mean(a):.2f}% (SD {np.std(a, ddof=1):.2f})" for name, a in everything.items())
    means = {name: float(np.mean(values)) for name, values in everything.items()}
    gained = {name: means[name] - means[before] for before, name in pairwise(steps)}
    most = max(gained, key=gained.get)
    finding = (
        f"{sentence(title)}Test accuracy, step by step, from {means[next(iter(steps))]:.2f}% to "
        f"{means[list(steps)[-1]]:.2f}%; most comes with {most}: {gained[most]:+.2f} points."
    )
    figure, axes = new_axes(WIDE, 4.6, finding, f"Means of seeds. {told}.")
    lowest = min(map(min, everything.values())) - 0.25
    before = lowest
    for place, (name, values) in enumerate(everything.items()):
        mean = float(np.mean(values))
        at = place + 0.5 * (name in controls)
        if name in controls:
            colour, hatch, start = GREY, "..", lowest
        else:
            up = mean >= before
            colour, hatch = (BLUE, "") if place == 0 else (GREEN, "") if up else (VERMILLION, "//")
            start, before = before, mean
        axes.bar(at, mean - start, bottom=start, width=0.7, color=colour, alpha=0.55, hatch=hatch, edgecolor=colour)
        axes.errorbar(at, mean, np.std(values, ddof=1), color=BLACK, capsize=4, linewidth=1.2)
        spread = np.linspace(-0.2, 0.2, len(values))
        axes.plot(at + spread, values, "o", color=BLACK, markersize=3, alpha=0.7)
        axes.annotate(f"{mean:.2f}", (at, max(max(values), mean)), ha="center", xytext=(0, 5),
                      textcoords="offset points", fontsize="medium")  # fmt: skip
    places = [place + 0.5 * (name in controls) for place, name in enumerate(everything)]
    tied = (name.replace("+ ", "+\N{NO-BREAK SPACE}") for name in everything)
    names = list(everything) if slanted() else [fill(name, 10, break_long_words=False) for name in tied]
    axes.set_xticks(places, names, fontsize="small", **slanted())
    axes.set(ylabel="test accuracy (%)", title=title, ylim=(lowest, None))
    axes.grid(axis="x", visible=False)
    return figure


_IN_FRONT = ("modern", "modern-static", "tuned-small-dense")  # of the frontier; all others are thin
_LABELS = {  # of its lines: words, panel, point, offset in points, anchor
    "modern": ("modern", 1, 0, (-8, 6), "right"),
    "modern-static": ("static\nmask", 1, 1, (8, -4), "left"),
    "tuned-small-dense": ("small dense", 1, 1, (-2, 14), "center"),
    "lean": ("lean", 0, 1, (6, 2), "left"),
    "tuned-narrow-dense": ("narrow\ndense", 0, 0, (2, -6), "left"),
    "tuned-dense": ("dense", 0, 0, (6, 4), "right"),
    "tuned-gmp": ("gradual\npruning", 2, 0, (4, -4), "left"),
}


@styled
def frontier(points: Mapping[str, Sequence[Mapping]], title: str = "") -> Figure:
    """Test accuracy against weights, multiplications and seconds of training: a panel each, a line a recipe.

    `points[recipe]`: mappings with "accuracies" (percent, one a seed), "sparsity", and as far as a panel should show
    it "weights", "macs" (of one image) and "seconds" (of the whole training). Dots are means, whiskers reach from the
    lowest to the highest seed. The axis is broken where only one point lies.
    """
    costs = {
        "weights": "{:,} weights",
        "macs": "{:,.0f} multiplications",
        "seconds": "{:.0f} s",
    }
    told = ". ".join(
        f"{NAMES.get(name, name)}: "
        + "; ".join(
            ", ".join(cost.format(p[kind]) for kind, cost in costs.items() if kind in p)
            + f": {np.mean(p['accuracies']):.2f}%"
            for p in line
        )
        for name, line in points.items()
    )
    figure = new_figure(WIDE, 5, f"{sentence(title)}Test accuracy against what it costs.", f"{told}.")
    above, below = figure.subplots(2, 3, sharex="col", sharey="row", height_ratios=(6, 1))
    kinds = {"weights": "weights", "macs": "multiplications for one image", "seconds": "seconds of training"}
    for upper, lower, (kind, label) in zip(above, below, kinds.items(), strict=True):
        for name in sorted(points, key=lambda name: name in _IN_FRONT):
            if ordered := sorted((p for p in points[name] if kind in p), key=lambda p: p[kind]):
                for axes in (upper, lower):
                    _line_of(axes, name, ordered, kind)
        lower.set(xscale="log", xlabel=label)
        steps = (1, 3) if mpl.rcParams["font.size"] < 14 else (1,)
        lower.xaxis.set(major_locator=LogLocator(subs=steps), major_formatter=EngFormatter(sep=""),
                        minor_locator=NullLocator())  # fmt: skip
        lower.margins(x=0.1)
        _broken(upper, lower)
    everything = [value for line in points.values() for p in line for value in p["accuracies"]]
    means = sorted(float(np.mean(p["accuracies"])) for line in points.values() for p in line)
    gap = max(range(1, len(means)), key=lambda i: means[i] - means[i - 1])
    broken_at = (means[gap - 1] + means[gap]) / 2
    low, high = ([v for v in everything if (v < broken_at) is below_it] for below_it in (True, False))
    below[0].set(ylim=(min(low) - 0.1, max(low) + 0.1))
    above[0].set(ylim=(min(high) - 0.05, max(high) + 0.05), ylabel="test accuracy (%)")
    for point in points["modern"]:
        above[0].annotate(f"{100 * point['sparsity']:g}%", (point["weights"], np.mean(point["accuracies"])),
                          xytext=(0, 10), textcoords="offset points", ha="center", fontsize="small", zorder=10,
                          color=LOOKS["modern"][0], bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5,
                          "alpha": 0.7})  # fmt: skip
    for name in filter(points.__contains__, _LABELS):  # in this order: same results, same bytes
        words, panel, at, offset, anchor = _LABELS[name]
        kind = list(kinds)[panel]
        ordered = sorted((p for p in points[name] if kind in p), key=lambda p: p[kind])
        point = ordered[min(at, len(ordered) - 1)]
        above[panel].annotate(
            words,
            (point[kind], np.mean(point["accuracies"])),
            xytext=offset,
            ha=anchor,
            va="top" if anchor == "left" else "bottom",
            textcoords="offset points",
            color=LOOKS[name][0],
            zorder=9,
            fontweight="bold" if name in _IN_FRONT else "normal",
        )
    figure.suptitle(title)
    return figure


def _line_of(axes: Axes, name: str, ordered: Sequence[Mapping], kind: str) -> None:
    colour, marker, style = LOOKS.get(name, (GREY, "d", "-."))
    front = name in _IN_FRONT
    means = np.array([np.mean(point["accuracies"]) for point in ordered])
    ends = np.array([[min(p["accuracies"]), max(p["accuracies"])] for p in ordered]).T
    axes.errorbar([p[kind] for p in ordered], means, np.abs(ends - means), color=colour, marker=marker, linestyle=style,
                  capsize=2 * front, elinewidth=0.8 * front, linewidth=2.5 if front else 1, alpha=1 if front else 0.75,
                  markersize=8 if front else 4, label=NAMES.get(name, name))  # fmt: skip


def _broken(upper: Axes, lower: Axes) -> None:
    """One axis that leaves out a part."""
    upper.spines.bottom.set_visible(False)
    upper.tick_params(bottom=False)
    mark = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 9, "linestyle": "none", "color": BLACK, "clip_on": False}
    upper.plot(0, 0, transform=upper.transAxes, **mark)
    lower.plot(0, 1, transform=lower.transAxes, **mark)
    lower.yaxis.set_major_locator(MaxNLocator(2))
