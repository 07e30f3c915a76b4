"""Dynamic sparse training: one drop-and-grow engine, for every algorithm and every kind of sparse layer.

A *topology update* drops some active connections and grows as many inactive ones, so that the sparsity never changes.
The slides say "prune" and "regrow". An algorithm is a choice of rules and of a schedule: `algorithms.py`. The engine
imports no layer: it knows them through the protocol `Rewirable`, so the same seed gives the same topology whatever form
the layer is stored in.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from .positions import absent, draw_distinct, exact, exact_floor
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

    def watch(self, on: bool) -> None:
        """Keep, or no longer keep, what the coming backward pass tells of the gradient of *all* weights."""

    def gradient_blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The watched gradient of all weights, inactive ones too, a block at a time: (first position, flat block)."""

    def rewire(self, drop: Tensor, grow: Tensor, values: Tensor, moments: list[Tensor]) -> None:
        """Drop the connections at `drop`, then grow those at `grow` with `values`.

        `moments` are optimiser states of the shape of `parameter`: they become zero where connections came or went.
        """

    def clear_inactive(self) -> None:
        """Set stored weights of inactive connections to exact zeros (nothing to do where none are stored)."""


# --- drop: which connections go. (layer, fraction) -> sorted positions ------------------------------------------------


def by_magnitude(layer: Rewirable, fraction: float | Fraction) -> Tensor:
    """Drop the floor(fraction * active) smallest |w|. Of equal ones the first positions go."""
    return _nearest_to_zero(layer.active_positions(), layer.active_values(), fraction).sort().values


def by_sign(layer: Rewirable, fraction: float | Fraction) -> Tensor:
    """SET's drop: that fraction of the positive weights, and of the negative ones; each time those nearest to zero.

    A weight of exactly zero counts as positive.
    """
    positions, values = layer.active_positions(), layer.active_values()
    halves = [_nearest_to_zero(positions[sign], values[sign], fraction) for sign in (values >= 0, values < 0)]
    return torch.cat(halves).sort().values


def _nearest_to_zero(positions: Tensor, values: Tensor, fraction: float | Fraction) -> Tensor:
    return positions[values.abs().argsort(stable=True)[: exact_floor(fraction, len(positions))]]


# --- grow: which connections come. (layer, taken, count, generator) -> sorted positions, none of them in `taken` ------


def at_random(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Grow `count` connections, each position outside `taken` equally likely (SET, slides)."""
    ranks = draw_distinct(layer.weight_shape.numel() - len(taken), count, generator)
    return absent(taken, ranks.to(taken.device))


def needs_gradient(rule: Callable) -> Callable:
    """Mark a growth rule that reads `layer.gradient_blocks()`: the engine then has it watched."""
    rule.needs_gradient = True
    return rule


@needs_gradient
def by_gradient(layer: Rewirable, taken: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Grow the `count` connections outside `taken` with the largest |gradient| (RigL). Of equal ones the first.

    Exact, and never more than a block and the best `count` so far in memory: the blocks stream by.
    """
    best = torch.empty(0, dtype=torch.int64, device=taken.device)
    scores = torch.empty(0, dtype=layer.parameter.dtype, device=taken.device)
    for first, block in layer.gradient_blocks():
        low, high = torch.searchsorted(taken, torch.tensor([first, first + len(block)], device=taken.device)).tolist()
        candidates = torch.ones(len(block), dtype=torch.bool, device=block.device)
        candidates[taken[low:high] - first] = False
        if 0 < count == len(best):
            candidates &= ~(block.abs() <= scores[-1])  # most fall here, before the sort; a NaN does not
        here = candidates.nonzero().flatten()
        best = torch.cat([best, here + first])
        scores = torch.cat([scores, block[here].abs()])
        order = scores.argsort(descending=True, stable=True)[:count]  # stable: of equal ones, the earlier block's
        best, scores = best[order], scores[order]
    return best.sort().values


DROP: dict[str, Callable] = {"magnitude": by_magnitude, "sign": by_sign}
GROW: dict[str, Callable] = {"random": at_random, "gradient": by_gradient}

# --- schedules: progress in [0, 1) up to the last update -> what is left of the drop fraction -------------------------

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,  # RigL
    "linear": lambda progress: 1 - progress,
}


# --- the engine -------------------------------------------------------------------------------------------------------


class DynamicSparsity:
    """Drops and grows connections of `model`'s sparse layers while `optimizer` trains them.

    Call `step()` in the place of `optimizer.step()`, and `end_epoch()` after every epoch; both return whether the
    topology changed (`fit` does all this). The options are class attributes, which an algorithm sets anew (see
    `algorithms.py`) and a keyword argument overrides; here they are the slides' protocol:

    update_interval  a topology update comes every so many `unit`s
    unit             "epochs" or "steps". An update that is due at a step comes in the place of the optimiser's step,
                     as in RigL's Algorithm 1
    stop             no update comes at or after this share of the training (None: no end). The slides still rewire
                     after the last epoch, just before the final evaluation; SET does not (1.0)
    drop_fraction    the share of each layer's active connections that is dropped, rounded down
    schedule         how that share shrinks until `stop`: "constant", "cosine" (RigL), "linear"
    drop, grow       the rules: names of `DROP` and `GROW`, or functions of their signature
    grown_std        grown weights start from grown_std * N(0, 1)
    bar_dropped      may a connection that was just dropped not be grown in the same update? In the slides, SET and RigL
                     it may
    reset_moments    zero the optimiser's state of connections that come and go. The slides leave it as it is

    duration         the length of the whole training in `unit`s, which `stop` and `schedule` refer to; `fit` sets it
    seed             of all random choices; it touches no global random state
    """

    update_interval: int = 2
    unit: str = "epochs"
    stop: float | None = None
    drop_fraction: float = 0.1
    schedule: str = "constant"
    drop: str | Callable = "magnitude"
    grow: str | Callable = "random"
    grown_std: float = 0.01
    bar_dropped: bool = False
    reset_moments: bool = False
    regrows = True  # not an option: what only drops (gradual pruning) says no

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, duration: int | None = None,
                 seed: int = 0, **options):  # fmt: skip
        if unknown := [name for name in options if name not in self.options()]:
            known = ", ".join(self.options())
            raise TypeError(f"{type(self).__name__} has no option {unknown[0]!r}; it has {known}")
        for name, value in options.items():
            setattr(self, name, value)
        self.optimizer, self.duration, self.seed = optimizer, duration, seed
        self.layers = self._find_layers(model)
        self._drop, self._grow = self._rule("drop", DROP), self._rule("grow", GROW)
        self._check()
        self.generator = stream(seed, "topology")
        self.steps = self.epochs = self.updates = 0
        self._stepped = False  # has the optimiser moved, other than through `step`?
        if optimizer is not None:
            optimizer.register_step_post_hook(self._notice_step)
        self._watch()

    @classmethod
    def options(cls) -> dict:
        """What a keyword argument may override, and what it is otherwise: the annotated class attributes."""
        names = [name for kind in cls.__mro__[::-1] for name in inspect.get_annotations(kind)]
        return {name: getattr(cls, name) for name in names}

    def _find_layers(self, model: nn.Module) -> dict[str, Rewirable]:
        layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "rewire")}
        if not layers:
            raise ValueError("nothing to rewire: the model has no masked layer; call sparsify(model, sparsity) first")
        return layers

    def _check(self) -> None:
        if self.unit not in ("epochs", "steps"):
            raise ValueError(f"unknown unit {self.unit!r}; choose from epochs, steps")
        for name, number in (("update_interval", self.update_interval), ("duration", self.duration)):
            if number is not None and (number < 1 or number != int(number)):
                raise ValueError(f"{name} must be a positive whole number of {self.unit}, got {number!r}")
        for name, share in (("drop_fraction", self.drop_fraction), ("stop", self.stop)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; choose from {', '.join(SCHEDULES)}")
        if self.unit == "epochs" and self._reads_gradient:
            raise ValueError(
                "this growth rule reads the gradient of the step that its update replaces: set unit='steps' and an "
                "update_interval in steps"
            )

    def _rule(self, half: str, table: dict[str, Callable]) -> Callable:
        choice = inspect.getattr_static(self, half)  # a function in a class's body is a rule, not a method
        choice = choice.__func__ if isinstance(choice, staticmethod) else choice
        if not callable(choice) and choice not in table:
            raise ValueError(f"unknown rule {choice!r}; choose from {', '.join(table)}, or pass a function")
        return choice if callable(choice) else table[choice]

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One step of the optimiser, or a topology update in its place. Returns whether the topology changed."""
        if self._stepped:
            raise RuntimeError("optimizer.step() was called: the engine's step() comes in its place, and calls it")
        self.steps += 1
        due = self.unit == "steps" and self._is_due(self.steps)
        changed = due and self.update() > 0
        if not changed:
            self.optimizer.step()
        for layer in self.layers.values():  # what a stale momentum did to inactive weights
            layer.clear_inactive()
        self._stepped = False
        self._watch()
        return changed

    def _notice_step(self, *_) -> None:
        self._stepped = True

    def end_epoch(self) -> bool:
        """Count one epoch; update the topology if it is time. Returns whether it changed."""
        self.epochs += 1
        return self.unit == "epochs" and self._is_due(self.epochs) and self.update() > 0

    @property
    def needs_duration(self) -> bool:
        """Does anything depend on how long the training is?"""
        return self.stop is not None or self.schedule != "constant"

    @property
    def end(self) -> float:
        """From here on no update comes (RigL's T_end), in `unit`s."""
        if not self.needs_duration:
            return math.inf
        if self.duration is None:
            raise ValueError(
                f"{type(self).__name__} must know how long the training is: pass duration= (in {self.unit}) to it, "
                f"or let fit() train"
            )
        return self.duration * (1.0 if self.stop is None else float(self.stop))

    def _is_due(self, now: int) -> bool:
        return now % self.update_interval == 0 and now < self.end

    def fraction_at(self, now: int) -> float:
        """The drop fraction of an update at time `now`, in `unit`s (RigL's f_decay)."""
        return self.drop_fraction * SCHEDULES[self.schedule](min(now / self.end, 1.0))

    @property
    def _reads_gradient(self) -> bool:
        return getattr(self._grow, "needs_gradient", False)

    def _watch(self) -> None:
        """Have the gradient watched if an update may come in the place of the next step."""
        if self._reads_gradient:
            for layer in self.layers.values():
                layer.watch((self.steps + 1) % self.update_interval == 0)

    # --- topology -----------------------------------------------------------------------------------------------------

    def update(self) -> int:
        """One topology update of every layer, now. Returns the number of connections dropped."""
        moved = sum(self._rewire(name, layer) for name, layer in self.layers.items())
        self.updates += moved > 0
        return moved

    @property
    def now(self) -> int:
        """Steps or epochs so far, whichever is the `unit`."""
        return self.steps if self.unit == "steps" else self.epochs

    def fraction_of(self, name: str, layer: Rewirable) -> float | Fraction:
        """The share of this layer's active connections to drop now."""
        return self.fraction_at(self.now)

    def _rewire(self, name: str, layer: Rewirable) -> int:
        active = layer.active_positions()
        free = layer.weight_shape.numel() - len(active)
        if not len(active) or (self.regrows and not free):  # an empty layer, or a dense one: nothing to exchange
            return 0
        fraction = self.fraction_of(name, layer)
        if self.bar_dropped:
            fraction = min(exact(fraction), Fraction(free, len(active)))
        dropped = self._drop(layer, fraction)
        if not len(dropped):
            return 0
        grown = self._choose_grown(name, layer, active, dropped) if self.regrows else dropped[:0]
        values = self.grown_std * torch.randn(len(grown), generator=self.generator)
        layer.rewire(dropped, grown, values, self._moments(layer) if self.reset_moments else [])
        return len(dropped)

    def _choose_grown(self, name: str, layer: Rewirable, active: Tensor, dropped: Tensor) -> Tensor:
        """By the growth rule, which may be a reader's own: its mistake must not cost a connection."""
        taken = active if self.bar_dropped else active[~torch.isin(active, dropped, assume_unique=True)]
        count, total = len(dropped), layer.weight_shape.numel()
        grown = self._grow(layer, taken, count, self.generator).unique()  # sorted
        if len(grown) != count or grown[0] < 0 or grown[-1] >= total or torch.isin(grown, taken).any():
            raise ValueError(
                f"the growth rule {getattr(self._grow, '__name__', self._grow)} must return {count} distinct positions "
                f"of {name}'s {total} outside `taken`; it returned {len(grown)} distinct ones, "
                f"{int(torch.isin(grown, taken).sum())} of them taken"
            )
        return grown

    def _moments(self, layer: Rewirable) -> list[Tensor]:
        state = self.optimizer.state.get(layer.parameter, {}).values()
        return [s for s in state if torch.is_tensor(s) and s.shape == layer.parameter.shape]

    # --- checkpoints --------------------------------------------------------------------------------------------------

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
        self._watch()
