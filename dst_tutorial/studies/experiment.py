"""What an experiment is: recipes x sparsities x seeds on one network and one data set; a family has several of them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..training import Recipe, algorithm_of, find_recipe
from . import slides
from .forest import Forest

Contender = Recipe | Forest


@dataclass(frozen=True)
class Experiment:
    name: str
    about: str
    recipes: tuple[str | Contender, ...]  # names of `RECIPES`, or variants of them
    seeds: tuple[int, ...]
    epochs: int
    sparsities: tuple[float, ...] = (slides.SPARSITY,)
    network: str = "SlideCNN"  # of NETWORKS
    data_set: str = "mnist"  # of DATASETS
    backend: str = "masked"  # of the sparse networks: see `by_recipe.train`
    test_once: bool = False  # look at the test images after the last epoch only
    condensed: bool = False  # its runs are many: only their summary ships, see `atlas.py`
    keep_masks: tuple[str, int] | None = None  # the (recipe, seed) whose masks are kept, for the pictures
    width: int = 1  # times the network's hidden units
    brief: bool = False  # of its short runs no epoch is kept but the last, and none is begun again where it stopped
    telling: int | None = None  # the first so many inputs say something: what is connected to them is counted
    watched: bool = False  # and not in the end only: after every epoch

    @property
    def data_sets(self) -> tuple[str, ...]:
        return (self.data_set,)

    def configs(self) -> list[dict]:
        """One config a run: everything that determines its result but the versions and the machine."""
        return [run.config for run in self.runs().values()]

    def runs(self) -> "dict[str, Planned]":
        """The same with what is trained, by `key_of` the config; dense needs one run a seed."""
        planned = (
            Planned(self._config(recipe, sparsity, seed), recipe, self)
            for seed in self.seeds
            for recipe in self._all_recipes()
            for sparsity in self.sparsities
        )
        return {key_of(run.config): run for run in planned}

    def _config(self, recipe: Contender, sparsity: float, seed: int) -> dict:
        return {
            "recipe": options_of(recipe),
            "network": self.network,
            "data_set": self.data_set,
            "seed": seed,
            "epochs": self.epochs,
            "sparsity": sparsity if recipe.has_sparsity else 0.0,
            **({"width": self.width} if self.width > 1 else {}),
            **({"backend": "sparse"} if self._is_truly_sparse(recipe) else {}),
            **({"test_once": True} if self.test_once else {}),
        }

    def _all_recipes(self) -> list[Contender]:
        return [find_recipe(recipe) if isinstance(recipe, str) else recipe for recipe in self.recipes]

    def _is_truly_sparse(self, recipe: Contender) -> bool:
        """A truly sparse layer has no place for the moments of connections that are not there."""
        if isinstance(recipe, Forest):
            return False
        options = algorithm_of(recipe).options() | recipe.topology
        return self.backend == "sparse" and (options.get("reset_moments", True))


class Planned(NamedTuple):
    """A run that is to be done."""

    config: dict
    recipe: Contender
    experiment: Experiment


@dataclass(frozen=True)
class Family:
    """Experiments whose runs stand in one result file."""

    name: str
    about: str
    parts: tuple[Experiment, ...]
    condensed, keep_masks = False, None

    @property
    def data_sets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.data_set for part in self.parts))

    def configs(self) -> list[dict]:
        return [run.config for run in self.runs().values()]

    def runs(self) -> dict[str, Planned]:
        return {key: run for part in self.parts for key, run in part.runs().items()}


_LATER = ("weight_decay", "l1", "inputs")  # not in the configs of runs that have none


def options_of(recipe: Contender) -> dict:
    """All that a recipe says, and what its algorithm does where it says nothing."""
    if isinstance(recipe, Forest):
        return asdict(recipe) | {"small": False, "sparsify": None}
    options = algorithm_of(recipe).options() | recipe.topology
    rules = {name: getattr(value, "__name__", value) for name, value in options.items()}  # JSON knows no function
    said = {k: v for k, v in asdict(recipe).items() if k != "about" and (v or k not in _LATER)}
    return said | {"topology": rules}


def key_of(config: dict) -> str:
    """The same for the same config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
