"""Masks, and how they move."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ...topology import Mask, changes, share_by_cell
from .look import BLACK, BLUE, GREEN, GREY, ORANGE, PALETTES, SKY, SLIDE, VERMILLION, WIDE, new_axes, new_figure, styled


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
        WIDE,
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
    """Slide 7: a layer's mask after every update that changed it, against the one before.

    masks   of the layer called `layer`, at the start and at the end of each epoch (or other `unit`)
    Every weight is the same whole number of pixels, at `figure.dpi`. Where a weight would be too small to see, a part
    is drawn, the one in which most has moved: beside the whole where that is long and thin, else alone.
    """
    first, (rows, columns) = masks[0], _flat(masks[0])
    updates = [i for i in range(1, len(masks)) if not np.array_equal(masks[i - 1].positions, masks[i].positions)]
    moved = [len(np.setdiff1d(masks[i - 1].positions, masks[i].positions)) for i in updates]
    epochs, many = f"{len(masks) - 1} {unit}s", f"{_from_to(moved)} of {first.active:,} connections"
    told = f"{len(updates)} updates in {epochs}, each moves {many}"
    title = f"{layer}: {told}" if updates else f"{layer}: none of its {first.active:,} connections ever moves"
    drawn = _strips if updates and columns > 20 * rows else _panels
    shown = {f"{unit} {i}" if i else "start": changes(masks[max(i - 1, 0)], masks[i]).reshape(rows, columns)
             for i in updates or [0]}  # fmt: skip
    figure, part = drawn(shown, palette, "filter" if len(first.shape) == 4 else "unit")
    _legend_of_changes(figure, palette, "upper center")
    below_the_legend = 0.08 + 2 * mpl.rcParams["font.size"] / 72  # inches
    figure.suptitle(title, y=1 - below_the_legend / figure.get_figheight(), va="top")
    what = "the mask after each update, the dropped and the grown in colours" if updates else "the mask"
    figure.set_label(
        f"{title}. Drawn: {what}{part}.\n" + "; ".join(f"{unit} {i}: {_moves(masks[i - 1], masks[i])}" for i in updates)
    )
    return figure


def _from_to(numbers: Sequence[int]) -> str:
    return " to ".join(f"{n:,}" for n in sorted({min(numbers, default=0), max(numbers, default=0)}))


_DPI, _WIDE, _TOP, _HIGH = 200, round(200 * SLIDE), 190, 1020  # pixels: of a figure, of its head, and of what is below
_CELL = 12  # pixels of a weight that one can see


def _part(shown: Iterable[np.ndarray], rows: int, columns: int) -> tuple[slice, slice]:
    """The part of so many rows and columns, one of those side by side, in which most has just moved."""
    moved = sum((image >= 2).astype(int) for image in shown)
    down, across = moved.shape[0] // rows, moved.shape[1] // columns
    blocks = moved[: down * rows, : across * columns].reshape(down, rows, across, columns).sum((1, 3))
    i, j = np.unravel_index(blocks.argmax(), blocks.shape)
    return slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)


def _busiest(positions: np.ndarray, shape: tuple[int, int], rows: int, columns: int) -> tuple[slice, slice]:
    """The same from flat positions, for a layer of which no dense array may be made."""
    i, j = positions // shape[1] // rows, positions % shape[1] // columns
    whole = (i < shape[0] // rows) & (j < shape[1] // columns)  # not those cut off at the edges
    blocks, counts = np.unique(i[whole] * (shape[1] // columns) + j[whole], return_counts=True)
    i, j = divmod(int(blocks[counts.argmax()]) if len(blocks) else 0, shape[1] // columns)
    return slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns)


def _changes_in(part: tuple[slice, slice], before: Mask, after: Mask, columns: int) -> np.ndarray:
    """`changes`, of a part alone."""
    down, across = part
    states = np.zeros((down.stop - down.start, across.stop - across.start), dtype=np.uint8)
    for mask, there, back in ((before, 2, 2), (after, 3, 1)):  # in both: active
        i, j = mask.positions // columns - down.start, mask.positions % columns - across.start
        inside = (i >= 0) & (i < states.shape[0]) & (j >= 0) & (j < states.shape[1])
        i, j = i[inside], j[inside]
        states[i, j] = np.where(states[i, j] == 2, back, there)
    return states


def _axes_at(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    """Axes of so many pixels, from the upper left corner."""
    wide, high = (round(_DPI * inches) for inches in figure.get_size_inches())
    axes = figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():  # around white weights at an edge, and not over them
        spine.set(color=GREY, linewidth=0.8, position=("outward", 0.6))
    return axes


def _empty(height: int) -> Figure:
    """So many pixels high. Its letters are large, on pages too, for there it is drawn small."""
    mpl.rcParams["font.size"] = max(15, mpl.rcParams["font.size"])  # `styled` puts it back
    figure = new_figure(SLIDE, height / _DPI, "")
    figure.set_size_inches(SLIDE, height / _DPI)  # for a slide, too: every pixel counts
    figure.set_layout_engine("none")
    figure.set_dpi(_DPI)
    return figure


def _show(axes: Axes, image: np.ndarray, palette: str) -> None:
    axes.imshow(image, cmap=ListedColormap(PALETTES[palette]), vmin=0, vmax=3, interpolation="nearest", aspect="auto")
    axes.grid(False)


def _strips(shown: Mapping[str, np.ndarray], palette: str, row: str) -> tuple[Figure, str]:
    """One below the other: the whole, and beside it a part."""
    rows, columns = next(iter(shown.values())).shape
    cell = min(14, (_HIGH // len(shown) - 30) // rows)
    part = _part(shown.values(), rows, min(columns, 840 // cell))
    inputs = f"{part[1].start:,} to {part[1].stop - 1:,}"
    left, wide = 270, (part[1].stop - part[1].start) * cell
    whole = columns * ((_WIDE - left - wide - 100) // columns)
    figure = _empty(_TOP + 60 + len(shown) * (rows * cell + 30))
    for i, (name, image) in enumerate(shown.items()):
        top = _TOP + 60 + i * (rows * cell + 30)
        axes = _axes_at(figure, left, top, whole, rows * cell)
        _show(axes, image, palette)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.add_patch(Rectangle((part[1].start - 0.5, -0.5), part[1].stop - part[1].start, rows, fill=False,
                                 edgecolor="#F0E442", linewidth=1.5))  # fmt: skip
        crop = _axes_at(figure, left + whole + 60, top, wide, rows * cell)
        _show(crop, image[part], palette)
        if not i:
            axes.set_title(f"{rows} {row}s down, {columns:,} inputs across", fontsize="small")
            crop.set_title(f"inputs {inputs}, where most has moved", fontsize="small")
    return figure, f", the whole layer of {rows} {row}s by {columns:,} inputs and beside it inputs {inputs}"


def _panels(shown: Mapping[str, np.ndarray], palette: str, row: str) -> tuple[Figure, str]:
    """Side by side: the whole where its weights can be seen, else a part."""
    rows, columns = next(iter(shown.values())).shape
    side = (_WIDE - 60) // len(shown) - 30
    cell, part, told = min(40, side // columns, _HIGH // rows), np.s_[:, :], f"all {rows} {row}s and {columns} inputs"
    if cell < 3:
        cell, (down, across) = _CELL, (min(rows, side // _CELL), min(columns, side // _CELL))
        part = _part(shown.values(), down, across)
        told = ", ".join(
            f"{what}s {of.start:,} to {of.stop - 1:,} of {n:,}"
            for what, of, n in zip((row, "input"), part, (rows, columns), strict=True)
        )
    down, across = (cell * n for n in next(iter(shown.values()))[part].shape)
    figure = _empty(_TOP + down + 130)
    for i, (name, image) in enumerate(shown.items()):
        left = 60 + i * (side + 30) + (side - across) // 2
        axes = _axes_at(figure, left, _TOP + 60, across, down)
        _show(axes, image[part], palette)
        axes.set_title(name, fontsize="small")
        axes.set_xlabel("inputs", fontsize="small")
        if not i:
            axes.set_ylabel(f"{row}s", fontsize="small")
    return figure, f": {told}"


@styled
def mask_moment(before: Mask, after: Mask, palette: str = "okabe-ito", title: str = "mask") -> Figure:
    """One mask against an earlier one, of a layer of any size: weight by weight where each can have a pixel.

    Else a part, weight by weight, in which most has just moved; and the whole by cells of as many weights as are
    needed: the share of each cell that is active.
    """
    gone, come = (np.setdiff1d(a.positions, b.positions, assume_unique=True)
                  for a, b in ((before, after), (after, before)))  # fmt: skip
    moved = f"−{len(gone):,} +{len(come):,}" if len(gone) or len(come) else "no update"
    told = f"{after.active:,} of {after.size:,} active, sparsity {1 - after.active / after.size:.3%}; {moved}"
    rows, columns = _flat(after)
    if rows <= 420 and columns <= 900:
        return _weight_by_weight(before, after, palette, title, told)
    part = _busiest(np.concatenate([gone, come]), (rows, columns), min(rows, 40), min(columns, 40))
    block = -(-rows // 380), -(-columns // 380)  # a cell has a pixel, at least
    shape = -(-rows // block[0]), -(-columns // block[1])
    units, inputs = (f"{of.start:,} to {of.stop - 1:,}" for of in part)
    figure = new_figure(
        9.6, 5.2, f"{title}: {told}.",
        f"Left: units {units} and inputs {inputs}, where most has just moved. Right: the share that is active, in "
        f"{shape[0]} by {shape[1]} cells of {block[0]} by {block[1]} weights.",
    )  # fmt: skip
    left, right = figure.subplots(1, 2)
    _show(left, _changes_in(part, before, after, columns), palette)
    left.set(xticks=[], yticks=[], xlabel=f"inputs {inputs}", ylabel=f"units {units}", title="where most has moved")
    shares = share_by_cell(after.positions, (rows, columns), block)
    drawn = right.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="auto")
    right.set(
        xticks=[], yticks=[], xlabel=f"all {columns:,} inputs", ylabel=f"all {rows:,} units", title="share active"
    )
    right.grid(False)
    figure.colorbar(drawn, ax=right, shrink=0.8)
    figure.suptitle(f"{title}: {told}", fontsize="medium")
    _legend_of_changes(figure, palette, "outside lower center")
    return figure


def _weight_by_weight(before: Mask, after: Mask, palette: str, title: str, told: str) -> Figure:
    rows, columns = _flat(after)
    pixels = max(1, min(900 // columns, 420 // rows)), max(1, min(900 // columns, 420 // rows), 60 // rows)
    width, height = columns * pixels[0], rows * pixels[1]
    figure = new_figure(max(width + 40, 960) / 100, (height + 90) / 100, f"{title}: {told}.")
    figure.set_layout_engine("none")
    whole_width, whole_height = (round(100 * inches) for inches in figure.get_size_inches())
    axes = figure.add_axes(((whole_width - width) // 2 / whole_width, 15 / whole_height,
                            width / whole_width, height / whole_height))  # fmt: skip
    _draw_changes(axes, before, after, palette, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{title}: {told}", fontsize="medium", pad=6)
    _legend_of_changes(figure, palette, "upper center")
    return figure


@styled
def explored_over_time(series: Mapping[str, Sequence[float]], floor: float, xlabel: str = "epoch") -> Figure:
    """Exploration rate by layer and epoch: `series[layer][epoch]`, fractions; `floor` is what a static mask has."""
    last = ", ".join(f"{layer} {100 * values[-1]:.1f}%" for layer, values in series.items())
    figure, axes = new_axes(9, 4, f"Share of positions that have been active so far, by epoch. At the end: {last}.")
    looks = zip(series.items(), (GREY, ORANGE, SKY, GREEN, BLUE, VERMILLION, BLACK), "ov^sDPX", strict=False)
    for (layer, values), colour, marker in looks:
        axes.plot(range(len(values)), [100 * v for v in values], marker=marker, color=colour, label=layer)
    axes.axhline(100 * floor, color=GREY, linestyle=":", linewidth=1)
    axes.annotate("a static mask", (0, 100 * floor), textcoords="offset points", xytext=(0, 4), fontsize="small")
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
            axes.text(j, i, text, ha="center", va="center", fontsize="small", color="white" if dark else "black")
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(False)
    figure.suptitle(f"{mask.size} weights are stored, {int(mask.sum())} take part")
    return figure
