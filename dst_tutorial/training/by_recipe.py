"""Build and train a network by a recipe: `train("slides", load_mnist(), seed=42)`."""

import bisect
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from ..choices import choose
from ..layers import budget, check_sparsity, count_weights, macs, modes_kept, prunable_layers, sparsify
from ..topology import DynamicSparsity
from .data import Dataset
from .loop import Epoch, History, fit
from .models import SlideCNN
from .optim import Adam
from .recipes import RECIPES, Recipe, algorithm_of, find_recipe, with_options
from .tasks import most_telling

_WIDTHS = 256  # the steps of a width multiplier


@dataclass
class Run:
    """A trained network with all that is known of how it came to be."""

    config: dict
    model: nn.Module
    history: History = field(repr=False)
    macs: int = 0  # multiplications for one image, at the end of the training
    dense_macs: int = 0  # of the dense network

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
            "test_evaluations": self.history.test_evaluations,
            "active_weights": active,
            "total_weights": total,
            "biases": sum(p.numel() for n, p in self.model.named_parameters() if n.endswith("bias")),
            "macs": self.macs,
            "dense_macs": self.dense_macs,
            "seconds_per_epoch": self.history.curve("seconds"),
        }


def train(
    recipe: Recipe | str,
    data: Dataset,
    *,
    network: Callable[[], nn.Module] = SlideCNN,
    epochs: int = 10,
    sparsity: float = 0.95,
    seed: int = 42,
    progress: bool = True,
    backend: str = "masked",
    test_once: bool = False,
    checkpoint: Path | str | None = None,
    on_epoch: Callable[[Epoch], bool | None] | None = None,
) -> Run:
    """Build `network` and train it by `recipe`. The same seed gives the same run (on the same number of threads).

    `sparsity` does not concern the dense recipes, which report 0; `small-dense` is as small as a network of that
    sparsity. `backend` is the form of the sparse layers, "masked" or "sparse": the same topologies and, but for
    rounding, the same numbers. `test_once`, `checkpoint` and `on_epoch` are `fit`'s.
    """
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    check_sparsity(sparsity)
    choose(backend, {"masked": None, "sparse": None}, "backend")
    config = {
        "recipe": recipe.name,
        "network": network.__name__,
        "backend": backend if recipe.sparsify else "dense",
        "sparsity": sparsity if recipe.has_sparsity else 0.0,
        "seed": seed,
        "data_set": data.name,
        "train_size": len(data.train_labels),
        "test_size": len(data.test_labels),
    }
    model, all_inputs = build(recipe, network, sparsity, seed, backend), data.test_images[0]
    if recipe.inputs:
        data = most_telling(data, recipe.inputs)
    _check_it_reads(model, data, network)
    optimizer = optimizer_for(recipe, model, backend)
    history = fit(
        model,
        data,
        optimizer,
        epochs=epochs,
        batch_size=recipe.batch_size,
        topology=engine(recipe, model, optimizer, sparsity, seed),
        scheduler=scheduler(recipe, optimizer, epochs * math.ceil(len(data.train_labels) / recipe.batch_size)),
        seed=seed,
        progress=progress,
        test_once=test_once,
        checkpoint=checkpoint,
        config=config | {"options": asdict(recipe)},
        on_epoch=on_epoch,
    )
    dense = macs(build(RECIPES["dense"], network, 0.0, seed), all_inputs)
    return Run(config, model, history, sum(macs(model, data.test_images[0]).values()), sum(dense.values()))


def optimizer_for(recipe: Recipe, model: nn.Module, backend: str = "masked") -> torch.optim.Optimizer:
    """Adam with the recipe's learning rate, weight decay and L1 term: torch's, or ours beside truly sparse layers."""
    if recipe.weight_decay:
        kind = partial(torch.optim.AdamW, weight_decay=recipe.weight_decay)
    else:
        kind = Adam if backend == "sparse" else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=recipe.learning_rate)
    if recipe.l1:
        weights = [p for name, p in model.named_parameters() if not name.endswith("bias")]

        def add_gradient_of_l1(*_) -> None:
            for weight in weights:
                weight.grad.add_(weight.detach().sign(), alpha=recipe.l1)

        optimizer.register_step_pre_hook(add_gradient_of_l1)
    return optimizer


def rehearse(recipe: Recipe, data: Dataset, network: Callable[[], nn.Module], sparsity: float, backend: str) -> None:
    """A training of a few steps, from its checkpoint on, too: then all that is loaded and compiled only once is there.

    It looks at no test image.
    """
    if "update_interval" in algorithm_of(recipe).options():
        recipe = with_options(recipe, update_interval=2)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # the first stops behind an update, the second goes on from there
            done = train(
                recipe,
                data.take(128).hold_out(64),
                network=network,
                epochs=4,
                sparsity=sparsity,
                progress=False,
                backend=backend,
                checkpoint=Path(folder) / "checkpoint",
                on_epoch=lambda epoch: epoch.epoch == 2,
            )
    if done.history.interrupted:
        raise KeyboardInterrupt


def _check_it_reads(model: nn.Module, data: Dataset, network: Callable) -> None:
    shape = list(data.test_images.shape[1:])
    try:
        with torch.no_grad(), modes_kept(model):
            model.eval()(data.test_images[:1])
    except RuntimeError as error:
        raise ValueError(f"{network.__name__} does not read {data.name}, whose images are {shape}: {error}") from error


def build(recipe: Recipe, network: Callable[[], nn.Module], sparsity: float, seed: int,
          backend: str = "masked") -> nn.Module:  # fmt: skip
    """The untrained network of a recipe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
        if recipe.inputs and not recipe.small:
            raise ValueError(f"recipe {recipe.name!r} selects inputs: only a small network is made for those")
        if recipe.small:
            model, sparsity = _small(recipe, network, model, sparsity), 0.0
    if recipe.sparsify is None:
        return model
    if algorithm_of(recipe).regrows:
        return sparsify(model, sparsity, kind=backend, seed=seed, **recipe.sparsify)
    init = recipe.sparsify.get("init", "fan_in")
    return sparsify(model, 0.0, init=init, kind=backend, seed=seed)  # what only drops starts dense


def parameters_left(model: nn.Module, sparsity: float) -> int:
    """Parameters of the dense `model` at that sparsity: active weights, and all that is not a layer's weight."""
    weights = {name: layer.weight.shape for name, layer in prunable_layers(model).items()}
    total = sum(shape.numel() for shape in weights.values())
    return budget(weights, sparsity) + sum(p.numel() for p in model.parameters()) - total


def _small(recipe: Recipe, network: Callable[[], nn.Module], dense: nn.Module, sparsity: float) -> nn.Module:
    if not hasattr(network, "small"):
        raise ValueError(f"no small network of the kind of {network.__name__} is known: give it a classmethod `small`")
    if recipe.small is True:
        kind = network.reading((1, recipe.inputs), network.classes) if recipe.inputs else network
        return kind.small(parameters_left(dense, sparsity))
    image = torch.zeros(network.image)
    most = sum(macs(sparsify(dense, sparsity, **find_recipe(recipe.small).sparsify), image).values())
    steps = range(1, _WIDTHS + 1)
    too_wide = bisect.bisect(steps, most, key=lambda step: sum(macs(network.scaled(step / _WIDTHS), image).values()))
    if not too_wide:
        raise ValueError(f"no such network has as few as {most:,} multiplications: choose a lower sparsity")
    return network.scaled(too_wide / _WIDTHS)


def engine(recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, sparsity: float,
           seed: int) -> DynamicSparsity:  # fmt: skip
    """The recipe's algorithm on an untrained network."""
    algorithm, options = algorithm_of(recipe), recipe.topology
    if not algorithm.regrows:
        ends_with = {name: value for name, value in recipe.sparsify.items() if name in ("allocation", "densities")}
        options = {"sparsity": sparsity, **ends_with, **options}
    return algorithm(model, optimizer, seed=seed, **options)


def scheduler(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler | None:
    """The recipe's schedule of the learning rate over so many steps; None for a constant one."""
    if recipe.learning_rate_schedule == "constant":
        return None
    return CosineAnnealingLR(optimizer, steps)
