"""Times: what each method takes, and what single calls took."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .look import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure, styled

METHODS = {
    "Dense+Mask": (ORANGE, ""),
    "dense": (GREY, "//"),
    "ONNX Runtime, dense": (BLACK, ""),
    "scipy CSR": (SKY, ".."),
    "torch CSR": (BLUE, "xx"),
}


@styled
def timings(quartiles: Mapping[str, tuple[float, float, float]], guesses: Mapping[str, float] | None = None,
            title: str = "") -> Figure:  # fmt: skip
    """A bar a row: the median in milliseconds, with a line from the first to the third quartile.

    quartiles   name -> (q1, median, q3); its look is that of the method it begins with
    guesses     name -> what the reader guessed, drawn as a diamond
    """
    told = "; ".join(f"{name} {median:.2f} ms" for name, (_, median, _) in quartiles.items())
    figure = new_figure(9, 0.5 * len(quartiles) + 1.2, f"Median times: {told}.")
    axes = figure.subplots()
    for name, (low, median, high) in quartiles.items():
        colour, hatch = next((look for method, look in METHODS.items() if name.startswith(method)), (GREEN, ""))
        axes.barh(name, median, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        axes.plot([low, high], [name, name], color=VERMILLION, linewidth=2)
        axes.annotate(f"  {median:.2f} ms", (high, name), va="center", fontsize=10)
    for i, (name, guess) in enumerate((guesses or {}).items()):
        axes.plot(guess, name, "D", color=PURPLE, label="your guess" if not i else None)
    if guesses:
        axes.legend(loc="upper right")
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds (median; line: quartiles)", title=title)
    axes.margins(x=0.15)
    axes.grid(False, axis="y")
    return figure


@styled
def readings(calls: Mapping[str, Sequence[float]], title: str = "") -> Figure:
    """Single calls in the order they were made, on a logarithmic axis: `calls[name]` in milliseconds."""
    told = "; ".join(f"{name}: first {c[0]:,.2f} ms, then up to {max(c[1:]):,.2f} ms" for name, c in calls.items())
    figure = new_figure(9, 3.6, f"Milliseconds call by call. {told}.")
    axes = figure.subplots()
    looks = zip(calls.items(), (VERMILLION, BLUE, GREEN), "osv", strict=False)
    for (name, times), colour, marker in looks:
        axes.plot(range(1, len(times) + 1), times, marker=marker, color=colour, label=name)
    axes.set(yscale="log", xlabel="call", ylabel="milliseconds", title=title, xticks=range(1, len(times) + 1))
    axes.legend()
    return figure
