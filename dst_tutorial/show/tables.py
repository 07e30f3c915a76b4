"""The tables: recorded results -> rows of text -> Markdown or LaTeX. `figures.py` names and writes them."""

import re
import statistics
from collections.abc import Callable, Mapping

from ..studies import (
    CONTENDERS,
    TUNED_AT,
    by_recipe_and_sparsity,
    chosen,
    differences,
    effects,
    latest_first,
    load_results,
    load_timings,
    machine,
    slide8,
    slides,
    typical_seconds,
    validation,
)
from ..timing import DENSE, METHODS, SPARSE, Row, fewer_bytes_from, pays_from, row_of, rows_of
from . import plots


def results_rows(results: dict) -> list[dict[str, str]]:
    """The slides' results table with seeds, spread and the controls, a row a recipe."""
    rows = []
    for recipe in dict.fromkeys(run["config"]["recipe"]["name"] for run in results["runs"]):
        runs = [run["summary"] for run in results["runs"] if run["config"]["recipe"]["name"] == recipe]
        active, biases = runs[0]["active_weights"], runs[0]["biases"]
        rows.append(
            {
                "": plots.NAMES[recipe],
                "slides: accuracy": f"{slides.ACCURACY[recipe]:.2f}%" if recipe in slides.ACCURACY else "not run",
                "ours: accuracy": f"{_mean_sd([r['test_accuracy'] for r in runs], 2)}%",
                "slides: loss": f"{slides.LOSS[recipe]:.4f}" if recipe in slides.LOSS else "not run",
                "ours: loss": _mean_sd([r["test_loss"] for r in runs], 4),
                "weights + biases": f"{active:,} + {biases:,}",
                "seeds": str(len(runs)),
            }
        )
    return rows


def algorithm_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy of every recipe beside what it costs, of the same runs: a row a recipe and sparsity."""
    rows = []
    for (recipe, sparsity), runs in by_recipe_and_sparsity(results).items():
        last = runs[0]["summary"]
        explored = [run["exploration_rate"] for run in runs]
        rows.append(
            {
                "": plots.NAMES[recipe],
                "sparsity": _told(sparsity, last["backend"]),
                "test accuracy": f"{_mean_sd([run['summary']['test_accuracy'] for run in runs], 2)}%",
                "weights + biases": f"{last['active_weights']:,} + {last['biases']:,}",
                "multiplications": f"{100 * last['macs'] / last['dense_macs']:.1f}%",
                "explored": f"{100 * statistics.mean(explored):.1f}%" if explored[0] is not None else "–",
                "updates": str(runs[0]["updates"]),
                "seeds": str(len(runs)),
            }
        )
    return rows


def _told(sparsity: float, backend: str) -> str:
    if backend != "dense":
        return f"{100 * sparsity:g}%"
    return f"dense, as small as {100 * sparsity:g}%" if sparsity else "dense"


def form_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy beside all that it costs, of the same runs: a row a form."""
    rows = []
    for runs in by_recipe_and_sparsity(results).values():
        last = runs[0]["summary"]
        seconds = [s for run in runs for s in run["summary"]["seconds_per_epoch"]]
        low, middle, high = statistics.quantiles(seconds, n=4)
        rows.append(
            {
                "": _form(runs[0]),
                "test accuracy": f"{_mean_sd([run['summary']['test_accuracy'] for run in runs], 2)}%",
                "s / epoch [quartiles]": f"{middle:.1f} [{low:.1f}, {high:.1f}]",
                "multiplications": f"{last['macs'] / 1e6:.2f}M ({100 * last['macs'] / last['dense_macs']:.1f}%)",
                "weights, gradients, Adam, indices": f"{runs[0]['state_bytes'] / 1e6:.2f} MB",
                "peak memory": f"{statistics.median(run['peak_bytes'] for run in runs) / 1e6:.0f} MB",
                "weights + biases": f"{last['active_weights']:,} + {last['biases']:,}",
                "seeds": str(len(runs)),
            }
        )
    return rows


def frontier_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy beside weights, multiplications and seconds, of the same runs, and the paired difference from dense."""
    rows = []
    for (recipe, sparsity), runs in by_recipe_and_sparsity(results).items():
        last = runs[0]["summary"]
        gap = differences(results, recipe, "tuned-dense")[sparsity]
        rows.append(
            {
                "": plots.NAMES[recipe],
                "sparsity": _told(sparsity, last["backend"]),
                "test accuracy": f"{_mean_sd(_accuracies(runs), 2)}%",
                "minus dense, cosine": "–" if recipe == "tuned-dense" else f"{gap} {gap.verdict}",
                "weights + biases": f"{last['active_weights']:,} + {last['biases']:,}",
                "multiplications": f"{100 * last['macs'] / last['dense_macs']:.1f}%",
                "s of training": f"{typical_seconds(runs):.0f}",
                "test evaluations a run": "/".join(sorted({str(run["summary"]["test_evaluations"]) for run in runs})),
                "seeds": str(len(runs)),
            }
        )
    return rows


RIVALS = ("modern-static", "tuned-small-dense", "tuned-narrow-dense", "tuned-dense", "tuned-dense-constant")


def rival_rows(results: dict) -> list[dict[str, str]]:
    """The best recipe minus each rival, with interval and verdict: a row a sparsity."""
    gaps = {rival: differences(results, "modern", rival) for rival in RIVALS}
    return [
        {"sparsity": f"{100 * sparsity:g}%"}
        | {f"modern minus {plots.NAMES[rival]}": f"{of[sparsity]} {of[sparsity].verdict}" for rival, of in gaps.items()}
        for sparsity in gaps[RIVALS[0]]
    ]


def selection_rows(results: dict) -> list[dict[str, str]]:
    """The candidates of the file's contenders with their validation accuracies; the chosen one is marked."""
    rows = []
    for contender in CONTENDERS:
        found = {name: by for name, by in validation(results, contender).items() if by}
        best = chosen(results, contender).name if found else None
        rows += [
            {
                "contender": plots.NAMES[contender],
                "candidate": f"**{name}**" if name == best else name,
                **{
                    f"at {100 * s:g}%": f"{_mean_sd(by.get(s, by.get(0.0)), 2)}%" if {s, 0.0} & set(by) else "–"
                    for s in TUNED_AT
                },
            }
            for name, by in found.items()
        ]
    return rows


def ablation_rows(accuracies: Mapping[str, list[float]]) -> list[dict[str, str]]:
    """What each ingredient is worth, with its interval: `accuracies[recipe]`, one a seed."""
    return [
        {
            "group": group,
            "row": name,
            "difference, points [95% interval]": str(change),
            "verdict": change.verdict,
            "seeds": str(change.seeds),
        }
        for group, changes in effects(accuracies).items()
        for name, change in changes.items()
    ]


def _accuracies(runs: list[dict]) -> list[float]:
    return [run["summary"]["test_accuracy"] for run in runs]


def _form(run: dict) -> str:
    """Of a sparse network it names the allocation, which decides on the work."""
    recipe = run["config"]["recipe"]
    name = plots.NAMES[recipe["name"]]
    if run["summary"]["backend"] != "sparse":
        return name
    allocation = recipe["sparsify"]["allocation"]
    return f"{name.partition(',')[0]}, {allocation.replace('erk', 'ERK')}, truly sparse"


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
            where += f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
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
            told = {"network": run["case"], "work": _work(run), "threads": str(run["threads"]), "form": _where(row)}
            empty = {f"{name}: {of}": "" for name in machines for of in ("ms [quartiles]", "times ours")}
            line = table.setdefault(tuple(told.values()), told | empty)
            ours = row_of(rows, "truly sparse", row.device, copies=row.copies)
            line[f"{machine(run)}: ms [quartiles]"] = _milliseconds(row)
            line[f"{machine(run)}: times ours"] = f"{row.times(ours):.1f}" if ours else "–"
    return list(table.values())


def _work(run: dict) -> str:
    return "epoch of MNIST in `fit`" if run["work"] == "epoch" else f"{run['work']}, batch {run['batch']}"


def _where(row: Row) -> str:
    place = "" if row.device == "cpu" else ", GPU"
    return f"{row.method}{place}{', with copies' if row.copies else ''}"


def _milliseconds(row: Row | None) -> str:
    return "{1:.2f} [{0:.2f}, {2:.2f}]".format(*row.quartiles) if row else "not measured"


def timing_line(runs: list[dict]) -> str:
    """Where the numbers of recorded benchmarks come from."""
    machines = sorted({"{cpu}, torch {torch}, numba {numba}".format(**run["provenance"]) for run in runs})
    gpus = sorted({gpu for run in runs if (gpu := run["provenance"]["gpu"])})
    dates = sorted({run["provenance"]["date"] for run in runs})
    rounds = sorted({run["rounds"] for run in runs})
    rounds = dict.fromkeys(map(str, (rounds[0], rounds[-1])))
    absent = {method: why for run in runs for method, why in run["absent"].items()}
    return (
        f"Outputs and losses compared first; median [quartiles] of {' to '.join(rounds)} calls, in turns, each behind "
        "two unread ones; ratios are medians over these turns; an epoch has its data and topology updates. All but "
        f"ours train with fused Adam. scipy uses one thread, always. {'; '.join(machines)}; "
        f"GPU: {', '.join(gpus) or 'none at hand'}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}. "
        f"Absent: {', '.join(absent) or 'none'}."
    )


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


def break_even_line(run: dict) -> str:
    """Where these numbers come from."""
    roof = "{gflops:.0f} GFLOP/s of float32, {gigabytes_per_second:.0f} GB/s from and to memory".format(
        **run["roofline"]
    )
    return (
        "From which sparsity on the method takes no longer, and CSR fewer bytes: inference of one square layer, "
        f"medians of {run['rounds']} calls in turns, read off between the measured sparsities; "
        f"{run['threads']} thread(s) of {machine(run)} ({roof}, measured on the spot), "
        f"torch {run['provenance']['torch']}, "
        f"{run['provenance']['date']}."
    )


def markdown(rows: list[Mapping[str, str]]) -> str:
    """A Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *(row.values() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: list[Mapping[str, str]]) -> str:
    """A LaTeX table (booktabs)."""

    def line(cells) -> str:
        told = " & ".join(str(c).replace("%", r"\%").replace("±", r"$\pm$") for c in cells)
        return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", told) + r" \\"

    body = "\n".join(line(row.values()) for row in rows)
    return (
        f"\\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}\n\\toprule\n{line(rows[0])}\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def _mean_sd(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def provenance_line(results: dict) -> str:
    """One sentence: where the numbers of a result file come from."""
    runs = results["runs"]
    seeds = sorted({run["config"]["seed"] for run in runs})
    machines = sorted({"torch {torch} on {threads} thread(s) of {cpu}".format(**run["provenance"]) for run in runs})
    dates = sorted({run["provenance"]["date"] for run in runs})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    kind = "validation" if "validation" in results["data_set"] else "test"
    return (
        f"Mean ± sample standard deviation over seeds {', '.join(map(str, seeds))}; {results['data_set']}; "
        f"{runs[0]['config']['epochs']} epochs; last-epoch {kind} accuracy. Run {when} "
        f"with {'; '.join(machines)}."
    )


def results_table(form: Callable[[list], str], comment: str) -> str:
    """Slide 6, as Markdown or LaTeX (`form`), and where its numbers come from, in `comment`'s braces."""
    results = load_results("slides")
    return form(results_rows(results)) + comment.format(provenance_line(results))


def algorithms_table(name: str, form: Callable[[list], str], comment: str) -> str:
    """The experiment `name`, likewise."""
    results = load_results(name)
    return form(algorithm_rows(results)) + comment.format(provenance_line(results))


def slide8_table(form: Callable[[list], str], comment: str) -> str:
    """Slide 8, likewise."""
    return form(slide8_rows(slide8())) + comment.format(timing_line(slide8()))


def frontier_table(form: Callable[[list], str], comment: str) -> str:
    """The best recipe, its controls and its rivals, likewise."""
    results = load_results("frontier")
    return form(frontier_rows(results)) + comment.format(provenance_line(results))


def rivals_table(form: Callable[[list], str], comment: str) -> str:
    """The best recipe minus each rival, likewise."""
    results = load_results("frontier")
    return form(rival_rows(results)) + comment.format(provenance_line(results))


def selection_table(name: str, form: Callable[[list], str], comment: str) -> str:
    """The experiment `name`, of candidates, likewise."""
    results = load_results(name)
    return form(selection_rows(results)) + comment.format(provenance_line(results))


def forms_table(form: Callable[[list], str], comment: str) -> str:
    """What training costs in each form, likewise."""
    results = load_results("forms")
    return form(form_rows(results)) + comment.format(provenance_line(results))


def break_even_table(form: Callable[[list], str], comment: str) -> str:
    """From which sparsity on what pays, likewise: one layer, on the CPU, one thread."""
    run = latest_first(load_timings("breakeven", device="cpu", threads=1))[0]
    rows = [
        {"": method, "against": against} | row
        for method in SPARSE
        for against in DENSE
        for row in pays_rows(run, method, against)
    ]
    return form(rows) + comment.format(break_even_line(run))


def timing_table(form: Callable[[list], str], comment: str) -> str:
    """Inference, training steps and epochs in every form, likewise."""
    runs = latest_first(load_timings("benchmark"))
    return form(timing_rows(runs)) + comment.format(timing_line(runs))
