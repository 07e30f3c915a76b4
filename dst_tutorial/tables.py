"""The tables: recorded results -> rows of text -> Markdown or LaTeX. `figures.py` names and writes them."""

import re
import statistics
from collections.abc import Callable, Mapping

from . import plots, slides
from .ablation import effects
from .benchmark import METHODS, ON_GPU, Row, row_of, rows_of
from .experiments import (
    by_recipe_and_sparsity,
    differences,
    load_results,
    load_speeds,
    slides_benchmarks,
    typical_seconds,
)
from .selection import CONTENDERS, TUNED_AT, chosen, validation


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


def benchmark_rows(runs: list[dict]) -> list[dict[str, str]]:
    """Slide 8 as it should have been: every method on every device, two columns for each number of threads."""
    table = []
    for device, methods in (("cpu", METHODS), ("cuda", ON_GPU)):
        for method in methods:
            claimed = slides.MILLISECONDS.get((method, device))
            spread = slides.DEVIATIONS.get((method, device))
            row = {
                "": f"{method} ({device.replace('cuda', 'gpu').upper()})",
                "slides: ms": f"{claimed:.2f}{f' ± {spread:.2f}' if spread else ''}" if claimed else "not run",
            }
            for run in runs:
                mine, dense = (row_of(rows_of(run), name, device) for name in (method, "dense"))
                threads = f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
                row[f"{threads}: ms [quartiles]"] = _milliseconds(mine)
                row[f"{threads}: speed (dense = 1)"] = f"{dense.median / mine.median:.2f}" if mine and dense else "–"
            table.append(row)
    return table


def speed_rows(runs: list[dict]) -> list[dict[str, str]]:
    """Training and inference in every form, a row each: two columns a machine, the second in times of truly sparse."""
    machines = sorted({_machine(run) for run in runs})
    table: dict[tuple, dict[str, str]] = {}
    for run in sorted(runs, key=lambda run: (run["case"], run["threads"])):
        kinds = {f"training step, batch {run['batch']}": run["training"]}
        kinds |= {f"inference, batch {batch}": rows for batch, rows in run["inference"].items()}
        kinds |= {"epoch of MNIST in `fit`": run["epochs"]} if run["epochs"] else {}
        for kind, rows in kinds.items():
            rows = rows_of({"rows": rows})
            ours = row_of(rows, "truly sparse")
            for row in rows:
                told = {"network": run["case"], "threads": str(run["threads"]), "work": kind, "form": row.method}
                empty = {f"{machine}: {of}": "" for machine in machines for of in ("ms [quartiles]", "times ours")}
                line = table.setdefault(tuple(told.values()), told | empty)
                line[f"{_machine(run)}: ms [quartiles]"] = _milliseconds(row)
                line[f"{_machine(run)}: times ours"] = f"{row.median / ours.median:.1f}"
    return list(table.values())


def _machine(run: dict) -> str:
    return run["provenance"]["cpu"].replace("(R)", "").partition(" Processor")[0]


def _milliseconds(row: Row | None) -> str:
    return "{1:.2f} [{0:.2f}, {2:.2f}]".format(*row.quartiles) if row else "not measured"


def benchmark_line(runs: list[dict]) -> str:
    """Where the numbers of recorded benchmarks come from. ValueError if they are of several batch sizes."""
    if len({run["batch"] for run in runs}) > 1:
        raise ValueError("these benchmarks are of several batch sizes: a table is of one (see slides_benchmarks)")
    where = "{cpu}, torch {torch}".format(**runs[0]["provenance"])
    dates = sorted({run["provenance"]["date"] for run in runs})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    gpu = runs[0]["provenance"]["gpu"]
    return (
        f"The whole network, {runs[0]['network']} at {100 * runs[0]['sparsity']:g}% uniform sparsity, on "
        f"{runs[0]['batch']} real test images at a time; outputs compared first; median [quartiles] of "
        f"{runs[0]['rounds']} calls, in turns, after a warm-up. {where}, {when}. "
        f"{f'GPU: {gpu}.' if gpu else 'No GPU was at hand.'} scipy uses one thread, always."
    )


def speed_line(runs: list[dict]) -> str:
    """Where the numbers of recorded speeds come from."""
    machines = sorted({"{cpu}, torch {torch}, numba {numba}".format(**run["provenance"]) for run in runs})
    dates = sorted({run["provenance"]["date"] for run in runs})
    return (
        "Losses and outputs compared first; median [quartiles], in turns, after a warm-up; Dense+Mask and dense with "
        f"fused Adam; data and topology updates are part of an epoch. {'; '.join(machines)}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
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


def benchmark_table(form: Callable[[list], str], comment: str) -> str:
    """Slide 8, likewise."""
    runs = slides_benchmarks()
    return form(benchmark_rows(runs)) + comment.format(benchmark_line(runs))


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


def speed_table(form: Callable[[list], str], comment: str) -> str:
    """Training steps, inference and epochs in every form, likewise."""
    runs = load_speeds()
    return form(speed_rows(runs)) + comment.format(speed_line(runs))
