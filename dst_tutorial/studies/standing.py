"""Who wins where: in each regime one contender a column, and the moving sparse one minus each, from recorded runs.

A column's contender is the one that did best on held-out examples, so that the test set chooses nothing.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..paths import results_folder
from .experiment import key_of
from .paired import MARGINS, Difference, difference
from .regimes import REGIMES, Regime, decided, held_out, tuned, winner
from .results import by_recipe_and_sparsity, load_results, typical_seconds

DST = "DST"
COLUMNS = {  # who may stand for it
    "dense": ("dense", "dense, weight decay", "dense, L1"),
    "small dense": ("small dense", "small dense, L1"),
    "static mask": ("static mask", "static mask, uniform", "static mask, constant fan-in"),
    DST: ("RigL", "RigL, L1", "SET", "RigL, uniform", "RigL, constant fan-in", "RigL, N of 16"),
    "remedy": ("selected inputs, small dense", "random forest"),
}


@dataclass(frozen=True)
class Side:
    """A contender's runs, one a seed, and what they cost."""

    name: str
    runs: list[dict]

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Test accuracy (percent)."""
        return {run["config"]["seed"]: run["summary"]["test_accuracy"] for run in self.runs}

    @property
    def accuracy(self) -> float:
        return statistics.mean(self.by_seed.values())

    @property
    def weights(self) -> int:
        """Weights and biases; of a forest its nodes."""
        last = self.runs[0]["summary"]
        return last["active_weights"] + last.get("biases", 0)

    @property
    def macs(self) -> int:
        """Multiplications for one example; a forest has none."""
        return self.runs[0]["summary"].get("macs", 0)

    @property
    def bytes(self) -> int:
        """That the training holds from step to step; of a forest what it holds in the end."""
        return self.runs[0]["state_bytes"]

    @property
    def seconds(self) -> float:
        """Of the whole training, on one thread."""
        return typical_seconds(self.runs)


@dataclass(frozen=True)
class Standing:
    """A regime with who stands in which column; a column may be empty."""

    family: str
    told: str
    sides: Mapping[str, Side]
    margin: float
    on_map: bool = True

    def gap(self, column: str) -> Difference:
        """The moving sparse one minus that column's, in points, paired by seed."""
        mine, other = self.sides[DST].by_seed, self.sides[column].by_seed
        seeds = [seed for seed in mine if seed in other]
        return difference([mine[s] for s in seeds], [other[s] for s in seeds], self.margin)

    @property
    def gaps(self) -> dict[str, Difference]:
        return {column: self.gap(column) for column in self.sides if column != DST}


def in_regime(family: str, regime: Regime, sparsity: float | None = None) -> dict[str, Side]:
    """Everybody in a regime, by name, at a sparsity (that it was tuned at if none): from the recorded final runs."""
    here = dict.fromkeys(regime.contenders, regime.tuned_at if sparsity is None else sparsity)
    if regime.state:
        found = tuned(load_results(f"{family}-tuning"))
        here = {name: winner(found, name, regime).sparsity for name in here}
    runs: dict[str, list[dict]] = {name: [] for name in here}
    for run in load_results(family)["runs"]:
        config, name = run["config"], run["config"]["recipe"]["name"]
        about = regime.network, regime.data_set, regime.epochs
        is_here = (config["network"], config["data_set"], config["epochs"]) == about
        if is_here and name in here and config["sparsity"] in (0.0, here[name]):
            runs[name].append(run)
    return {name: Side(name, of) for name, of in runs.items()}


def champions(family: str, regime: Regime, sparsity: float | None = None) -> dict[str, Side]:
    """A column's contender in a regime: the best on held-out examples."""
    everybody, found = in_regime(family, regime, sparsity), tuned(load_results(f"{family}-tuning"))

    def on_held_out(name: str) -> float:
        return max(statistics.mean(seeds) for seeds in held_out(found, name, regime))

    return {
        column: everybody[max(there, key=on_held_out)]
        for column, names in COLUMNS.items()
        if (there := [name for name in names if name in everybody])
    }


_MODERN = {  # column -> (the recipe, its name there)
    "dense": ("tuned-dense", "dense"),
    "small dense": ("tuned-small-dense", "small dense"),
    "static mask": ("modern-static", "static mask"),
    DST: ("modern", "modern"),
}


def _elsewhere() -> Iterator[Standing]:
    """What was measured before on the slides' network, LeNet-300-100 and MNIST-1D."""
    frontier = by_recipe_and_sparsity(load_results("frontier"))

    def sides(runs: Mapping, sparsity: float, **others: tuple[str, str]) -> dict[str, Side]:
        return {
            column: Side(name, runs[recipe, 0.0 if name == "dense" else sparsity])
            for column, (recipe, name) in (_MODERN | others).items()
        }

    for sparsity in (0.95, 0.99):
        told = f"MNIST, the slides' network, {100 * sparsity:g}%"
        yield Standing("elsewhere", told, sides(frontier, sparsity), MARGINS["mnist"])
    narrow = sides(frontier, 0.95, **{"small dense": ("tuned-narrow-dense", "narrow dense")})
    yield Standing("elsewhere", "the same at as many multiplications, 95%", narrow, MARGINS["mnist"])
    lean = Side("lean", frontier["lean", 0.95])
    quick = [Side("small dense", runs) for (name, _), runs in frontier.items() if name == "fused-small-dense"]
    quick = max((side for side in quick if side.seconds <= lean.seconds), key=lambda side: side.seconds)
    timed = {"dense": narrow["dense"], "small dense": quick, DST: lean}
    yield Standing("elsewhere", "the same in as many seconds, 95%", timed, MARGINS["mnist"])
    for told, experiment, data_set in (("MNIST, LeNet-300-100, 95%", "ablation-lenet300100", "mnist"),
                                       ("MNIST-1D, 95%", "ablation-mlp1d", "mnist1d")):  # fmt: skip
        runs = by_recipe_and_sparsity(load_results(experiment))
        there = sides(runs, 0.95, **{"static mask": ("modern, static mask", "static mask")})
        yield Standing("elsewhere", told, there, MARGINS[data_set])


def families_recorded() -> list[str]:
    """The families of regimes whose final runs are there, all of them."""
    return [family for family in REGIMES if _is_recorded(family)]


def _is_recorded(family: str) -> bool:
    planned = decided(family, results_folder())
    if not planned or not (results_folder() / f"{family}.json").exists():
        return False
    return planned.runs().keys() <= {key_of(run["config"]) for run in load_results(family)["runs"]}


def standings(*, every: bool = False) -> list[Standing]:
    """All regimes that are recorded, at the sparsity that they were tuned at, and what was measured before.

    every   at all their recorded sparsities
    """
    found = []
    for family in families_recorded():
        for regime in REGIMES[family]:
            for sparsity in (None,) if regime.state else regime.sparsities if every else (regime.tuned_at,):
                told = regime.told + ("" if sparsity is None else f", {100 * sparsity:g}%")
                sides = champions(family, regime, sparsity)
                if DST in sides:
                    found.append(Standing(family, told, sides, regime.margin, regime.on_map))
    return [*found, *_elsewhere()]
