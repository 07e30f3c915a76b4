"""Storage: what is kept of a network, and what it weighs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from scipy.sparse import csc_matrix, csr_matrix

from .look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDE,
    ends,
    new_axes,
    new_figure,
    sentence,
    styled,
)


@styled
def bytes_held(ledgers: Mapping[str, Mapping[str, int]], title: str = "") -> Figure:
    """A stacked bar a form: `ledgers[form][kind]` in bytes. Hatches tell the kinds apart without colour."""
    looks = {
        "weights": (BLUE, ""),
        "gradients": (SKY, "//"),
        "Adam's moments": (GREEN, ".."),
        "masks": (BLACK, ""),
        "indices": (PURPLE, "xx"),
        "activations": (ORANGE, "\\\\"),
        "transient": ("#DDDDDD", "--"),
    }
    totals = {form: sum(kinds.values()) for form, kinds in ledgers.items()}
    told = "; ".join(
        f"{form}: {', '.join(f'{kind} {n / 1e6:.2f} MB' for kind, n in kinds.items())}"
        for form, kinds in ledgers.items()
    )
    finding = f"{sentence(title)}Megabytes held: {ends({form: n / 1e6 for form, n in totals.items()}, '{:.1f}')}."
    figure, axes = new_axes(9, 0.75 * len(ledgers) + 1.6, finding, f"{told}.")
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
        fontsize="small",
    )
    axes.invert_yaxis()
    axes.set(xlabel="megabytes held while training", title=title, xlim=(0, 1.15 * max(totals.values()) / 1e6))
    axes.grid(False, axis="y")
    return figure


@styled
def dense_and_sparse(masks: Sequence[np.ndarray], title: str = "") -> Figure:
    """Slide 2: a small network drawn twice, with all its connections and with the active ones. masks [out, in] each."""
    total, active = sum(m.size for m in masks), sum(int(m.sum()) for m in masks)
    figure = new_figure(WIDE, 4.6, f"A small network drawn twice: with all {total:,} connections, and with {active:,}.")
    widths = [masks[0].shape[1], *(len(m) for m in masks)]
    panels = (
        (f"dense: {total:,} connections", [np.ones_like(m, dtype=bool) for m in masks]),
        (f"sparse: {active:,} connections ({100 * active / total:.0f}%)", masks),
    )
    for axes, (told, shown) in zip(figure.subplots(1, 2), panels, strict=True):
        heights = [np.linspace(-1, 1, n) for n in widths]
        for layer, mask in enumerate(shown):
            out, into = np.nonzero(mask)
            ends = np.stack([heights[layer][into], heights[layer + 1][out]])
            axes.plot([[layer], [layer + 1]] @ np.ones((1, ends.shape[1])), ends, color=BLUE, lw=0.5)
        for layer, height in enumerate(heights):
            axes.plot(np.full(len(height), layer), height, "o", color=BLACK, markersize=4)
        axes.set(title=told)
        axes.set_axis_off()
    figure.suptitle(title)
    return figure


@styled
def storage_formats(matrix: np.ndarray) -> Figure:
    """Slide 3: a small matrix [rows, columns], and what each format stores of it."""
    sparse = csr_matrix(matrix)
    columns, rows = csc_matrix(matrix), np.repeat(np.arange(len(matrix)), np.diff(sparse.indptr))
    arrays = {
        "COO": {"rows": rows, "columns": sparse.indices, "values": sparse.data},
        "CSR": {"row pointers": sparse.indptr, "columns": sparse.indices, "values": sparse.data},
        "CSC": {"column pointers": columns.indptr, "rows": columns.indices, "values": columns.data},
    }
    counts = {name: sum(map(len, parts.values())) for name, parts in arrays.items()}
    figure = new_figure(
        WIDE,
        4.8,
        f"Left: a matrix of {matrix.shape[0]} by {matrix.shape[1]} with {sparse.nnz} non-zeros. Right: the arrays that "
        f"each format stores of it: {', '.join(f'{name} {n} numbers' for name, n in counts.items())}.",
    )
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    left.imshow(np.where(matrix != 0, 0.35, 0.0), cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        left.text(j, i, f"{value:g}", ha="center", va="center", color="black" if value else GREY)
    left.set(title=f"dense: {matrix.size} numbers", xticks=range(matrix.shape[1]), yticks=range(matrix.shape[0]),
             xlabel="column", ylabel="row")  # fmt: skip
    left.grid(False)
    y = 0.0
    for name, parts in arrays.items():
        right.text(-0.2, y, f"{name}: {counts[name]} numbers", fontweight="bold", va="center")
        for what, numbers in parts.items():
            y += 1
            right.text(3.3, y, what, ha="right", va="center")
            for k, number in enumerate(numbers):
                colour = "#D6E6F4" if what == "values" else "#EEEEEE"
                right.add_patch(Rectangle((3.6 + k, y - 0.42), 0.92, 0.84, facecolor=colour, edgecolor=GREY, lw=0.5))
                right.text(4.06 + k, y, f"{number:g}", ha="center", va="center")
        y += 1.4
    right.set(xlim=(-0.3, 4 + max(len(n) for parts in arrays.values() for n in parts.values())), ylim=(y - 0.8, -0.8))
    right.set_axis_off()
    figure.suptitle(f"{matrix.size} numbers dense, {', '.join(f'{n} as {name}' for name, n in counts.items())}")
    return figure


@styled
def bytes_by_sparsity(sparsities: Sequence[float], series: Mapping[str, Sequence[float]], marked: float | None = None,
                      title: str = "") -> Figure:  # fmt: skip
    """What a matrix takes in each format, in percent of its dense form: `series[format]` along `sparsities`.

    marked   a sparsity to mark, with the value of each format there (interpolated)
    """
    there = {name: float(np.interp(marked, sparsities, values)) for name, values in series.items()} if marked else {}
    told = "; ".join(f"{name} {value:.1f}%" for name, value in there.items())
    at = f" At {100 * marked:g}% sparsity: {told}." if marked else ""
    figure, axes = new_axes(9, 4.4, f"{sentence(title)}Bytes by sparsity, in percent of dense.{at}")
    looks = zip(series.items(), (BLUE, VERMILLION, GREEN, PURPLE), ("-", "--", "-.", ":"), strict=False)
    for (name, values), colour, line in looks:
        label = f"{name}: {there[name]:.1f}%" if name in there else name
        axes.plot([100 * s for s in sparsities], values, line, color=colour, label=label)
        if name in there:
            axes.plot(100 * marked, there[name], "o", color=colour)
    axes.axhline(100, color=BLACK, linewidth=1)
    axes.annotate("dense", (100 * sparsities[0], 100), textcoords="offset points", xytext=(2, 4), fontsize="small")
    if marked:
        axes.plot([100 * marked] * 2, [0, 100], color=GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="sparsity (%)", ylabel="bytes (% of dense)", title=title, ylim=(0, None))
    axes.legend(loc="upper right")
    return figure


@styled
def layer_budgets(budgets: Mapping[str, Mapping[str, float]], ylabel: str, title: str = "") -> Figure:
    """Numbers by layer, a bar an allocation: `budgets[allocation][layer]`, on a logarithmic axis."""
    layers = list(next(iter(budgets.values())))
    told = "; ".join(f"{name}: {', '.join(f'{k} {v:,.0f}' for k, v in row.items())}" for name, row in budgets.items())
    most = "; ".join(
        f"{name}: {100 * max(row.values()) / sum(row.values()):.0f}% are in {max(row, key=row.get)}"
        for name, row in budgets.items()
    )
    figure = new_figure(WIDE, 4, f"{sentence(title)}{ylabel.capitalize()} by layer. {most}.", f"{told}.")
    axes, width = figure.subplots(), 0.8 / len(budgets)
    looks = zip(budgets.items(), ("#BBBBBB", BLUE, GREEN, PURPLE), ("", "//", "..", "xx"), strict=False)
    for i, ((name, row), colour, hatch) in enumerate(looks):
        places = np.arange(len(layers)) + (i - (len(budgets) - 1) / 2) * width
        bars = axes.bar(places, list(row.values()), width, color=colour, hatch=hatch, edgecolor="white", label=name)
        axes.bar_label(bars, [_short(v) for v in row.values()], fontsize="small")
    axes.set(yscale="log", ylabel=ylabel, title=title, xticks=range(len(layers)), xticklabels=layers)
    axes.grid(False, axis="x")
    axes.margins(y=0.12)
    figure.legend(loc="outside lower center", ncols=len(budgets))
    return figure


def _short(number: float) -> str:
    """8, 4.6k, 200k, 1.0M."""
    if number >= 1e6:
        return f"{number / 1e6:.1f}M"
    if number >= 1e3:
        return f"{number / 1e3:.0f}k" if number >= 1e5 else f"{number / 1e3:.1f}k"
    return f"{number:,.0f}"
