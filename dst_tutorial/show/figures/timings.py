"""Slide 8 and beyond: what inference and training take in every form, in time and in memory."""

import math
import statistics
from collections.abc import Iterator

from matplotlib.figure import Figure

from ...studies import by_recipe_and_sparsity, latest_first, load_timings, machine, slide8, slides
from ...timing import METHODS, Row, row_of, rows_of
from .. import plots
from ..pictures import pictures
from ..tables import Table, facts_of, table_of, threads_of


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
    ours, dense = (row_of(rows_of(run), name) for name in ("truly sparse", "dense"))
    found = f"Dense takes {dense.times(ours):.1f} times as long as truly sparse\n" if ours and dense else ""
    network = {"slides": "SlideCNN"}.get(run["case"], run["case"])
    told = f"{network}, {100 * run['sparsity']:g}%: {run['work']}, batch {run['batch']}"
    return plots.timings(rows, title=f"{found}{told}; {threads_of(run['threads'])} of {machine(run)}")


def training_step(case: str = "slides", threads: int = 1) -> Figure:
    """The recorded times of a training step of the slides' network, in every form."""
    wanted = {"case": case, "work": "training step", "batch": 64, "threads": threads}
    return timings_of(latest_first(load_timings("benchmark", **wanted))[0])


def linear_cost() -> Figure:
    """The recorded times of truly sparse layers, over four decades of connections."""
    run = latest_first(load_timings("scaling"))[0]
    times = {int(count): ms for count, ms in run["times_ms"].items()}
    few, many = min(count for count in times if count >= 100_000), max(times)  # below, a call has its own cost
    slow, fast = (statistics.median(times[count]) for count in (many, few))
    title = (
        f"From {few:,} connections on, {many / few:,.0f} times as many take {slow / fast:,.0f} times as long\n"
        f"A training step of a layer, {100 * run['density']:g}% dense, {run['batch']} samples, {machine(run)}"
    )
    return plots.cost_by_connections(times, title)


def slide8_rows(runs: list[dict]) -> list[dict[str, str]]:
    """Slide 8 as it should have been: every method on every device, two columns for each machine and thread count."""
    machines = {machine(run) for run in runs}
    measured = {(row.method, row.device): None for run in runs for row in rows_of(run)}
    methods = [key for device in ("cpu", "cuda") for name in METHODS if (key := (name, device)) in measured]
    table = []
    for method, device in dict.fromkeys([*methods, *slides.MILLISECONDS]):
        claimed = slides.MILLISECONDS.get((method, device))
        spread = slides.DEVIATIONS.get((method, device))
        line = {
            "": f"{method} ({device.replace('cuda', 'gpu').upper()})",
            "slides: ms": f"{claimed:.2f}{f' ± {spread:.2f}' if spread else ''}" if claimed else "not run",
        }
        for run in runs:
            mine, dense = (row_of(rows_of(run), name, device) for name in (method, "dense"))
            where = f"{machine(run)}, " if len(machines) > 1 else ""
            where += f"{threads_of(run['threads'])}"
            line[f"{where}: ms [quartiles]"] = _milliseconds(mine)
            line[f"{where}: speed (dense = 1)"] = f"{dense.times(mine):.2f}" if mine and dense else "–"
        table.append(line)
    return table


def timing_rows(runs: list[dict]) -> list[dict[str, str]]:
    """Benchmarks, a row a method: two columns a machine, the second in times of truly sparse on the same device."""
    machines = sorted({machine(run) for run in runs})
    table: dict[tuple, dict[str, str]] = {}
    for run in runs:
        rows = rows_of(run)
        for row in rows:
            work = f"{run['work']}, batch {run['batch']}" if run["work"] != "epoch" else "epoch of MNIST in `fit`"
            form = f"{row.method}{', GPU' if row.device != 'cpu' else ''}{', with copies' if row.copies else ''}"
            told = {"network": run["case"], "work": work, "threads": str(run["threads"]), "form": form}
            empty = {f"{name}: {of}": "" for name in machines for of in ("ms [quartiles]", "times ours")}
            line = table.setdefault(tuple(told.values()), told | empty)
            ours = row_of(rows, "truly sparse", row.device, copies=row.copies)
            line[f"{machine(run)}: ms [quartiles]"] = _milliseconds(row)
            line[f"{machine(run)}: times ours"] = f"{row.times(ours):.1f}" if ours else "–"
    return list(table.values())


_SCALED = ("dense", "Dense+Mask", "truly sparse")


def cores(runs: list[dict]) -> Iterator[tuple[dict[str, str], dict[str, tuple[float, float]]]]:
    """What more threads are worth: (what was timed, method -> (milliseconds on one, times faster)), the latest last."""
    works: dict[tuple, dict[int, dict]] = {}
    for run in reversed(runs):
        works.setdefault((run["case"], run["work"], run["batch"], machine(run)), {})[run["threads"]] = run
    for (case, work, batch, where), by_threads in works.items():
        for threads in sorted(by_threads.keys() - {1}) if 1 in by_threads else ():
            told = {"network": case, "work": f"{work}, batch {batch}", "threads": str(threads), "machine": where}
            one, more = (rows_of(by_threads[n]) for n in (1, threads))
            medians = {name: [row.median for rows in (one, more) if (row := row_of(rows, name))] for name in _SCALED}
            yield told, {name: (ms[0], ms[0] / ms[1]) for name, ms in medians.items() if len(ms) == 2}


def cores_rows(runs: list[dict]) -> list[dict[str, str]]:
    """The same as a table, the shortest work first."""
    return [
        told
        | {name: f"{found[name][0]:.2f} ms, {found[name][1]:.2f} times" if name in found else "–" for name in _SCALED}
        for told, found in sorted(cores(runs), key=lambda row: row[1].get(_SCALED[-1], (math.inf,))[0])
    ]


def _milliseconds(row: Row | None) -> str:
    return "{1:.2f} [{0:.2f}, {2:.2f}]".format(*row.quartiles) if row else "not measured"


def timing_line(runs: list[dict]) -> str:
    """Where the numbers of recorded benchmarks come from."""
    machines = sorted({"{cpu}, torch {torch}, numba {numba}".format(**run["provenance"]) for run in runs})
    gpus = sorted({gpu for run in runs if (gpu := run["provenance"]["gpu"])})
    dates = sorted({run["provenance"]["date"] for run in runs})
    rounds = sorted({run["rounds"] for run in runs})
    rounds = dict.fromkeys(map(str, (rounds[0], rounds[-1])))
    absent = [method for method in runs[0]["absent"] if all(method in run["absent"] for run in runs)]
    works = {run["work"] for run in runs}
    said = "An epoch includes its data and topology updates. " * ("epoch" in works)
    said += "All but ours train with fused Adam. " * (works != {"inference"})
    return (
        f"Outputs and losses are compared first. Median [quartiles] of {' to '.join(rounds)} calls in turns; before "
        f"each, two are not counted. A ratio is the median over the turns. {said}Scipy uses one "
        f"thread, always. {'; '.join(machines)}; "
        f"GPU: {', '.join(gpus) or 'none at hand'}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}. "
        f"Absent: {', '.join(absent) or 'none'}."
    )


def form_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy beside all that it costs, of the same runs: a row a form."""
    rows = []
    for runs in by_recipe_and_sparsity(results).values():
        last, facts = runs[0]["summary"], facts_of(runs)
        seconds = [s for run in runs for s in run["summary"]["seconds_per_epoch"]]
        low, middle, high = statistics.quantiles(seconds, n=4)
        peaks = [peak for run in runs if (peak := run["peak_bytes"])]  # a resumed run has none
        rows.append(
            {
                "": _form(runs[0]),
                "test accuracy": facts["test accuracy"],
                "s / epoch [quartiles]": f"{middle:.1f} [{low:.1f}, {high:.1f}]",
                "multiplications": f"{last['macs'] / 1e6:.2f}M ({facts['multiplications']})",
                "weights, gradients, Adam, indices": f"{runs[0]['state_bytes'] / 1e6:.2f} MB",
                "peak memory": f"{statistics.median(peaks) / 1e6:.0f} MB" if peaks else "not measured",
                "weights + biases": facts["weights + biases"],
                "seeds": facts["seeds"],
            }
        )
    return rows


def _form(run: dict) -> str:
    """Of a sparse network it names the allocation, which decides on the work."""
    recipe = run["config"]["recipe"]
    name = plots.NAMES[recipe["name"]]
    if run["summary"]["backend"] != "sparse":
        return name
    allocation = recipe["sparsify"]["allocation"]
    return f"{name.partition(',')[0]}, {allocation.replace('erk', 'ERK')}, truly sparse"


def _timings() -> list[dict]:
    return latest_first(load_timings("benchmark"))


_TIMES = "results/benchmark.json"
FIGURES = (
    *pictures("arithmetic on the slides' means and deviations", ten_calls, slide=8),
    *pictures(_TIMES, benchmark, slide=8),
    *pictures(_TIMES, training_step),
    *pictures("results/scaling.json", linear_cost),
)
TABLES = (
    Table("slide8_benchmark", _TIMES, slide8, slide8_rows, timing_line),
    table_of("forms", form_rows),
    Table("cores", _TIMES, _timings, cores_rows, timing_line),
    Table("timings", _TIMES, _timings, timing_rows, timing_line),
)
