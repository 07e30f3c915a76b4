"""What experiments came to, read from their result files in `figures/results/`: a line a finished run."""

import json
import math
import statistics
from pathlib import Path

import numpy as np

from ..paths import reading, results_folder
from ..topology import Mask, Masks
from ..training import History, Snapshot
from .paired import MARGINS, Difference, difference


def load_results(name: str, folder: Path | None = None) -> dict:
    """The result file of an experiment. FileNotFoundError says how to make it, ValueError names a damaged one."""
    path = _existing(folder, f"{name}.json", name)
    with reading(path):
        results = json.loads(path.read_text(encoding="utf-8"))
        return results | {"runs": list(results["runs"])}


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


def accuracies(runs: list[dict]) -> list[float]:
    """Last-epoch test accuracy (percent), one a run."""
    return [run["summary"]["test_accuracy"] for run in runs]


def final_accuracies(results: dict) -> dict[str, list[float]]:
    """The same of an experiment at one sparsity: recipe -> one a seed, in order."""
    return {recipe: accuracies(runs) for (recipe, _), runs in by_recipe_and_sparsity(results).items()}


def accuracy_curves(results: dict) -> dict[str, list[list[float]]]:
    """Test accuracy by epoch, of an experiment at one sparsity: recipe -> a list a seed."""
    return {
        recipe: [[epoch["test_accuracy"] for epoch in run["epochs"]] for run in runs]
        for (recipe, _), runs in by_recipe_and_sparsity(results).items()
    }


def margin_of(results: dict) -> float:
    """What counts as level on the data set of a result file, in points."""
    return MARGINS[results["runs"][0]["config"]["data_set"].partition("-")[0]]


def differences(results: dict, recipe: str, rival: str) -> dict[float, Difference]:
    """Test accuracy of `recipe` minus that of `rival`, by sparsity; all-weights rivals have one.

    Paired by seed: one that only one side has does not count.
    """

    def by_seed(name: str) -> dict[float, dict[int, float]]:
        found: dict[float, dict[int, float]] = {}
        for (of, sparsity), runs in by_recipe_and_sparsity(results).items():
            if of == name:
                found[sparsity] = {run["config"]["seed"]: run["summary"]["test_accuracy"] for run in runs}
        return found

    mine, other = by_seed(recipe), by_seed(rival)
    pairs = {sparsity: (mine[sparsity], other.get(sparsity, other.get(0.0))) for sparsity in mine}
    return {
        sparsity: difference(*zip(*((a[seed], b[seed]) for seed in a if seed in b), strict=True), margin_of(results))
        for sparsity, (a, b) in pairs.items()
        if b
    }


def at_sparsity(results: dict, sparsity: float) -> dict:
    """The runs at that sparsity, and the dense ones."""
    return results | {"runs": [run for run in results["runs"] if run["config"]["sparsity"] in (0.0, sparsity)]}


def typical_seconds(runs: list[dict]) -> float:
    """Of the whole training: each epoch's median over the runs, which a disturbed one does not move, added up.

    Epochs may differ: gradual pruning begins dense.
    """
    return sum(map(statistics.median, zip(*(run["summary"]["seconds_per_epoch"] for run in runs), strict=True)))


def load_masks(name: str, folder: Path | None = None) -> History:
    """The recorded masks of an experiment's chosen run, as the snapshots of a History (`.masks_at(epoch)`).

    FileNotFoundError says how to make them, ValueError names a damaged file.
    """
    file = _existing(folder, f"{name}_masks.npz", name)
    masks: dict[tuple[int, int], Masks] = {}
    with reading(file), np.load(file) as arrays:
        for key in arrays.files:
            step, epoch, layer, shape = key.split("|")
            shape = tuple(map(int, shape.split("x")))
            mask = Mask.of(np.unpackbits(arrays[key], count=math.prod(shape)).reshape(shape))
            masks.setdefault((int(step), int(epoch)), {})[layer] = mask
    return History(snapshots=[Snapshot(step, epoch, m) for (step, epoch), m in masks.items()])
