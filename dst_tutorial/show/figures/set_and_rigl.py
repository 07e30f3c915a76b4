"""SET, RigL and their controls: accuracy beside what it costs, on the slides' network and on MNIST-1D."""

import statistics

from matplotlib.figure import Figure

from ...studies import accuracies, by_recipe_and_sparsity, differences, final_accuracies, load_results
from .. import plots
from ..pictures import pictures
from ..tables import facts_of, table_of


def algorithm_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy of every recipe beside what it costs, of the same runs: a row a recipe and sparsity."""
    rows = []
    for (recipe, _), runs in by_recipe_and_sparsity(results).items():
        facts, explored = facts_of(runs), [run["exploration_rate"] for run in runs]
        rows.append(
            {
                "": plots.NAMES[recipe],
                **{name: facts[name] for name in ("sparsity", "test accuracy", "weights + biases", "multiplications")},
                "explored": f"{100 * statistics.mean(explored):.1f}%" if explored[0] is not None else "–",
                "updates": str(runs[0]["updates"]),
                "seeds": facts["seeds"],
            }
        )
    return rows


def algorithms() -> Figure:
    """SET, RigL and their controls on the slides' network: final accuracy, a dot a seed."""
    results = load_results("algorithms")
    (rigl,), (random,) = (differences(results, name, "static").values() for name in ("erk-rigl", "set"))
    title = f"Beside a static mask: RigL {rigl.mean:+.2f} points, SET {random.mean:+.2f} (95% sparse, ERK)"
    return plots.accuracies(final_accuracies(results), title=title)


def mnist1d() -> Figure:
    """The same on MNIST-1D, where accuracy does not saturate, at three sparsities."""
    curves: dict[str, dict[float, list[float]]] = {}
    for (recipe, sparsity), runs in by_recipe_and_sparsity(load_results("mnist1d")).items():
        curves.setdefault(recipe, {})[sparsity] = accuracies(runs)
    ends = {name: f"{plots.NAMES[name]} {statistics.mean(by[0.95]):.0f}%" for name, by in curves.items() if 0.95 in by}
    told = ", ".join(ends[name] for name in ("small-dense", "erk-rigl", "set", "static"))
    return plots.accuracy_by_sparsity(curves, title=f"MNIST-1D, 95% sparse: {told}", lowest=None)


FIGURES = (*pictures("results/algorithms.json", algorithms), *pictures("results/mnist1d.json", mnist1d))
TABLES = (table_of("algorithms", algorithm_rows), table_of("mnist1d", algorithm_rows))
