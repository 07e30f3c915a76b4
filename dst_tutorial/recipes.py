"""Named ways to train, a few lines each: `train(RECIPES["slides"], load_mnist(), seed=42)`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from .data import Dataset
from .models import SlideCNN
from .sparsify import check_sparsity, count_weights, sparsify
from .topology import DynamicSparsity
from .training import Epoch, History, fit


@dataclass(frozen=True)
class Recipe:
    """How to make a network sparse, move its topology and train it."""

    name: str
    about: str
    sparsify: dict | None = None  # options of `sparsify`; None: dense
    topology: dict | None = None  # options of `DynamicSparsity`; None: the topology stays as it is
    learning_rate: float = 1e-3  # of Adam
    batch_size: int = 64

    @property
    def backend(self) -> str:
        return "dense" if self.sparsify is None else "masked"


_SLIDES = {"allocation": "uniform", "init": "dense"}
_FAN_IN = _SLIDES | {"init": "fan_in"}
_SLIDES_DST = {
    "update_interval": 2,
    "unit": "epochs",
    "drop_fraction": 0.1,
    "drop": "magnitude",
    "grow": "random",
    "grown_std": 0.01,
    "bar_dropped": False,
    "reset_moments": False,
}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("dense", "all weights, the slides' optimiser: the baseline"),
        Recipe("slides", "the slides' Dense+Mask: every 2 epochs 10% dropped, regrown at random", _SLIDES, _SLIDES_DST),
        Recipe("slides-fan-in", "the slides' Dense+Mask, drawn for the actual fan-in", _FAN_IN, _SLIDES_DST),
        Recipe("slides-static", "the control: Dense+Mask with a mask that never moves", _SLIDES),
    )
}  # fmt: skip


@dataclass
class Run:
    """A trained network with all that is known of how it came to be."""

    config: dict
    model: nn.Module
    history: History = field(repr=False)

    def summary(self) -> dict:
        """Plain numbers, ready for JSON. Accuracy in percent."""
        last: Epoch | None = self.history.epochs[-1] if self.history.epochs else None
        active, total = count_weights(self.model)
        return {
            **self.config,
            "epochs": len(self.history.epochs),
            "interrupted": self.history.interrupted,
            "test_accuracy": last and last.test_accuracy,
            "test_loss": last and last.test_loss,
            "active_weights": active,
            "total_weights": total,
            "biases": sum(p.numel() for n, p in self.model.named_parameters() if n.endswith("bias")),
            "seconds_per_epoch": self.history.curve("seconds"),
        }


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; ValueError names those there are."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}")
    return RECIPES[name]


def train(
    recipe: Recipe | str,
    data: Dataset,
    *,
    network: Callable[[], nn.Module] = SlideCNN,
    epochs: int = 10,
    sparsity: float = 0.95,
    seed: int = 42,
    progress: bool = True,
    checkpoint: Path | str | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Build `network` and train it by `recipe`. The same seed gives the same run (on the same number of threads).

    `sparsity` does not concern the dense recipe, which reports 0. `checkpoint` and `on_epoch` are `fit`'s.
    """
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    check_sparsity(sparsity)
    config = {
        "recipe": recipe.name,
        "network": network.__name__,
        "backend": recipe.backend,
        "sparsity": sparsity if recipe.sparsify is not None else 0.0,
        "seed": seed,
        "data_set": data.name,
        "train_size": len(data.train_labels),
        "test_size": len(data.test_labels),
    }
    model = build(recipe, network, sparsity, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    topology = DynamicSparsity(model, optimizer, seed=seed, **recipe.topology) if recipe.topology else None
    history = fit(
        model,
        data,
        optimizer,
        epochs=epochs,
        batch_size=recipe.batch_size,
        topology=topology,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        config=config | {"options": asdict(recipe)},
        on_epoch=on_epoch,
    )
    return Run(config, model, history)


def build(recipe: Recipe, network: Callable[[], nn.Module], sparsity: float, seed: int) -> nn.Module:
    """The untrained network of a recipe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
    return model if recipe.sparsify is None else sparsify(model, sparsity, seed=seed, **recipe.sparsify)
