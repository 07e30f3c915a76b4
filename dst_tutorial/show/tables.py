"""Tables: rows of text as Markdown or LaTeX, and a line below that says where their numbers come from.

The rows themselves are made in `figures/`, beside the pictures of the same study.
"""

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..studies import accuracies, load_results

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of recorded results."""

    name: str
    source: str  # the result files, as the manifest names them
    load: Callable[[], object]  # the results
    rows: Callable[[object], Rows]  # of the results
    line: Callable[[object], str]  # where they come from

    def rendered(self, ending: str) -> str:
        """As Markdown ("md") or LaTeX ("tex")."""
        results, (form, comment) = self.load(), FORMS[ending]
        return form(self.rows(results)) + comment.format(self.line(results))


def table_of(experiment: str, rows: Callable[[dict], Rows], name: str | None = None) -> Table:
    """Of an experiment's runs; named as the experiment, unless it has a `name`."""
    load = partial(load_results, experiment)
    return Table(name or experiment, f"results/{experiment}.json", load, rows, provenance_line)


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


FORMS: dict[str, tuple[Callable[[Rows], str], str]] = {"md": (markdown, "\n{}\n"), "tex": (latex, "% {}\n")}


def mean_sd(values: list[float], digits: int) -> str:
    """The mean and, of more than one, the sample standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def facts_of(runs: list[dict]) -> dict[str, str]:
    """What most tables say of runs that differ in their seed alone."""
    last = runs[0]["summary"]
    return {
        "sparsity": _sparsity(runs[0]["config"]),
        "test accuracy": f"{mean_sd(accuracies(runs), 2)}%",
        "weights + biases": f"{last['active_weights']:,} + {last['biases']:,}",
        "multiplications": f"{100 * last['macs'] / last['dense_macs']:.1f}%" if "macs" in last else "not counted",
        "seeds": str(len(runs)),
    }


def _sparsity(config: dict) -> str:
    sparsity, recipe = config["sparsity"], config["recipe"]
    if recipe["small"]:
        return f"dense, size of {100 * sparsity:g}%"
    return f"{100 * sparsity:g}%" if recipe["sparsify"] else "dense"


def threads_of(number: int) -> str:
    """So many threads, in words."""
    return f"{number} thread{'s' * (number > 1)}"


def _seeds_of(seeds: set[int]) -> str:
    """In words: seeds in a row as the first and the last of them."""
    low, high = min(seeds), max(seeds)
    in_a_row = len(seeds) > 3 and len(seeds) == high - low + 1
    return f"{low} to {high}" if in_a_row else ", ".join(map(str, sorted(seeds)))


def provenance_line(results: dict) -> str:
    """One sentence: where the numbers of a result file come from."""
    runs = results["runs"]
    made = [run["provenance"] for run in runs]
    machines = sorted({f"torch {by['torch']} on {threads_of(by['threads'])} of {by['cpu']}" for by in made})
    dates = sorted({by["date"] for by in made})
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    kind = "validation" if "validation" in results["data_set"] else "test"
    data = results["data_set"].replace("mnist1d", "MNIST-1D").replace("mnist", "MNIST")
    if kind == "validation":
        data = data.replace("-validation", "").replace("test images", "held-out images")
    kind = {"validation": "held-out"}.get(kind, kind)
    return (
        f"Mean ± sample standard deviation over seeds {_seeds_of({run['config']['seed'] for run in runs})}; "
        f"{data}; "
        f"{runs[0]['config']['epochs']} epochs; last-epoch {kind} accuracy. Run {when} "
        f"with {'; '.join(machines)}."
    )
