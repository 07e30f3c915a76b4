"""How far sparse training comes: the best recipe beside its rivals, by weights, multiplications and seconds."""

from collections import Counter
from statistics import mean

from matplotlib.figure import Figure

from ...studies import Difference, accuracies, by_recipe_and_sparsity, differences, load_results, typical_seconds
from .. import plots
from ..pictures import pictures
from ..tables import facts_of, table_of

RIVALS = (
    *("modern-static", "tuned-gmp", "tuned-small-dense", "tuned-narrow-dense"),
    *("tuned-dense", "tuned-dense-constant"),
)


def frontier_rows(results: dict) -> list[dict[str, str]]:
    """Accuracy beside weights, multiplications and seconds, of the same runs, and the paired difference from dense."""
    rows = []
    for (recipe, sparsity), runs in by_recipe_and_sparsity(results).items():
        gap, facts = differences(results, recipe, "tuned-dense")[sparsity], facts_of(runs)
        rows.append(
            {
                "": plots.NAMES[recipe],
                "sparsity": facts["sparsity"],
                "test accuracy": facts["test accuracy"],
                "minus dense, tuned": "–" if recipe == "tuned-dense" else gap.told,
                "weights + biases": facts["weights + biases"],
                "multiplications": facts["multiplications"],
                "s of training": f"{typical_seconds(runs):.0f}",
                "test evaluations a run": "/".join(sorted({str(run["summary"]["test_evaluations"]) for run in runs})),
                "seeds": facts["seeds"],
            }
        )
    return rows


def headline_rows(results: dict) -> list[dict[str, str]]:
    """What is claimed loudest: accuracy beside dense, weights, multiplications and seconds, of the same runs."""
    groups = {recipe: runs for (recipe, _), runs in by_recipe_and_sparsity(results).items()}
    dense = typical_seconds(groups["tuned-dense"])
    rows = []
    for recipe, runs in groups.items():
        gap, facts, seconds = _only(differences(results, recipe, "tuned-dense")), facts_of(runs), typical_seconds(runs)
        rows.append(
            {
                "": plots.NAMES[recipe],
                "test accuracy": facts["test accuracy"],
                "minus dense, tuned": "–" if recipe == "tuned-dense" else gap.told,
                "weights + biases": facts["weights + biases"],
                "multiplications": facts["multiplications"],
                "s of training": f"{seconds:.0f}",
                "dense takes": f"{dense / seconds:.1f} times as long",
                "seeds": facts["seeds"],
            }
        )
    return rows


def beside_dense_rows(results: dict) -> list[dict[str, str]]:
    """The shortest answer: a sparse network, dense, and a small dense network, of the same runs."""
    groups = {recipe: runs for (recipe, _), runs in by_recipe_and_sparsity(results).items()}
    told = {
        "lean": "sparse from the start (`lean`)",
        "tuned-dense": "dense",
        "fused-small-dense": "a dense network as small",
    }
    return [
        {
            "": name,
            "weights": f"{groups[recipe][0]['summary']['active_weights']:,}",
            "multiplications": (facts := facts_of(groups[recipe]))["multiplications"],
            "ten epochs take": f"{typical_seconds(groups[recipe]):.0f} s",
            "test accuracy": facts["test accuracy"],
        }
        for recipe, name in told.items()
    ]


def _only(by_sparsity: dict[float, Difference]) -> Difference:
    (one,) = by_sparsity.values()
    return one


def rival_rows(results: dict) -> list[dict[str, str]]:
    """The best recipe minus each rival, with interval and verdict: a row a sparsity."""
    gaps = {rival: differences(results, "modern", rival) for rival in RIVALS}
    return [
        {"sparsity": f"{100 * sparsity:g}%"}
        | {f"modern minus {plots.NAMES[rival]}": of[sparsity].told for rival, of in gaps.items()}
        for sparsity in gaps[RIVALS[0]]
    ]


def frontier() -> Figure:
    """Accuracy against weights, multiplications and seconds of training.

    The small and narrow dense networks have the seconds of their runs in our kernels, the sparse ones' kernels.
    """
    groups, points = by_recipe_and_sparsity(load_results("frontier")), {}
    twins = {recipe: recipe.replace("fused", "tuned") for recipe, _ in groups if recipe.startswith("fused")}
    for (recipe, _), runs in groups.items():
        last = runs[0]["summary"]
        point = {"accuracies": accuracies(runs), "sparsity": runs[0]["config"]["sparsity"]}
        if recipe not in twins:
            point |= {"weights": last["active_weights"], "macs": last["macs"]}
        if recipe not in twins.values():
            point["seconds"] = typical_seconds(runs)
        points.setdefault(twins.get(recipe, recipe), []).append(point)
    for told_in_the_table in ("tuned-dense-constant", "tuned-narrow-lean"):
        del points[told_in_the_table]
    return plots.frontier(points, "From 98% on a mask that stays falls behind; a small dense network does not")


def frontier_to_guess(sparsity: float = 0.99) -> plots.Answer:
    """The frontier, and the accuracy of `modern` at this sparsity."""
    runs = by_recipe_and_sparsity(load_results("frontier"))["modern", sparsity]
    return plots.Answer(frontier(), mean(accuracies(runs)), runs[0]["summary"]["active_weights"])


def rivals() -> Figure:
    """The best recipe minus each rival, sparsity by sparsity, with intervals."""
    results = load_results("frontier")
    groups = {
        f"modern minus {plots.NAMES[rival].removeprefix('modern, ')}": {
            f"{100 * sparsity:g}% sparse": gap for sparsity, gap in differences(results, "modern", rival).items()
        }
        for rival in RIVALS[:-1]
    }
    found = Counter(gap.verdict for gaps in groups.values() for gap in gaps.values())
    ahead, behind, level, undecided = (found[verdict] for verdict in ("more", "less", "level", "undecided"))
    title = f"The recipe modern: {ahead} times ahead, {behind} behind, {level} level, {undecided} undecided"
    return plots.effects(groups, title)


FIGURES = pictures("results/frontier.json", frontier, rivals)
TABLES = (
    table_of("frontier", frontier_rows),
    table_of("frontier", rival_rows, "rivals"),
    table_of("headline", headline_rows, "headline_pairs"),
    table_of("headline", beside_dense_rows, "beside_dense"),
)
