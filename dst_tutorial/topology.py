"""Dynamic sparse training: one drop-and-grow engine, for every kind of sparse layer.

A *topology update* drops some active connections and grows as many inactive ones, so that the sparsity never changes.
The slides say "prune" and "regrow". The engine imports no layer: it knows them through the protocol `Rewirable`, so
the same seed gives the same topology whatever form the layer is stored in.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from .positions import absent, draw_distinct, exact_floor
from .randomness import stream


class Rewirable(Protocol):
    """What the engine asks of a layer. Positions are sorted int64, row-major in the layer's weight tensor."""

    weight_shape: torch.Size
    active_weights: int
    parameter: nn.Parameter  # what the optimiser holds

    def active_positions(self) -> Tensor:
        """int64 [active_weights], sorted."""

    def active_values(self) -> Tensor:
        """The weights at `active_positions()`, detached."""

    def rewire(self, drop: Tensor, grow: Tensor, values: Tensor, moments: list[Tensor]) -> None:
        """Drop the connections at `drop`, then grow those at `grow` with `values`.

        `moments` are optimiser states of the shape of `parameter`: they become zero where connections came or went.
        """

    def clear_inactive(self) -> None:
        """Set stored weights of inactive connections to exact zeros (nothing to do where none are stored)."""


# --- criteria: which connections go, which come -----------------------------------------------------------------------


def by_magnitude(layer: Rewirable, count: int) -> Tensor:
    """Drop the `count` smallest |w|: their sorted positions. Of equal ones the first positions go."""
    order = layer.active_values().abs().argsort(stable=True)
    return layer.active_positions()[order[:count]].sort().values


def at_random(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Grow `count` connections, each position outside `taken` equally likely: their sorted positions (SET, slides)."""
    ranks = draw_distinct(layer.weight_shape.numel() - len(taken), count, generator)
    return absent(taken, ranks.to(taken.device))


DROP: dict[str, Callable] = {"magnitude": by_magnitude}
GROW: dict[str, Callable] = {"random": at_random}


# --- the engine -------------------------------------------------------------------------------------------------------


class DynamicSparsity:
    """Drops and grows connections of `model`'s sparse layers while `optimizer` trains them.

    Call `step()` after every `optimizer.step()` and `end_epoch()` after every epoch; both return whether the topology
    changed (`fit` does all this). The defaults are the slides' protocol:

    update_interval  a topology update comes every so many `unit`s
    unit             "epochs" or "steps"
    last_update      no update comes after this many units (None: no end). The slides still rewire after the last
                     epoch, just before the final evaluation; SET does not.
    drop_fraction    the share of each layer's active connections that is dropped, floor(drop_fraction * active);
                     0 gives the static control
    drop, grow       the criteria: names of `DROP` and `GROW`, or functions of their signature
    grown_std        grown weights start from grown_std * N(0, 1)
    bar_dropped      may a connection that was just dropped not be grown in the same update? In the slides it may.
    reset_moments    zero the optimiser's state of connections that come and go. The slides leave it as it is.
    seed             of all random choices; it touches no global random state
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        update_interval: int = 2,
        unit: str = "epochs",
        last_update: int | None = None,
        drop_fraction: float = 0.1,
        drop: str | Callable = "magnitude",
        grow: str | Callable = "random",
        grown_std: float = 0.01,
        bar_dropped: bool = False,
        reset_moments: bool = False,
        seed: int = 0,
    ):
        self.layers: dict[str, Rewirable] = {n: m for n, m in model.named_modules() if hasattr(m, "rewire")}
        if not self.layers:
            raise ValueError("nothing to rewire: the model has no masked layer; call sparsify(model, sparsity) first")
        if unit not in ("epochs", "steps"):
            raise ValueError(f"unknown unit {unit!r}; choose from epochs, steps")
        if update_interval < 1 or update_interval != int(update_interval):
            raise ValueError(f"update_interval must be a positive whole number of {unit}, got {update_interval!r}")
        if not 0 <= drop_fraction <= 1:
            raise ValueError(f"drop_fraction must be in [0, 1], got {drop_fraction!r}")
        for table, choice in ((DROP, drop), (GROW, grow)):
            if not callable(choice) and choice not in table:
                raise ValueError(f"unknown criterion {choice!r}; choose from {', '.join(table)}, or pass a function")
        self.optimizer = optimizer
        self.update_interval, self.unit, self.last_update = update_interval, unit, last_update
        self.drop_fraction = drop_fraction
        self.drop, self.grow = DROP.get(drop, drop), GROW.get(grow, grow)
        self.grown_std, self.bar_dropped, self.reset_moments = grown_std, bar_dropped, reset_moments
        self.generator = stream(seed, "topology")
        self.steps = self.epochs = self.updates = 0

    def step(self) -> bool:
        """Count one optimiser step; update the topology if it is time. Returns whether it changed."""
        for layer in self.layers.values():  # what a stale momentum did to inactive weights
            layer.clear_inactive()
        self.steps += 1
        return self.unit == "steps" and self._update_if_due(self.steps)

    def end_epoch(self) -> bool:
        """Count one epoch; update the topology if it is time. Returns whether it changed."""
        self.epochs += 1
        return self.unit == "epochs" and self._update_if_due(self.epochs)

    def _update_if_due(self, now: int) -> bool:
        if now % self.update_interval or (self.last_update is not None and now > self.last_update):
            return False
        return self.update() > 0

    def update(self) -> int:
        """One topology update of every layer, now. Returns the number of connections dropped (and grown)."""
        moved = sum(self._rewire(layer) for layer in self.layers.values())
        self.updates += moved > 0
        return moved

    def _rewire(self, layer: Rewirable) -> int:
        active = layer.active_positions()
        free = layer.weight_shape.numel() - len(active)
        count = exact_floor(self.drop_fraction, len(active))
        if self.bar_dropped:
            count = min(count, free)
        if not count or not free:  # too few connections to drop one of, or a dense layer
            return 0
        dropped = self.drop(layer, count)
        taken = active if self.bar_dropped else active[~torch.isin(active, dropped, assume_unique=True)]
        grown = self.grow(layer, taken, count, self.generator)
        values = self.grown_std * torch.randn(count, generator=self.generator)
        layer.rewire(dropped, grown, values, self._moments(layer) if self.reset_moments else [])
        return count

    def _moments(self, layer: Rewirable) -> list[Tensor]:
        state = self.optimizer.state.get(layer.parameter, {}).values()
        return [s for s in state if torch.is_tensor(s) and s.shape == layer.parameter.shape]

    def state_dict(self) -> dict:
        """What a checkpoint needs beside the model and the optimiser."""
        return {
            "steps": self.steps,
            "epochs": self.epochs,
            "updates": self.updates,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Take up the counters and the random state of `state_dict()`."""
        self.steps, self.epochs, self.updates = state["steps"], state["epochs"], state["updates"]
        self.generator.set_state(state["generator"])
