"""Masks, and how they move."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...topology import Mask, changes, share_by_cell
from .look import BLACK, BLUE, GREEN, GREY, ORANGE, PALETTES, SKY, SLIDE, VERMILLION, new_axes, new_figure, styled


def _flat(mask: Mask) -> tuple[int, int]:
    """(units, weights a unit): how a mask is drawn."""
    return mask.shape[0], int(np.prod(mask.shape[1:]))


def _draw_changes(axes, before: Mask, after: Mask, palette: str, **options) -> None:
    image = changes(before, after)
    colours = ListedColormap(PALETTES[palette])
    axes.imshow(image.reshape(len(image), -1), cmap=colours, vmin=0, vmax=3, interpolation="nearest", **options)
    axes.grid(False)


def _legend_of_changes(figure: Figure, palette: str, loc: str = "outside upper center") -> None:
    words = ("inactive", "active", "just dropped", "just grown")
    patches = [Patch(facecolor=c, edgecolor=GREY, label=w) for c, w in zip(PALETTES[palette], words, strict=True)]
    figure.legend(handles=patches, loc=loc, ncols=4)


def _moves(before: Mask, after: Mask) -> str:
    """In a few signs: "−50 +50", or "no update"."""
    counts = np.bincount(changes(before, after).ravel(), minlength=4)
    return f"−{counts[2]:,} +{counts[3]:,}" if counts[2] else "no update"


@styled
def topology_update(before: Mask, dropped: Mask, after: Mask, palette: str = "okabe-ito") -> Figure:
    """Slide 5: the two halves of a topology update, one above the other, on a layer small enough to see."""
    rows, columns = _flat(before)
    steps = (("at first", before, before), ("prune (drop)", before, dropped), ("regrow (grow)", dropped, after))
    figure = new_figure(
        SLIDE,
        0.9 + 3 * (0.35 + 8 * rows / columns),
        f"Three masks of {rows} by {columns} weights: at first {before.active} are active; the drop leaves "
        f"{dropped.active}; growth brings them back to {after.active}, some of them elsewhere.",
    )
    for (title, old, new), axes in zip(steps, figure.subplots(3, 1), strict=True):
        _draw_changes(axes, old, new, palette)
        axes.set(title=f"{title}: {new.active} of {new.size} active", ylabel="unit", xticks=[], yticks=[])
    _legend_of_changes(figure, palette)
    return figure


@styled
def mask_evolution(masks: Sequence[Mask], layer: str, palette: str = "okabe-ito", unit: str = "epoch") -> Figure:
    """Slide 7: a layer's mask at the start and after every epoch, each against the one before, a panel each.

    masks   of the layer called `layer`, at the start and at the end of each epoch (or other `unit`)
    Every weight is the same whole number of pixels, at `figure.dpi`: none is skipped, none is drawn larger.
    """
    first, panels = masks[0], len(masks)
    moved = sum(not np.array_equal(a.positions, b.positions) for a, b in pairwise(masks))
    rows, columns = _flat(first)
    lines, pixels, dpi = _grid(rows, columns, panels)
    across = -(-panels // lines)
    wide, high = columns * pixels[0], rows * pixels[1]  # pixels of a panel
    above, beside, top = (0, 1.6, 0.4) if across == 1 else (0.4, 0, 0.4)  # inches for titles, and for the legend
    width, height = round(SLIDE * dpi), round(top * dpi) + lines * (round((above + 0.07) * dpi) + high) + 8
    figure = new_figure(
        width / dpi,
        height / dpi,
        f"The mask of {layer} over {panels - 1} {unit}s, a panel each: {first.active:,} of {first.size:,} weights are "
        f"active in each panel. In {moved} of them some have just been dropped, and as many grown.",
    )
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    for epoch, mask in enumerate(masks):
        line, place = divmod(epoch, across)
        left = round(beside * dpi + (place + 0.5) * (width - beside * dpi) / across - wide / 2)
        bottom = height - round(top * dpi) - (line + 1) * (round((above + 0.07) * dpi) + high)
        axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
        before = masks[max(epoch - 1, 0)]
        _draw_changes(axes, before, mask, palette, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        name, told = (f"{unit} {epoch}", _moves(before, mask)) if epoch else ("start", f"{mask.active:,} active")
        if across == 1:
            axes.set_ylabel(f"{name}: {told}", rotation=0, ha="right", va="center", fontsize=9)
        else:
            axes.set_title(f"{name}\n{told}", fontsize=9, pad=3)
    _legend_of_changes(figure, palette, "upper center")
    return figure


def _grid(rows: int, columns: int, panels: int, height: float = 5.6) -> tuple[int, tuple[int, int], float]:
    """(lines of panels, pixels of a weight across and down, dots an inch), for a figure of about a slide's shape."""
    places = {}
    for lines in range(1, panels + 1):
        across = -(-panels // lines)
        wide = SLIDE - 1.8 if across == 1 else 0.95 * SLIDE / across  # inches that a panel may take
        high = height / lines - (0.08 if across == 1 else 0.48)
        if high > 0:
            places[lines] = wide, high
    lines = max(places, key=lambda n: min(places[n][0] / columns, places[n][1] / rows))  # the largest squares
    wide, high = places[lines]
    dpi = max(200, int(np.ceil(max(columns / wide, rows / high))))
    pixels = int(wide * dpi / columns), int(high * dpi / rows)
    if columns < 20 * rows:  # squares, unless a layer is so long and thin that they would be a line
        pixels = (min(pixels),) * 2
    return lines, pixels, dpi


@styled
def mask_moment(before: Mask, after: Mask, palette: str = "okabe-ito", title: str = "mask") -> Figure:
    """One mask against an earlier one, of a layer of any size: weight by weight where each can have a pixel.

    Else in two panels, by cells of as many weights as are needed: the share of each cell that is active, and that has
    just moved. Every weight counts in one cell.
    """
    gone, come = (np.setdiff1d(a.positions, b.positions, assume_unique=True)
                  for a, b in ((before, after), (after, before)))  # fmt: skip
    moved = f"−{len(gone):,} +{len(come):,}" if len(gone) or len(come) else "no update"
    told = f"{after.active:,} of {after.size:,} active, sparsity {1 - after.active / after.size:.3%}; {moved}"
    rows, columns = _flat(after)
    if rows <= 420 and columns <= 900:
        return _weight_by_weight(before, after, palette, title, told)
    beside = columns < 2 * rows
    most = (380, 380) if beside else (150, 760)  # cells down and across: each has a pixel, at least
    block = -(-rows // most[0]), -(-columns // most[1])
    shape = -(-rows // block[0]), -(-columns // block[1])
    figure = new_figure(
        9.6, 5.2, f"{title}: {told}. Drawn in {shape[0]} by {shape[1]} cells of {block[0]} by {block[1]} weights."
    )
    panels = figure.subplots(*((1, 2) if beside else (2, 1)))
    for axes, positions, what in (
        (panels[0], after.positions, "active"),
        (panels[1], np.concatenate([gone, come]), "just moved"),
    ):
        shares = share_by_cell(positions, (rows, columns), block)
        image = axes.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[], xlabel="inputs", ylabel="units", title=f"share {what}")
        axes.grid(False)
    figure.colorbar(image, ax=list(panels), shrink=0.8)
    figure.suptitle(f"{title}: {told}\n{block[0]} x {block[1]} weights a cell", fontsize=11)
    return figure


def _weight_by_weight(before: Mask, after: Mask, palette: str, title: str, told: str) -> Figure:
    rows, columns = _flat(after)
    pixels = max(1, min(900 // columns, 420 // rows)), max(1, min(900 // columns, 420 // rows), 60 // rows)
    width, height = columns * pixels[0], rows * pixels[1]
    figure = new_figure(max(width + 40, 960) / 100, (height + 90) / 100, f"{title}, {palette} colours: {told}.")
    figure.set_layout_engine("none")
    whole_width, whole_height = (round(100 * inches) for inches in figure.get_size_inches())
    axes = figure.add_axes(((whole_width - width) // 2 / whole_width, 15 / whole_height,
                            width / whole_width, height / whole_height))  # fmt: skip
    _draw_changes(axes, before, after, palette, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{title}: {told}", fontsize=11, pad=6)
    _legend_of_changes(figure, palette, "upper center")
    return figure


@styled
def explored_over_time(series: Mapping[str, Sequence[float]], floor: float, xlabel: str = "epoch") -> Figure:
    """Exploration rate by layer and epoch: `series[layer][epoch]`, fractions; `floor` is what a static mask has."""
    ends = ", ".join(f"{layer} {100 * values[-1]:.1f}%" for layer, values in series.items())
    figure, axes = new_axes(9, 4, f"Share of positions that have been active so far, by epoch. At the end: {ends}.")
    looks = zip(series.items(), (GREY, ORANGE, SKY, GREEN, BLUE, VERMILLION, BLACK), "ov^sDPX", strict=False)
    for (layer, values), colour, marker in looks:
        axes.plot(range(len(values)), [100 * v for v in values], marker=marker, color=colour, label=layer)
    axes.axhline(100 * floor, color=GREY, linestyle=":", linewidth=1)
    axes.annotate("a static mask", (0, 100 * floor), textcoords="offset points", xytext=(0, 4), fontsize=9)
    axes.set(xlabel=xlabel, ylabel="ever active (%)", ylim=(0, None))
    axes.legend(loc="lower right", ncols=2)
    return figure


@styled
def mask_product(weight: np.ndarray, mask: np.ndarray) -> Figure:
    """weight x mask = what the forward pass uses, for a layer small enough to read: [out, in] each."""
    figure = new_figure(
        11, 2.6, "Three grids side by side: a weight matrix, a mask of zeros and ones, and their product."
    )
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
