"""One way of training against another: effects with intervals, a waterfall, and accuracy against what it costs."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from ...studies import Difference
from .look import BLACK, BLUE, GREEN, GREY, LOOKS, NAMES, SLIDE, VERMILLION, new_axes, new_figure, styled

_VERDICTS = {  # colour, marker, filled?
    "more": (GREEN, "^", True),
    "less": (VERMILLION, "v", True),
    "level": (BLACK, "o", True),
    "undecided": (GREY, "o", False),
}


@styled
def effects(groups: Mapping[str, Mapping[str, Difference]]) -> Figure:
    """A panel a group: how much each thing changes test accuracy (points), with its 95% interval.

    The band is the margin within which two are level. Filled: decided.
    """
    told = ". ".join(
        f"{title}: {'; '.join(f'{name} {change} ({change.verdict})' for name, change in changes.items())}"
        for title, changes in groups.items()
    )
    rows = max(map(len, groups.values()))
    figure = new_figure(SLIDE, 1.1 + 0.36 * rows, f"Paired differences of test accuracy, in points. {told}.")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for axes, (title, changes) in zip(panels, groups.items(), strict=True):
        margin = next(iter(changes.values())).margin
        axes.axvspan(-margin, margin, color=GREY, alpha=0.18, linewidth=0)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        for row, change in enumerate(changes.values()):
            colour, marker, filled = _VERDICTS[change.verdict]
            axes.plot([change.low, change.high], [row, row], color=colour, linewidth=2)
            axes.plot(change.mean, row, marker, color=colour, markersize=8,
                      markerfacecolor=colour if filled else "white")  # fmt: skip
            axes.annotate(f"{change.mean:+.2f}", (1, row), xycoords=("axes fraction", "data"), va="center",
                          xytext=(4, 0), textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set(yticks=range(len(changes)), yticklabels=list(changes), ylim=(len(changes) - 0.5, -0.5))
        axes.set_title(fill(title, 60 // len(groups)), fontsize=12)
        axes.xaxis.set_major_locator(MaxNLocator(8 // len(groups) + 1))
        axes.grid(axis="y", visible=False)
    figure.supxlabel("test accuracy, points of difference", fontsize=11)
    return figure


@styled
def waterfall(steps: Mapping[str, Sequence[float]], controls: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Test accuracy (percent, one a seed) step by step, each on top of the one before; then controls, apart.

    Bars reach from the mean before to the mean after, dots are seeds, whiskers the sample standard deviation.
    """
    everything = {**steps, **controls}
    told = "; ".join(f"{name} {np.mean(a):.2f}% (SD {np.std(a, ddof=1):.2f})" for name, a in everything.items())
    figure, axes = new_axes(SLIDE, 4.6, f"Test accuracy, step by step, means of seeds. {told}.")
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
                      textcoords="offset points", fontsize=10)  # fmt: skip
    places = [place + 0.5 * (name in controls) for place, name in enumerate(everything)]
    axes.set_xticks(places, [fill(name, 13, break_long_words=False) for name in everything], fontsize=9)
    axes.set(ylabel="test accuracy (%)", title=title, ylim=(lowest, None))
    axes.grid(axis="x", visible=False)
    return figure


@styled
def frontier(points: Mapping[str, Sequence[Mapping]], title: str = "") -> Figure:
    """Test accuracy against weights, multiplications and seconds of training: a panel each, a line a recipe.

    `points[recipe]`: mappings with "accuracies" (percent, one a seed), and as far as a panel should show it "weights",
    "macs" (of one image) and "seconds" (of the whole training). Dots are means, whiskers reach from the lowest to the
    highest seed.
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
    figure = new_figure(SLIDE, 4.8, f"Test accuracy against what it costs. {told}.")
    panels = figure.subplots(1, 3, sharey=True)
    kinds = {"weights": "weights", "macs": "multiplications for one image", "seconds": "seconds of training"}
    for axes, (kind, label) in zip(panels, kinds.items(), strict=True):
        for name, line in points.items():
            colour, marker, style = LOOKS.get(name, (GREY, "d", "-."))
            if not (ordered := sorted((p for p in line if kind in p), key=lambda point, kind=kind: point[kind])):
                continue
            means = np.array([np.mean(point["accuracies"]) for point in ordered])
            ends = np.array([[min(p["accuracies"]), max(p["accuracies"])] for p in ordered]).T
            axes.errorbar([p[kind] for p in ordered], means, np.abs(ends - means), color=colour, marker=marker,
                          linestyle=style, capsize=2, elinewidth=0.8, label=NAMES.get(name, name))  # fmt: skip
        axes.set(xscale="log", xlabel=label)
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=EngFormatter(sep=""),
                       minor_locator=NullLocator())  # fmt: skip
    panels[0].set(ylabel="test accuracy (%)")
    figure.suptitle(title)
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
