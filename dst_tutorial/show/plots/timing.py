"""Times: what each method takes, and what single calls took."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    ends,
    new_axes,
    new_figure,
    sentence,
    styled,
)

METHODS = {  # by the words that a row's name begins with, the longest first: a bar's colour and hatch, a line's rest
    "Dense+Mask, compiled": (ORANGE, "\\\\"),
    "Dense+Mask": (ORANGE, "", "s", "--"),
    "dense, compiled": (GREY, "\\\\"),
    "dense": (GREY, "//", "D", (0, (5, 1))),
    "ONNX Runtime, dense": (BLACK, "", "o", "-"),
    "scipy CSR": (SKY, "..", "^", "-."),
    "torch COO": (BLUE, "++"),
    "torch CSR": (BLUE, "xx", "X", ":"),
    "torch BSR": (BLUE, "oo"),
    "SparseProp": ("#BBBBBB", "--"),
    "SparseLab": ("#BBBBBB", "||"),
    "truly sparse": (GREEN, "", "P", "-"),
}
SLIDES, OURS = ("Dense+Mask", "dense", "torch CSR"), "truly sparse"


@styled
def timings(quartiles: Mapping[str, tuple[float, float, float]], guesses: Mapping[str, float] | None = None,
            title: str = "") -> Figure:  # fmt: skip
    """A bar a row, the slowest on top: the median in milliseconds, with a line from the first to the third quartile.

    The forms that the slides compare and ours have their colours, rivals are grey.

    quartiles   name -> (q1, median, q3); its look is that of the method it begins with
    guesses     name -> what the reader guessed, drawn as a diamond
    """
    told = "; ".join(f"{name} {median:.2f} ms" for name, (_, median, _) in quartiles.items())
    medians = {name: median for name, (_, median, _) in quartiles.items()}
    said = [f"you said {guess:g} for {name}, it takes {medians[name]:.2f}" for name, guess in (guesses or {}).items()]
    finding = f"{sentence(title)}Milliseconds: {'; '.join([ends(medians, '{:.2f}'), *said])}."
    figure, axes = new_axes(9, 0.5 * len(quartiles) + 1.2, finding, f"Median times: {told}.")
    for name, (low, median, high) in sorted(quartiles.items(), key=lambda row: -row[1][1]):
        method = next((method for method in METHODS if name.startswith(method)), OURS)
        colour, hatch = METHODS[method][:2] if method in (*SLIDES, OURS) else ("#BBBBBB", "")
        axes.barh(name, median, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        axes.plot([low, high], [name, name], color=VERMILLION, linewidth=2)
        axes.annotate(f"  {median:.2f} ms", (high, name), va="center", fontsize="medium")
    for i, (name, guess) in enumerate((guesses or {}).items()):
        axes.plot(guess, name, "D", color=PURPLE, label="your guess" if not i else None)
    if guesses:
        axes.legend(loc="upper right")
        axes.set_xscale("log")  # a guess may be anywhere
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds (median; line: quartiles)", title=title)
    axes.margins(x=0.15)
    axes.grid(False, axis="y")
    return figure


@styled
def readings(calls: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Single calls in the order they were made, on a logarithmic axis: `calls[name]` in milliseconds."""
    told = "; ".join(f"{name}: first {c[0]:,.2f} ms, then up to {max(c[1:]):,.2f} ms" for name, c in calls.items())
    figure, axes = new_axes(9, 3.6, f"{sentence(title)}Milliseconds call by call. {told}.")
    looks = zip(calls.items(), (VERMILLION, BLUE, GREEN), "osv", strict=False)
    for (name, times), colour, marker in looks:
        axes.plot(range(1, len(times) + 1), times, marker=marker, color=colour, label=name)
    axes.set(yscale="log", xlabel="call", ylabel="milliseconds", title=title, xticks=range(1, len(times) + 1))
    axes.legend()
    return figure


@styled
def cost_by_connections(times: Mapping[int, Sequence[float]], title: str = "") -> Figure:
    """`times[connections]` in milliseconds, on logarithmic axes: every reading, their medians, a line of slope 1."""
    medians = {count: statistics.median(ms) for count, ms in times.items()}
    told = "; ".join(f"{count:,} connections {ms:.2f} ms" for count, ms in medians.items())
    (few, fast), *_, (many, slow) = sorted(medians.items())
    finding = f"{sentence(title)}From {few:,} connections, {fast:.2f} ms, to {many:,}, {slow:,.0f} ms."
    figure, axes = new_axes(9, 4.2, finding, f"Median time by the number of connections: {told}.")
    middle = sorted(medians)[len(medians) // 2]
    line = [medians[middle] * count / middle for count in medians]
    axes.plot(list(medians), line, "--", color=GREY, label="in proportion to the connections")
    for i, (count, ms) in enumerate(times.items()):
        axes.plot([count] * len(ms), ms, "_", color=GREEN, label=None if i else "a call")
    axes.plot(list(medians), list(medians.values()), "o", color=GREEN, label="median")
    axes.set(xscale="log", yscale="log", xlabel="connections", ylabel="milliseconds a step", title=title)
    axes.legend()
    return figure


@styled
def same_losses(losses: Mapping[str, Sequence[float]], updates: Sequence[int], title: str = "") -> Figure:
    """Two trainings step by step, `losses[form]`, above how far they are apart; and where the topology was updated."""
    (first, ours), (second, theirs) = losses.items()
    gaps = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    figure = new_figure(
        9, 4.6, f"Losses of {first} and {second} over {len(gaps)} steps and {len(updates)} updates of the topology: "
        f"the curves lie on each other, they differ by at most {max(gaps):.0e}."
    )  # fmt: skip
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    steps = range(1, len(gaps) + 1)
    above.plot(steps, ours, color=ORANGE, linewidth=4, alpha=0.6, label=first)
    above.plot(steps, theirs, "--", color=BLACK, linewidth=1, label=second)
    below.plot(steps, [max(gap, 1e-17) for gap in gaps], ".", color=BLUE, markersize=4)
    for axes in (above, below):
        for i, update in enumerate(updates):
            axes.axvline(update, color=GREY, linestyle=":", linewidth=1, label=None if i else "topology update")
    above.set(ylabel="training loss", title=title)
    above.legend(loc="upper right")
    below.set(xlabel="step", ylabel="|difference|", yscale="log", ylim=(1e-18, 10))
    return figure
