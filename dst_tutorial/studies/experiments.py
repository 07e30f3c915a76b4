"""The runs behind every recorded number.

An experiment is recipes x sparsities x seeds. Its result file in `figures/results/` holds one line a finished run:
config, summary, all epochs and the run's provenance. `runner.py` does the runs.
"""

import hashlib
import json
import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..choices import choose
from ..paths import results_folder
from ..topology import Mask, Masks
from ..training import History, Recipe, Snapshot, algorithm_of, find_recipe
from . import atlas, slides
from .ablation import ADDED, BASE, MATTER, PATH, TAKEN
from .paired import Difference, difference
from .selection import CONTENDERS, ONLY_AT_95, TUNED_AT


@dataclass(frozen=True)
class Experiment:
    name: str
    about: str
    recipes: tuple[str | Recipe, ...]  # names of `RECIPES`, or variants of them
    seeds: tuple[int, ...]
    epochs: int
    sparsities: tuple[float, ...] = (slides.SPARSITY,)
    network: str = "SlideCNN"  # of NETWORKS
    data_set: str = "mnist"  # of DATASETS
    backend: str = "masked"  # of the sparse networks: see `by_recipe.train`
    test_once: bool = False  # look at the test images after the last epoch only
    condensed: bool = False  # its runs are many: only their summary ships, see `atlas.py`
    keep_masks: tuple[str, int] | None = None  # the (recipe, seed) whose masks are kept, for the pictures

    def configs(self) -> list[dict]:
        """One config a run: everything that determines its result but the versions and the machine."""
        configs = [
            {
                "recipe": options_of(recipe),
                "network": self.network,
                "data_set": self.data_set,
                "seed": seed,
                "epochs": self.epochs,
                "sparsity": sparsity if recipe.has_sparsity else 0.0,
                **({"backend": "sparse"} if self._is_truly_sparse(recipe) else {}),
                **({"test_once": True} if self.test_once else {}),
            }
            for seed in self.seeds
            for recipe in self._all_recipes()
            for sparsity in self.sparsities
        ]
        return list({key_of(config): config for config in configs}.values())  # dense needs one run a seed

    def _all_recipes(self) -> list[Recipe]:
        return [find_recipe(recipe) if isinstance(recipe, str) else recipe for recipe in self.recipes]

    def _is_truly_sparse(self, recipe: Recipe) -> bool:
        """A truly sparse layer has no place for the moments of connections that are not there."""
        options = algorithm_of(recipe).options() | recipe.topology
        return self.backend == "sparse" and (options.get("reset_moments", True))

    def recipe(self, name: str) -> Recipe:
        """The one of that name."""
        return choose(name, {recipe.name: recipe for recipe in self._all_recipes()}, "recipe")


def options_of(recipe: Recipe) -> dict:
    """All that a recipe says, and what its algorithm does where it says nothing."""
    options = algorithm_of(recipe).options() | recipe.topology
    rules = {name: getattr(value, "__name__", value) for name, value in options.items()}  # JSON knows no function
    return {k: v for k, v in asdict(recipe).items() if k != "about"} | {"topology": rules}


FRESH = (200, 201, 202, 203, 204)  # no run before the recipes were frozen had one of these seeds

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "slides",
            "the slides' results table: dense, Dense+Mask with DST, and two controls (static mask, fan-in init)",
            recipes=("dense", "slides", "slides-static", "slides-fan-in"),
            seeds=(42, 43, 44),
            epochs=10,
            keep_masks=("slides", 42),
        ),
        Experiment(
            "algorithms",
            "SET and RigL as their papers have them, on the slides' network and budget, and their controls",
            recipes=("erk-rigl", "static", "small-dense", "set", "dense-cosine"),
            seeds=(42, 43, 44),
            epochs=10,
        ),
        Experiment(
            "mnist1d",
            "SET, RigL and their controls on MNIST-1D, where accuracy does not saturate",
            recipes=("dense-cosine", "small-dense", "static", "set", "erk-rigl"),
            seeds=(42, 43, 44, 45, 46),
            epochs=60,
            sparsities=(0.8, 0.9, 0.95),
            network="MLP1D",
            data_set="mnist1d",
        ),
        Experiment(
            "forms",
            "truly sparse training beside dense training and a dense network of as many weights: what each costs",
            recipes=("uniform-rigl", "erk-rigl", "dense-cosine", "small-dense"),
            seeds=(42, 43, 44),
            epochs=10,
            backend="sparse",
        ),
        Experiment(
            "selection",
            "what each contender chooses from, on images held out of the training set",
            recipes=tuple(c for name, those in CONTENDERS.items() if name not in ONLY_AT_95 for c in those),
            seeds=(100, 101),
            epochs=10,
            sparsities=TUNED_AT,
            data_set="mnist-validation",
            backend="sparse",
        ),
        Experiment(
            "selection-lean",
            "the same within a tenth of the dense multiplications",
            recipes=tuple(c for name in ONLY_AT_95 for c in CONTENDERS[name]),
            seeds=(100, 101),
            epochs=10,
            data_set="mnist-validation",
            backend="sparse",
        ),
        Experiment(
            "frontier",
            "the best recipe, its controls and its rivals, frozen before: fresh seeds, test images looked at once",
            recipes=(
                *("modern", "lean", "modern-static", "tuned-small-dense", "tuned-narrow-dense", "tuned-narrow-lean"),
                *("tuned-dense", "tuned-dense-constant"),
            ),
            seeds=FRESH,
            epochs=10,
            sparsities=(0.9, 0.95, 0.98, 0.99, 0.995),
            backend="sparse",
            test_once=True,
        ),
        Experiment(
            "atlas",
            "short trainings at every point of a grid, for the explorers",
            recipes=atlas.RECIPES,
            seeds=atlas.SEEDS,
            epochs=atlas.EPOCHS,
            sparsities=atlas.CHOICES["sparsity"],
            network="LeNet300100",
            data_set="mnist-6000",
            backend="sparse",
            condensed=True,
        ),
        Experiment(
            "ablation",
            "what each ingredient is worth: alone on top of the slides' protocol, and taken from the best recipe",
            recipes=("slides", BASE, *ADDED, *PATH, *TAKEN),
            seeds=FRESH,  # so that every row is paired with the frontier's
            epochs=10,
            backend="sparse",
            test_once=True,
        ),
        *(
            Experiment(
                f"ablation-{network.lower()}",
                f"the rows that matter, on {about}",
                recipes=(BASE, *(r for r in (*ADDED, *TAKEN) if r.name in MATTER), *PATH, "modern",
                         "tuned-small-dense", "tuned-dense", "tuned-dense-constant"),
                seeds=FRESH,
                epochs=epochs,
                network=network,
                data_set=data_set,
                backend="sparse",
                test_once=True,
            )
            for network, data_set, epochs, about in (
                ("LeNet300100", "mnist", 10, "LeNet-300-100"),
                ("MLP1D", "mnist1d", 60, "MNIST-1D, where accuracy does not saturate"),
            )
        ),
    )
}  # fmt: skip


def load_results(name: str, folder: Path | None = None) -> dict:
    """The result file of an experiment. FileNotFoundError says how to make it."""
    return json.loads(_existing(folder, f"{name}.json", name).read_text(encoding="utf-8"))


def _existing(folder: Path | None, file: str, experiment: str) -> Path:
    path = (folder or results_folder()) / file
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make it with `python -m dst_tutorial sweep {experiment}`")
    return path


def by_recipe_and_sparsity(results: dict) -> dict[tuple[str, float], list[dict]]:
    """The runs of a result file: (recipe, sparsity) -> a run a seed, in the order of the recipes."""
    groups: dict[tuple[str, float], list[dict]] = {}
    for run in sorted(results["runs"], key=lambda run: run["config"]["sparsity"]):
        groups.setdefault((run["config"]["recipe"]["name"], run["config"]["sparsity"]), []).append(run)
    order = list(dict.fromkeys(run["config"]["recipe"]["name"] for run in results["runs"]))
    return {key: groups[key] for key in sorted(groups, key=lambda key: order.index(key[0]))}


def differences(results: dict, recipe: str, rival: str) -> dict[float, Difference]:
    """Test accuracy of `recipe` minus that of `rival`, by sparsity, paired by seed; all-weights rivals have one."""

    def by_seed(name: str) -> dict[float, dict[int, float]]:
        found: dict[float, dict[int, float]] = {}
        for (of, sparsity), runs in by_recipe_and_sparsity(results).items():
            if of == name:
                found[sparsity] = {run["config"]["seed"]: run["summary"]["test_accuracy"] for run in runs}
        return found

    mine, other = by_seed(recipe), by_seed(rival)
    pairs = {sparsity: (mine[sparsity], other.get(sparsity, other.get(0.0))) for sparsity in mine}
    return {sparsity: difference(list(a.values()), [b[seed] for seed in a]) for sparsity, (a, b) in pairs.items() if b}


def at_sparsity(results: dict, sparsity: float) -> dict:
    """The runs at that sparsity, and the dense ones."""
    return results | {"runs": [run for run in results["runs"] if run["config"]["sparsity"] in (0.0, sparsity)]}


def typical_seconds(runs: list[dict]) -> float:
    """Of the whole training: the median epoch times their number, which a disturbed epoch does not move."""
    seconds = [s for run in runs for s in run["summary"]["seconds_per_epoch"]]
    return statistics.median(seconds) * runs[0]["summary"]["epochs"]


def final_accuracies(results: dict) -> dict[str, list[float]]:
    """Last-epoch test accuracy (percent) of an experiment at one sparsity: recipe -> a number a seed, in order."""
    accuracies: dict[str, list[float]] = {}
    for result in results["runs"]:
        accuracies.setdefault(result["summary"]["recipe"], []).append(result["summary"]["test_accuracy"])
    return accuracies


def load_masks(name: str, folder: Path | None = None) -> History:
    """The recorded masks of an experiment's chosen run, as the snapshots of a History (`.masks_at(epoch)`).

    FileNotFoundError says how to make them.
    """
    file = _existing(folder, f"{name}_masks.npz", name)
    masks: dict[tuple[int, int], Masks] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            step, epoch, layer, shape = key.split("|")
            shape = tuple(map(int, shape.split("x")))
            mask = Mask.of(np.unpackbits(arrays[key], count=math.prod(shape)).reshape(shape))
            masks.setdefault((int(step), int(epoch)), {})[layer] = mask
    return History(snapshots=[Snapshot(step, epoch, m) for (step, epoch), m in masks.items()])


def key_of(config: dict) -> str:
    """The same for the same config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
