"""The figures and tables, the slides' and ours: name -> the one function that makes it, from recorded results alone."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from ..layers import csr_bytes, dense_bytes, format_bytes, macs, masked_bytes, sparse_layers, sparsify
from ..paths import results_folder
from ..randomness import stream
from ..studies import (
    BASE,
    EXPERIMENTS,
    MODERN,
    PATH,
    at_sparsity,
    by_recipe_and_sparsity,
    differences,
    effects,
    final_accuracies,
    latest_first,
    load_masks,
    load_results,
    load_timings,
    machine,
    slide8,
    slides,
    typical_seconds,
)
from ..timing import DENSE, SPARSE, Roofline, fewer_bytes_from, medians_by_sparsity, pays_from, rows_of
from ..topology import Mask, at_random, by_magnitude
from ..training import SlideCNN, mlp
from . import plots
from .tables import (
    RIVALS,
    ablation_rows,
    algorithms_table,
    break_even_table,
    forms_table,
    frontier_table,
    latex,
    markdown,
    provenance_line,
    results_table,
    rivals_table,
    selection_table,
    slide8_table,
    timing_table,
)

LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3", "fc4")


def dense_and_sparse() -> Figure:
    """Slide 2: what 95% less looks like."""
    model = sparsify(mlp(10, 14, 14, 6), slides.SPARSITY, allocation="uniform", init="dense", seed=1)
    masks = [layer.mask.numpy() for layer in sparse_layers(model).values()]
    return plots.dense_and_sparse(masks, "The same neurons, with 5% of the connections")


def bytes_by_sparsity(rows: int = 1000, columns: int = 1000, marked: float = slides.SPARSITY) -> Figure:
    """Slide 2's "95% memory reduction", for a matrix of the size of fc3: what the indices cost."""
    sparsities = np.linspace(0.3, 0.99, 70)
    series = {}
    for name, form, index in (("COO, int64 indices (torch's)", "COO", 8), ("CSR, int64", "CSR", 8),
                              ("CSR, int32", "CSR", 4)):  # fmt: skip
        counts = [round((1 - s) * rows * columns) for s in sparsities]
        dense = format_bytes(rows, columns, 0)["dense"]
        series[name] = [100 * format_bytes(rows, columns, n, index)[form] / dense for n in counts]
    series["values alone (the slide)"] = [100 * (1 - s) for s in sparsities]
    return plots.bytes_by_sparsity(sparsities, series, marked, f"A matrix of {rows:,} by {columns:,}")


def storage_formats() -> Figure:
    """Slide 3: the arrays of each format."""
    return plots.storage_formats(np.array([[0, 3, 0, 0, 1], [0, 0, 0, 0, 0], [4, 0, 0, 2, 0], [0, 0, 5, 0, 0]]))


def training_memory() -> Figure:
    """Slides 2 and 3: what is held while training, counted from the shapes."""
    model = sparsify(SlideCNN(), slides.SPARSITY, allocation="uniform")
    ledgers = {
        "dense": dense_bytes(model),
        "Dense+Mask, 95%": masked_bytes(model),
        "truly sparse (CSR), 95%": csr_bytes(model),
    }
    return plots.bytes_held(ledgers)


def layers() -> Figure:
    """Slide 4: where the network's weights are, and where its multiplications."""
    model = SlideCNN()
    weights = {name: model.get_submodule(name).weight.numel() for name in LAYERS}
    budgets = {"weights": weights, "multiplications for one image": macs(model, torch.zeros(1, 28, 28))}
    return plots.layer_budgets(budgets, "number", "SlideCNN, dense")


def topology_update() -> Figure:
    """Slide 5: prune and regrow, on a layer small enough to see."""
    layer = sparsify(torch.nn.Linear(60, 8), 0.9, init="fan_in", seed=2)
    active, dropped = layer.active_positions(), by_magnitude(layer, 0.25)
    grown = at_random(layer, active, 12, stream(2, "topology"))
    masks = [layer.mask.clone() for _ in range(3)]
    for mask in masks[1:]:
        mask.view(-1)[dropped] = False
    masks[2].view(-1)[grown] = True
    return plots.topology_update(*(Mask.of(mask.numpy()) for mask in masks))


def curves_of(results: dict) -> dict[str, list[list[float]]]:
    """Test accuracy by epoch: recipe -> a list a seed."""
    curves: dict[str, list[list[float]]] = {}
    for run in results["runs"]:
        curves.setdefault(run["config"]["recipe"]["name"], []).append([e["test_accuracy"] for e in run["epochs"]])
    return curves


def training_curves() -> Figure:
    """Slide 6, as curves over seeds."""
    return plots.training_curves(
        curves_of(load_results("slides")),
        slides.ACCURACY,
        title="The slides' protocol on MNIST: mean and range over seeds",
    )


def algorithms() -> Figure:
    """SET, RigL and their controls on the slides' network: final accuracy, a dot a seed."""
    return plots.accuracies(
        final_accuracies(load_results("algorithms")),
        title="SlideCNN on MNIST, 10 epochs; sparse ones 95%, ERK",
    )


def mnist1d() -> Figure:
    """The same on MNIST-1D, where accuracy does not saturate, at three sparsities."""
    curves: dict[str, dict[float, list[float]]] = {}
    for (recipe, sparsity), runs in by_recipe_and_sparsity(load_results("mnist1d")).items():
        curves.setdefault(recipe, {})[sparsity] = [run["summary"]["test_accuracy"] for run in runs]
    return plots.accuracy_by_sparsity(curves, title="MLP on MNIST-1D: mean and range over seeds", lowest=None)


def mask_evolution(layer: str = "fc4", palette: str = "okabe-ito") -> Figure:
    """Slide 7: the recorded mask of a layer, one panel an epoch."""
    recorded = load_masks("slides")
    epochs = range(EXPERIMENTS["slides"].epochs + 1)
    return plots.mask_evolution([recorded.masks_at(epoch)[layer] for epoch in epochs], layer, palette)


def ten_calls() -> Figure:
    """Slide 8: the ten calls behind its two slowest means, by arithmetic from mean and standard deviation."""
    calls = {}
    for (method, device), deviation in slides.DEVIATIONS.items():
        mean = slides.MILLISECONDS[method, device]
        cold, warm = slides.cold_and_warm(mean, deviation)
        method = method.replace("torch CSR", "Truly sparse CSR")  # as the slide says
        calls[f"{method} ({device.upper()}): {mean:,.2f} ± {deviation:,.2f} ms"] = [cold] + [warm] * (slides.CALLS - 1)
    return plots.readings(calls, "One cold call and nine alike give the slides' means and deviations")


def benchmark(threads: int = 1) -> Figure:
    """Slide 8: the recorded benchmark, the whole network on both sides."""
    return timings_of(slide8(threads)[0])


def timings_of(run: dict) -> Figure:
    """A benchmark: a bar a method."""
    rows = {
        f"{row.method}{' (GPU)' if row.device != 'cpu' else ''}": row.quartiles
        for row in rows_of(run)
        if not row.copies
    }
    threads = f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
    told = f"{run['case']}, {100 * run['sparsity']:g}%: {run['work']}, batch {run['batch']}"
    return plots.timings(rows, title=f"{told}; {threads} of {machine(run)}")


def training_step(case: str = "slides", threads: int = 1) -> Figure:
    """The recorded times of a training step of the slides' network, in every form."""
    wanted = {"case": case, "work": "training step", "batch": 64, "threads": threads}
    return timings_of(latest_first(load_timings("benchmark", **wanted))[0])


def break_even(threads: int = 1) -> Figure:
    """One layer: from which sparsity on what pays, in time by width and batch, and in bytes."""
    run = latest_first(load_timings("breakeven", device="cpu", threads=threads))[0]
    pairs = [("truly sparse", against) for against in DENSE] + [(method, "dense") for method in SPARSE[:2]]
    maps = {f"{method} against {against}": pays_from(run["points"], method, against) for method, against in pairs}
    keys = next(iter(maps.values()))
    maps["CSR against dense, in bytes"] = {(width, batch): fewer_bytes_from(width) for width, batch in keys}
    return plots.break_even_maps(maps, min(p["sparsity"] for p in run["points"] if p["sparsity"] is not None))


def roofline(width: int = 2048, batch: int = 64, threads: int = 1) -> Figure:
    """One layer by its sparsity, in every form, and the least that the machine would allow."""
    run = latest_first(load_timings("breakeven", device="cpu", threads=threads))[0]
    roof = Roofline(**run["roofline"])
    points = [point for point in run["points"] if (point["width"], point["batch"]) == (width, batch)]
    sparsities = sorted({point["sparsity"] for point in points} - {None})
    least = {method: {s: roof.layer(method, width, batch, s) for s in sparsities} for method in ("dense", SPARSE[-1])}
    told = f"{width:,} x {width:,}, batch {batch}, {threads} thread of {machine(run)}"
    return plots.times_by_sparsity(medians_by_sparsity(points), least, told)


def linear_cost() -> Figure:
    """The recorded times of truly sparse layers, over four decades of connections."""
    run = latest_first(load_timings("scaling"))[0]
    times = {int(count): ms for count, ms in run["times_ms"].items()}
    told = f"{run['batch']} samples, {run['threads']} thread of {run['provenance']['cpu']}"
    return plots.cost_by_connections(times, f"A training step of one layer, {100 * run['density']:g}% dense: {told}")


def accuracies_at_95() -> dict[str, list[float]]:
    """Of the ablation and of what stands beside it: recipe -> test accuracy (percent), one a seed, the same seeds."""
    frontier = at_sparsity(load_results("frontier"), slides.SPARSITY)
    return final_accuracies(load_results("ablation")) | final_accuracies(frontier)


def waterfall() -> Figure:
    """From the slides' protocol to the best recipe, one ingredient a step, and what stands beside it."""
    found = accuracies_at_95()
    steps = {
        "slides' protocol": found["slides"],
        f"+ {BASE.name}": found[BASE.name],
        **{row.name: found[row.name] for row in PATH},
        f"+ {MODERN.sparsify['allocation']}: modern": found["modern"],
    }
    controls = {
        "static mask": found["modern-static"],
        "small dense": found["tuned-small-dense"],
        "dense, cosine": found["tuned-dense"],
    }
    return plots.waterfall(
        steps, controls, "SlideCNN on MNIST, 10 epochs, 95% sparse; the dense ones each in their way"
    )


def ablation() -> Figure:
    """What each ingredient is worth, alone and taken away."""
    return plots.effects(effects(accuracies_at_95()))


def ablation_table(form: Callable[[list], str], comment: str) -> str:
    """The same in numbers."""
    return form(ablation_rows(accuracies_at_95())) + comment.format(provenance_line(load_results("ablation")))


def rivals() -> Figure:
    """The best recipe minus each rival, sparsity by sparsity, with intervals."""
    results = load_results("frontier")
    return plots.effects(
        {
            f"minus {plots.NAMES[rival]}": {
                f"{100 * sparsity:g}%": gap for sparsity, gap in differences(results, "modern", rival).items()
            }
            for rival in RIVALS
        }
    )


def frontier() -> Figure:
    """Accuracy against weights, multiplications and seconds of training, of the same runs."""
    points: dict[str, list[dict]] = {}
    for (recipe, _), runs in by_recipe_and_sparsity(load_results("frontier")).items():
        last = runs[0]["summary"]
        points.setdefault(recipe, []).append(
            {
                "accuracies": [run["summary"]["test_accuracy"] for run in runs],
                "weights": last["active_weights"],
                "macs": last["macs"],
                "seconds": typical_seconds(runs),
            }
        )
    return plots.frontier(points, "SlideCNN on MNIST, 10 epochs, one thread: sparsities 90 to 99.5%")


@dataclass(frozen=True)
class Picture:
    """A figure: the slide that it belongs to, if any, what it is made from, and by what."""

    slide: int | None
    source: str
    make: Callable[[], Figure]
    endings: tuple[str, ...] = ("svg", "png")


_RUNS, _MASKS, _TIMES = "results/slides.json", "results/slides_masks.npz", "results/benchmark.json"
_FORMS, _SCALING, _BREAK_EVEN = "results/forms.json", "results/scaling.json", "results/breakeven.json"
_ALGORITHMS, _MNIST1D = "results/algorithms.json", "results/mnist1d.json"
_FRONTIER, _ABLATION = "results/frontier.json", "results/ablation.json, results/frontier.json"
_SHAPES = "arithmetic on shapes"
FIGURES: dict[str, Picture] = {
    "slide2_dense_and_sparse": Picture(2, _SHAPES, dense_and_sparse),
    "slide2_bytes_by_sparsity": Picture(2, _SHAPES, bytes_by_sparsity),
    "slide3_storage_formats": Picture(3, _SHAPES, storage_formats),
    "slide3_training_memory": Picture(3, _SHAPES, training_memory),
    "slide4_layers": Picture(4, _SHAPES, layers),
    "slide5_topology_update": Picture(5, _SHAPES, topology_update),
    "slide6_training_curves": Picture(6, _RUNS, training_curves),
    **{
        f"slide7_mask_{layer}{ending}": Picture(7, _MASKS, partial(mask_evolution, layer, palette), ("png",))
        for layer in LAYERS
        for ending, palette in (("", "okabe-ito"), ("_slides_palette", "slides"))
    },
    "slide8_ten_calls": Picture(8, "arithmetic on the slides' means and deviations", ten_calls),
    "slide8_benchmark": Picture(8, _TIMES, benchmark),
    "algorithms": Picture(None, _ALGORITHMS, algorithms),
    "mnist1d": Picture(None, _MNIST1D, mnist1d),
    "training_step": Picture(None, _TIMES, training_step),
    "linear_cost": Picture(None, _SCALING, linear_cost),
    "waterfall": Picture(None, _ABLATION, waterfall),
    "ablation": Picture(None, _ABLATION, ablation),
    "frontier": Picture(None, _FRONTIER, frontier),
    "rivals": Picture(None, _FRONTIER, rivals),
    "break_even": Picture(None, _BREAK_EVEN, break_even),
    "roofline": Picture(None, _BREAK_EVEN, roofline),
}
TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "slide6_results.md": (_RUNS, lambda: results_table(markdown, "\n{}\n")),
    "slide6_results.tex": (_RUNS, lambda: results_table(latex, "% {}\n")),
    "slide8_benchmark.md": (_TIMES, lambda: slide8_table(markdown, "\n{}\n")),
    "slide8_benchmark.tex": (_TIMES, lambda: slide8_table(latex, "% {}\n")),
    "forms.md": (_FORMS, lambda: forms_table(markdown, "\n{}\n")),
    "forms.tex": (_FORMS, lambda: forms_table(latex, "% {}\n")),
    "timings.md": (_TIMES, lambda: timing_table(markdown, "\n{}\n")),
    "timings.tex": (_TIMES, lambda: timing_table(latex, "% {}\n")),
    "break_even.md": (_BREAK_EVEN, lambda: break_even_table(markdown, "\n{}\n")),
    "break_even.tex": (_BREAK_EVEN, lambda: break_even_table(latex, "% {}\n")),
    **{
        f"{name}.{ending}": (source, partial(make, form, comment))
        for name, source, make in (
            ("frontier", _FRONTIER, frontier_table),
            ("rivals", _FRONTIER, rivals_table),
            ("ablation", _ABLATION, ablation_table),
        )
        for ending, form, comment in (("md", markdown, "\n{}\n"), ("tex", latex, "% {}\n"))
    },
    **{
        f"{name}.{ending}": (f"results/{name}.json", partial(make, name, form, comment))
        for make, names in (
            (algorithms_table, ("algorithms", "mnist1d")),
            (selection_table, ("selection", "selection-lean")),
        )
        for name in names
        for ending, form, comment in (("md", markdown, "\n{}\n"), ("tex", latex, "% {}\n"))
    },
}


def write_all(folder: Path) -> dict:
    """Write every figure and table into `folder`, with a manifest of what came from what; return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}

    def write(name: str, content: bytes, source: str, **more: str) -> None:
        (folder / name).write_bytes(content)
        files[name] = {"from": source, "sha256": hashlib.sha256(content).hexdigest()} | more

    for name, picture in FIGURES.items():
        figure = picture.make()
        width, height = figure.get_size_inches()
        for ending in picture.endings:
            size = f"{width:.1f} x {height:.1f} in"
            write(f"{name}.{ending}", rendered(figure, ending), picture.source, size=size, alt=figure.get_label())
    for name, (source, make_table) in TABLES.items():
        write(name, make_table().encode(), source)
    write("README.md", _index(files).encode(), "the files of this folder")
    manifest = {"made by": "python -m dst_tutorial figures", "results": _hashes_of_results(), "files": files}
    (folder / "manifest.json").write_bytes((json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    return manifest


def _index(files: dict[str, dict[str, str]]) -> str:
    """The folder's README: slide by slide, what can take the place of what."""
    rows = []
    for name, picture in FIGURES.items():
        links = " ".join(f"[{ending}]({name}.{ending})" for ending in picture.endings)
        entry = files[f"{name}.{picture.endings[0]}"]
        rows.append({"slide": str(picture.slide or "–"), "figure": f"`{name}` {links}", "size": entry["size"],
                     "from": entry["from"], "what it shows": entry["alt"]})  # fmt: skip
    for name in TABLES:
        slide = name.removeprefix("slide")[0] if name.startswith("slide") else "–"
        shows = "What was recorded, as a table." if slide == "–" else "The slide's table, with ours beside it."
        rows.append({"slide": slide, "figure": f"[`{name}`]({name})", "size": "–", "from": files[name]["from"],
                     "what it shows": shows})  # fmt: skip
    rows.sort(key=lambda row: row["slide"])  # "–" sorts last
    return (
        "# The slides' figures and tables, and ours\n\n"
        "Made by `make figures` from the recorded results: same results, same bytes. No picture is larger than a\n"
        "16:9 slide of 13.3 x 7.5 inches. What became of the slides' numbers stands in [claims.md](claims.md).\n\n"
        + markdown(rows)
    )


def _hashes_of_results() -> dict[str, str]:
    told = [picture.source for picture in FIGURES.values()] + [source for source, _ in TABLES.values()]
    sources = {source for sources in told for source in sources.split(", ") if source.startswith("results/")}
    files = {source: results_folder() / Path(source).name for source in sorted(sources)}
    return {source: hashlib.sha256(file.read_bytes()).hexdigest() for source, file in files.items()}


def changed_results(folder: Path) -> list[str]:
    """The result files that are not those from which the figures in `folder` were drawn."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return []
    drawn_from = json.loads(manifest.read_text(encoding="utf-8"))["results"]
    return [source for source, digest in _hashes_of_results().items() if drawn_from.get(source) != digest]


def rendered(figure: Figure, ending: str) -> bytes:
    """The bytes of a figure file: the same for the same figure, so without the date. At least 200 dots an inch."""
    metadata = {"Description": figure.get_label()} | ({"Date": None} if ending == "svg" else {})
    buffer = io.BytesIO()
    with plots.style():
        figure.savefig(buffer, format=ending, dpi=max(200, figure.dpi), metadata=metadata)
    return buffer.getvalue()
