"""From which sparsity on truly sparse pays, in time and in bytes, and what the machine would allow."""

from matplotlib.figure import Figure

from ...studies import latest_first, load_timings, machine
from ...timing import DENSE, SPARSE, Roofline, fewer_bytes_from, medians_by_sparsity, pays_from
from .. import plots
from ..pictures import pictures
from ..tables import Table, threads_of


def _recorded(threads: int = 1) -> dict:
    """The latest measurements of one layer on the CPU."""
    return latest_first(load_timings("breakeven", device="cpu", threads=threads))[0]


def break_even(threads: int = 1) -> Figure:
    """One layer: from which sparsity on what pays in time, by width and batch. (`break_even.md` has all pairs.)"""
    run = _recorded(threads)
    pairs = (("truly sparse", "dense"), ("truly sparse", "ONNX Runtime, dense"), ("torch CSR", "dense"))
    maps = {f"{method} against {against}": pays_from(run["points"], method, against) for method, against in pairs}
    ours = [(width, batch, s) for of in list(maps.values())[:2] for (width, batch), s in of.items()]
    wide = [100 * s for width, _, s in ours if width >= 1024 and s]
    small = [s is not None for width, batch, s in ours if width < 1024 and batch <= 16]
    title = (
        f"In layers of 1,024 and wider truly sparse pays from {max(50, min(wide)):.0f} to {max(wide):.0f}% zeros on;\n"
        f"in smaller ones with up to 16 inputs it ever pays in {sum(small)} of {len(small)} cases"
    )
    return plots.break_even_maps(maps, min(p["sparsity"] for p in run["points"] if p["sparsity"] is not None), title)


def roofline(width: int = 2048, batch: int = 64, threads: int = 1) -> Figure:
    """One layer by its sparsity, in every form, and the least that the machine would allow."""
    run = _recorded(threads)
    roof = Roofline(**run["roofline"])
    points = [point for point in run["points"] if (point["width"], point["batch"]) == (width, batch)]
    sparsities = sorted({point["sparsity"] for point in points} - {None})
    least = {
        method: {s: roof.layer(kind, width, batch, s) for s in sparsities}
        for method, kind in (("dense", "dense"), (SPARSE[-1], "CSR"))
    }
    found = pays_from(points, SPARSE[-1], "dense")[width, batch]
    told = f"From {100 * found:.0f}% sparsity on truly sparse is faster than dense\n" if found else ""
    told += f"{width:,} x {width:,}, batch {batch}, {threads} thread of {machine(run)}"
    return plots.times_by_sparsity(medians_by_sparsity(points), least, told)


def pays_rows(run: dict, method: str, against: str) -> list[dict[str, str]]:
    """From which sparsity on a method takes no longer than `against`, and fewer bytes: a row a width."""
    found = pays_from(run["points"], method, against)
    lowest = min(point["sparsity"] for point in run["points"] if point["sparsity"] is not None)
    widths, batches = (dict.fromkeys(key[i] for key in found) for i in (0, 1))

    return [
        {"width": f"{w:,}"}
        | {f"batch {b:,}": plots.from_sparsity(found[w, b], lowest) for b in batches}
        | {"bytes": f"{100 * fewer_bytes_from(w, against):.1f}%"}
        for w in widths
    ]


def break_even_rows(run: dict) -> list[dict[str, str]]:
    """The same of every method against every dense one."""
    return [
        {"": method, "against": against} | row
        for method in SPARSE
        for against in DENSE
        for row in pays_rows(run, method, against)
    ]


def break_even_line(run: dict) -> str:
    """Where these numbers come from."""
    roof = "{gflops:.0f} GFLOP/s of float32, {gigabytes_per_second:.0f} GB/s from and to memory".format(
        **run["roofline"]
    )
    return (
        "From which sparsity on the method takes no longer, and CSR fewer bytes: inference of one square layer, "
        f"medians of {run['rounds']} calls in turns, read off between the measured sparsities; "
        f"{threads_of(run['threads'])} of {machine(run)} ({roof}, measured on the spot), "
        f"torch {run['provenance']['torch']}, "
        f"{run['provenance']['date']}."
    )


_SOURCE = "results/breakeven.json"
FIGURES = pictures(_SOURCE, break_even, roofline)
TABLES = (Table("break_even", _SOURCE, _recorded, break_even_rows, break_even_line),)
