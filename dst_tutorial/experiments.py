"""The runs behind every recorded number.

An experiment is recipes x sparsities x seeds. Its result file in `figures/results/` holds one line a finished run:
config, summary, all epochs and the run's provenance. Starting it again repeats no finished run, and goes on with an
unfinished one from its last epoch. Every run is given one thread, so that neither the number of workers nor where they
are (on this machine's cores, or on a Dask cluster) changes a result.
"""

import hashlib
import io
import json
import logging
import math
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm

from . import slides
from .ablation import ADDED, BASE, MATTER, PATH, TAKEN
from .choices import choose
from .data import DATASETS, Dataset
from .ledger import peak_memory, state_bytes
from .measures import Mask, Masks, exploration_rate
from .models import NETWORKS
from .paths import data_folder, results_folder
from .provenance import provenance
from .recipes import Recipe, algorithm_of, find_recipe, rehearse, train
from .selection import CONTENDERS, ONLY_AT_95, TUNED_AT
from .training import History, Snapshot

log = logging.getLogger(__name__)


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
    backend: str = "masked"  # of the sparse networks: see `recipes.train`
    test_once: bool = False  # look at the test images after the last epoch only
    keep_masks: tuple[str, int] | None = None  # the (recipe, seed) whose masks are kept, for the pictures

    def configs(self) -> list[dict]:
        """One config a run: everything that determines its result but the versions and the machine."""
        configs = [
            {
                "recipe": _options(recipe),
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
        return list({_key(config): config for config in configs}.values())  # dense needs one run a seed

    def _all_recipes(self) -> list[Recipe]:
        return [find_recipe(recipe) if isinstance(recipe, str) else recipe for recipe in self.recipes]

    def _is_truly_sparse(self, recipe: Recipe) -> bool:
        """A truly sparse layer has no place for the moments of connections that are not there."""
        options = algorithm_of(recipe).options() | recipe.topology
        return self.backend == "sparse" and (options.get("reset_moments", True))

    def recipe(self, name: str) -> Recipe:
        """The one of that name."""
        return choose(name, {recipe.name: recipe for recipe in self._all_recipes()}, "recipe")


def _options(recipe: Recipe) -> dict:
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


def run(experiment: Experiment, folder: Path | None = None, *, workers: int = 1, executor: str = "local",
        address: str | None = None, progress: bool = True) -> Path:  # fmt: skip
    """Do the runs that the result file lacks, keep each as it finishes, and return the file.

    executor   "local": `workers` processes on this machine (with 1, this very process); "dask": all workers of the
               Dask cluster whose scheduler is at `address` ("tcp://host:8786"). They need this package in this version,
               MNIST, and one thread each (`dask worker --nthreads 1`): torch's random state is a process's
    ValueError for an unknown executor or an unfit cluster, and on the shipped sample: a recorded number stands for all
    of MNIST.
    """
    choose(executor, {"local": None, "dask": None}, "executor")
    if (executor == "dask") != bool(address):
        raise ValueError("the dask executor, and no other, needs the address of a scheduler (tcp://127.0.0.1:8786)")
    folder = folder or results_folder()
    file = folder / f"{experiment.name}.json"
    data = _whole(experiment.data_set)
    configs = experiment.configs()
    masks_file = folder / f"{experiment.name}_masks.npz"
    kept = _kept(experiment, folder)
    chosen = [config for config in configs if _is_chosen(config, experiment.keep_masks)]
    todo = [config for config in configs if _key(config) not in kept or (config in chosen and not masks_file.exists())]
    log.info("%s: %d of %d runs are done", experiment.name, len(configs) - len(todo), len(configs))
    if not todo:
        return file

    with _parallel(workers, address) as (parallel, forget):
        finished = parallel(
            delayed(_one_run)(config, experiment.recipe(config["recipe"]["name"]), config in chosen) for config in todo
        )
        for result, masks in tqdm(finished, total=len(todo), disable=not progress, unit="run"):
            if masks:
                _write(masks_file, masks)
            kept = _kept(experiment, folder) | {_key(result["config"]): result}  # another sweep may have written
            about = {"experiment": experiment.name, "about": experiment.about, "data_set": str(data)}
            _write(file, _one_run_a_line(about, [kept[_key(c)] for c in configs if _key(c) in kept]))
            forget(result["config"])  # not before the result is safe
    return file


@contextmanager
def _parallel(workers: int, address: str | None) -> Iterator[tuple[Parallel, Callable[[dict], None]]]:
    """joblib's Parallel, yielding results as they come, and what removes a run's checkpoint wherever it is."""
    if not address:
        yield Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="n_jobs"), _forget
        return
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ValueError("the dask executor needs the package distributed: pip install distributed") from error
    with Client(address) as client, parallel_config(backend="dask"):
        if threads := {name: n for name, n in client.nthreads().items() if n != 1}:
            raise ValueError(f"a run needs a process of its own: start the workers with --nthreads 1; now {threads}")
        yield Parallel(return_as="generator_unordered", batch_size=1), lambda config: client.run(_forget, config)


def _one_run_a_line(about: dict, runs: list[dict]) -> bytes:
    lines = ",\n".join(json.dumps(run) for run in runs)
    return f'{json.dumps(about)[:-1]}, "runs": [\n{lines}\n]}}\n'.encode()


def _kept(experiment: Experiment, folder: Path) -> dict[str, dict]:
    if not (folder / f"{experiment.name}.json").exists():
        return {}
    return {_key(result["config"]): result for result in load_results(experiment.name, folder)["runs"]}


def _is_chosen(config: dict, keep_masks: tuple[str, int] | None) -> bool:
    return keep_masks == (config["recipe"]["name"], config["seed"])


def load_results(name: str, folder: Path | None = None) -> dict:
    """The result file of an experiment. FileNotFoundError says how to make it."""
    return json.loads(_existing(folder, f"{name}.json", name).read_text(encoding="utf-8"))


def _existing(folder: Path | None, file: str, experiment: str) -> Path:
    path = (folder or results_folder()) / file
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make it with `python -m dst_tutorial sweep {experiment}`")
    return path


BENCHMARK, SPEED, SCALING = "benchmark.json", "speed.json", "scaling.json"


def record_benchmark(result: dict, folder: Path | None = None) -> Path:
    """Add a `benchmark.bench` to the recorded ones, in the place of one of the same work on the same machine."""
    return _record(result, BENCHMARK, ("network", "active_weights", "batch"), folder)


def record_speed(result: dict, folder: Path | None = None) -> Path:
    """The same for a `speed.measure`."""
    return _record(result, SPEED, ("case",), folder)


def record_scaling(result: dict, folder: Path | None = None) -> Path:
    """The same for a `speed.scaling`."""
    return _record(result, SCALING, ("density", "batch"), folder)


def load_benchmarks(folder: Path | None = None) -> list[dict]:
    """The recorded benchmarks, each as `benchmark.bench` returned it. FileNotFoundError says how to make them."""
    return _recorded(folder, BENCHMARK, "bench --record")


def load_speeds(folder: Path | None = None) -> list[dict]:
    """The same for `speed.measure`."""
    return _recorded(folder, SPEED, "speed --record")


def load_scaling(folder: Path | None = None) -> list[dict]:
    """The same for `speed.scaling`."""
    return _recorded(folder, SCALING, "scaling --record")


def _record(result: dict, name: str, work: tuple[str, ...], folder: Path | None) -> Path:
    path = (folder or results_folder()) / name

    def same(run: dict) -> tuple:
        return run["provenance"]["cpu"], run["provenance"]["gpu"], run["threads"], *(run[key] for key in work)

    kept = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    runs = [run for run in kept if same(run) != same(result)] + [result]
    _write(path, json.dumps({"runs": sorted(runs, key=lambda run: repr(same(run)))}, indent=1).encode())
    return path


def _recorded(folder: Path | None, name: str, how: str) -> list[dict]:
    path = (folder or results_folder()) / name
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; make it with `python -m dst_tutorial {how}`")
    return json.loads(path.read_text(encoding="utf-8"))["runs"]


def slides_benchmarks(batch: int = slides.SAMPLES, folder: Path | None = None) -> list[dict]:
    """The recorded benchmarks of the slides' network at the slides' sparsity, by number of threads.

    ValueError if they come from several machines, whose times do not belong in one table.
    """
    runs = [
        run
        for run in load_benchmarks(folder)
        if (run["network"], run.get("sparsity"), run["batch"]) == ("SlideCNN", slides.SPARSITY, batch)
    ]
    machines = {(run["provenance"]["cpu"], run["provenance"]["gpu"]) for run in runs}
    if len(machines) > 1:
        raise ValueError(f"{BENCHMARK} holds times of several machines ({machines}): keep those of one")
    if not runs:
        raise ValueError(f"{BENCHMARK} has no times for a batch of {batch}: `python -m dst_tutorial bench --record`")
    return sorted(runs, key=lambda run: run["threads"])


def by_recipe_and_sparsity(results: dict) -> dict[tuple[str, float], list[dict]]:
    """The runs of a result file: (recipe, sparsity) -> a run a seed, in the order of the recipes."""
    groups: dict[tuple[str, float], list[dict]] = {}
    for run in sorted(results["runs"], key=lambda run: run["config"]["sparsity"]):
        groups.setdefault((run["config"]["recipe"]["name"], run["config"]["sparsity"]), []).append(run)
    order = list(dict.fromkeys(run["config"]["recipe"]["name"] for run in results["runs"]))
    return {key: groups[key] for key in sorted(groups, key=lambda key: order.index(key[0]))}


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


def _masks_as_bytes(snapshots: list[Snapshot]) -> bytes:
    arrays = {
        f"{s.step}|{s.epoch}|{layer}|{'x'.join(map(str, mask.shape))}": np.packbits(mask.unpack())
        for s in snapshots
        for layer, mask in s.masks.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _one_run(config: dict, recipe: Recipe, with_masks: bool) -> tuple[dict, bytes | None]:
    """A run's result, ready for JSON, and its masks if they are asked for. Runs on any worker."""
    if _options(recipe) != config["recipe"]:  # another version of an algorithm would be recorded under a wrong name
        raise ValueError(f"this worker's {recipe.algorithm} is not the one asked for: install the same version there")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        source = provenance()  # of the code that starts the run, whatever is committed meanwhile
        data = _whole(config["data_set"])
        network, sparsity = NETWORKS[config["network"]], config["sparsity"]
        backend = config.get("backend", "masked")
        rehearse(recipe, data, network, sparsity, backend)
        with peak_memory() as peak:
            done = train(
                recipe,
                data,
                network=network,
                epochs=config["epochs"],
                sparsity=sparsity,
                seed=config["seed"],
                progress=False,
                backend=backend,
                test_once=config.get("test_once", False),
                checkpoint=_checkpoint(config),
            )
    finally:
        torch.set_num_threads(threads)
    if done.history.interrupted:
        raise KeyboardInterrupt
    snapshots = done.history.snapshots
    result = {
        "config": config,
        "summary": done.summary(),
        "state_bytes": state_bytes(done.model),
        "peak_bytes": peak(),
        "exploration_rate": exploration_rate(s.masks for s in snapshots) if snapshots else None,
        "updates": max(len(snapshots) - 1, 0),
        "epochs": [asdict(epoch) for epoch in done.history.epochs],
        "provenance": source,
    }
    return result, _masks_as_bytes(snapshots) if with_masks else None


def _whole(name: str) -> Dataset:
    data = DATASETS[name]()
    if data.is_sample:
        raise ValueError("a result file needs all of MNIST, and only the sample is at hand; run `... data` first")
    return data


def _forget(config: dict) -> None:
    _checkpoint(config).unlink(missing_ok=True)


def _checkpoint(config: dict) -> Path:
    name = f"{config['recipe']['name']}-{config['seed']}-{_key(config)}.safetensors"
    return data_folder() / "checkpoints" / name


def _key(config: dict) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, file)
