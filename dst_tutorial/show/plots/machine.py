"""What a machine could do at best with each kind of zeros: time and energy of one layer."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .look import BLUE, ORANGE, SLIDE, ends, new_figure, styled

_LIMITS = {"memory": (BLUE, ""), "arithmetic": (ORANGE, "//")}


@styled
def at_best(times: Mapping[str, Mapping[str, float]], energy: Mapping[str, Mapping[str, float]],
            title: str = "") -> Figure:  # fmt: skip
    """Two bars a kind of zeros: the least time, which is the longer of two, and the energy, which is their sum.

    times    kind -> {"memory": milliseconds, "arithmetic": milliseconds}
    energy   kind -> the same in microjoules
    """
    limits = {kind: max(two, key=two.get) for kind, two in times.items()}
    told = "; ".join(
        f"{kind} {_short(times[kind][limit])} ms, limited by {limit}, and {_short(sum(energy[kind].values()))} µJ"
        for kind, limit in limits.items()
    )
    least = {kind: times[kind][limit] for kind, limit in limits.items()}
    figure = new_figure(
        SLIDE, 0.5 * len(times) + 1.7, f"At best, in milliseconds: {ends(least, '{:.3g}')}.", f"At best: {told}."
    )
    left, right = figure.subplots(1, 2, sharey=True)
    for kind, limit in limits.items():
        milliseconds, start = times[kind][limit], 0.0
        colour, hatch = _LIMITS[limit]
        left.barh(kind, milliseconds, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        left.annotate(f" {_short(milliseconds)}", (milliseconds, kind), va="center")
        for what, (colour, hatch) in _LIMITS.items():
            right.barh(
                kind, energy[kind][what], left=start, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5
            )
            start += energy[kind][what]
        right.annotate(f" {_short(start)}", (start, kind), va="center")
    left.invert_yaxis()
    left.set(title="least time, and what limits it", xlabel="milliseconds")
    right.set(title="energy, 45 nm, published figures", xlabel="microjoules")
    for axes in (left, right):
        axes.margins(x=0.15)
        axes.grid(False, axis="y")
    handles = [Patch(facecolor=c, hatch=h, edgecolor="white", label=name) for name, (c, h) in _LIMITS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle(title)
    return figure


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
