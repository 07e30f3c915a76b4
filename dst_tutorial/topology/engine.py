"""Dynamic sparse training: one drop-and-grow engine, for every algorithm and every kind of sparse layer.

A *topology update* drops some active connections and grows as many inactive ones, so that the sparsity never changes.
The slides say "prune" and "regrow". What goes and what comes is for `rules.py` to say; an algorithm is a choice of
rules and of a schedule: `algorithms.py`. The engine imports no layer: it knows them through the protocol `Rewirable`.
"""

import inspect
import logging
import math
import weakref
from collections.abc import Callable
from fractions import Fraction
from numbers import Real

import torch
from torch import Tensor, nn

from ..choices import choose
from ..positions import among, left
from ..randomness import stream
from .interrupts import interrupts_wait
from .rules import DROP, GROW, SCHEDULES, Rewirable

log = logging.getLogger(__name__)


def rewirable_layers(model: nn.Module) -> dict[str, Rewirable]:
    """The layers that the engine can rewire, by name."""
    return {name: layer for name, layer in model.named_modules() if hasattr(layer, "rewire")}


def _refuse_several_processes() -> None:
    if (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    ):
        raise RuntimeError(
            "an engine works in one process: each of several would drop and grow by its own batches, and their "
            "topologies would part. Train in one process, or with a mask that never moves (Static)"
        )


class DynamicSparsity:
    """Drops and grows connections of `model`'s sparse layers while `optimizer` trains them.

    Call `step()` in the place of `optimizer.step()`, and `end_epoch()` after every epoch; both return whether the
    topology changed (`fit` does all this). The options are class attributes, which an algorithm sets anew (see
    `algorithms.py`) and a keyword argument overrides; here they are the slides' protocol:

    update_interval  a topology update comes every so many `unit`s
    unit             "epochs" or "steps". An update that is due at a step comes in the place of the optimiser's step,
                     as in RigL's Algorithm 1 (so that an interval of one step would train nothing)
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

    Frozen layers (`requires_grad=False`) are left alone. ValueError if there is nothing to rewire, or the optimiser
    does not hold what there is; TypeError for an unknown option.
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
        self.optimizer, self.duration, self._own_duration = optimizer, duration, duration is not None
        self.layers = self._find_layers(model)
        self._drop, self._grow = self._rule("drop", DROP), self._rule("grow", GROW)
        self._check()
        if self.drop_fraction:
            _refuse_several_processes()
        self._left_alone: set[str] = set()
        self.start = {"seed": seed, "duration": duration}  # as it was given
        self.generator = stream(seed, "topology")
        self.steps = self.epochs = self.updates = 0
        self._notice_steps()
        self._watching = True  # for all that is known: an engine before this one may have left it so
        self._watch()

    @classmethod
    def options(cls) -> dict:
        """What a keyword argument may override, and what it is otherwise: the annotated class attributes."""
        names = [name for kind in cls.__mro__[::-1] for name in inspect.get_annotations(kind)]
        return {name: getattr(cls, name) for name in names}

    def _find_layers(self, model: nn.Module) -> dict[str, Rewirable]:
        layers = rewirable_layers(model)
        if not layers:
            raise ValueError("nothing to rewire: the model has no sparse layer; call sparsify(model, sparsity) first")
        self._check_held(layers)
        return layers

    def _check_held(self, layers: dict[str, Rewirable]) -> None:
        for name, layer in layers.items():
            if layer.parameter.requires_grad and not self._holds(layer):
                raise ValueError(
                    f"the optimiser does not hold {name or 'this layer'}: make it from the sparse model's parameters()"
                )

    def _holds(self, layer: Rewirable) -> bool:
        return any(p is layer.parameter for group in self.optimizer.param_groups for p in group["params"])

    def _check(self) -> None:
        closure = inspect.signature(self.optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ValueError(
                f"{type(self.optimizer).__name__} evaluates the loss in its step(), by a closure, and an engine steps "
                f"with gradients that are there: use SGD, Adam or their like"
            )
        choose(self.unit, {"epochs": None, "steps": None}, "unit")
        for name, number in (("update_interval", self.update_interval), ("duration", self.duration)):
            if number is not None and not (isinstance(number, Real) and number >= 1 and number == int(number)):
                raise ValueError(f"{name} must be a positive whole number of {self.unit}, got {number!r}")
        if not (isinstance(self.drop_fraction, Real) and 0 <= self.drop_fraction <= 1):
            raise ValueError(f"drop_fraction must be in [0, 1], got {self.drop_fraction!r}")
        if self.stop is not None and not (isinstance(self.stop, Real) and 0 < self.stop <= 1):
            raise ValueError(f"stop is a share of the training and must be in (0, 1], or None, got {self.stop!r}")
        choose(self.schedule, SCHEDULES, "schedule")
        if self.unit == "epochs" and self._reads_gradient:
            raise ValueError(
                "this growth rule reads the gradient of the step that its update replaces: set unit='steps' and an "
                "update_interval in steps"
            )

    def _rule(self, half: str, table: dict[str, Callable]) -> Callable:
        choice = inspect.getattr_static(self, half)  # a function in a class's body is a rule, not a method
        choice = choice.__func__ if isinstance(choice, staticmethod) else choice
        return choice if callable(choice) else choose(choice, table, f"{half} rule")

    def settings(self) -> dict:
        """All options as they are, plain values: what a result or a checkpoint says of the engine."""
        chosen = {name: getattr(self, name) for name in self.options()}
        return {name: getattr(value, "__name__", value) for name, value in chosen.items()}

    def _notice_steps(self) -> None:
        """Have the optimiser tell when it moves, so that nobody steps twice; without keeping this engine alive."""
        self._stepped, engine = False, weakref.ref(self)

        def notice(*_) -> None:
            if (mine := engine()) is not None:
                mine._stepped = True

        weakref.finalize(self, self.optimizer.register_step_post_hook(notice).remove)

    # --- time ---------------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One step of the optimiser, or a topology update in its place. Returns whether the topology changed."""
        if self._stepped:
            raise RuntimeError(
                "optimizer.step() was called: the engine's step() comes in its place, and calls it. (So there is no "
                "place for a GradScaler, which calls it, too: train in float32, or under autocast to bfloat16)"
            )
        self._check_duration()
        self.steps += 1
        due = self.unit == "steps" and self._is_due(self.steps)
        try:
            changed = due and self.update() > 0
            if not changed:
                self.optimizer.step()
            for layer in self.layers.values():  # what a stale momentum did to inactive weights
                layer.clear_inactive()
        finally:  # Ctrl-C may come here, too
            self._stepped = False
            self._watch()
        return changed

    @property
    def param_groups(self):
        """What a GradScaler, or a scheduler, would ask for."""
        raise TypeError(
            f"{type(self).__name__} is no optimiser: give its `optimizer` to schedulers; GradScaler cannot be used"
        )

    def end_epoch(self) -> bool:
        """Count one epoch; update the topology if it is time. Returns whether it changed."""
        self.epochs += 1
        return self.unit == "epochs" and self._is_due(self.epochs) and self.update() > 0

    def expect(self, epochs: int, steps: int) -> None:
        """What `fit` tells: so many more epochs, of so many steps each. A `duration` of one's own stays."""
        self._stepped = False
        if not self._own_duration:
            self.duration = self.now + epochs * (steps if self.unit == "steps" else 1)
        if self.unit == "steps" and self.update_interval == 1:
            raise ValueError("an update at every step leaves no step to the optimiser: choose an update_interval of 2")
        over = self.now + epochs * (steps if self.unit == "steps" else 1)
        first = (self.now // self.update_interval + 1) * self.update_interval
        if self.drop_fraction and not (first <= over and self._is_due(first)):
            log.warning(
                "no topology update will come: one is due every %d %s, and the last before %g. "
                "Train longer, or choose a smaller update_interval",
                self.update_interval,
                self.unit,
                min(self.end, over + 1),
            )

    @property
    def needs_duration(self) -> bool:
        """Does anything depend on how long the training is?"""
        return self.stop is not None or self.schedule != "constant"

    @property
    def end(self) -> float:
        """From here on no update comes (RigL's T_end), in `unit`s."""
        if not self.needs_duration:
            return math.inf
        self._check_duration()
        return self.duration * (1.0 if self.stop is None else float(self.stop))

    def _check_duration(self) -> None:
        if self.needs_duration and self.duration is None:
            raise ValueError(
                f"{type(self).__name__} must know how long the training is: pass duration= (in {self.unit}) to it, "
                f"or let fit() train"
            )

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
            next_step = self.steps + 1
            over = self.duration is not None and next_step >= self.end
            due, was_due = next_step % self.update_interval == 0 and not over, self._watching
            self._watching = due
            for layer in self.layers.values() if due or was_due else ():
                layer.watch(due)

    # --- topology -----------------------------------------------------------------------------------------------------

    def update(self) -> int:
        """One topology update of every layer, now. Returns the number of connections dropped.

        A layer that took no part in the batch of an update that reads its gradient (stochastic depth) is left alone.
        RuntimeError in one of several processes, whose topologies would part.
        """
        if self.drop_fraction:
            _refuse_several_processes()
        with interrupts_wait():  # all is chosen before anything moves: a rule that fails leaves every layer as it was
            chosen = [(layer, *self._choose(name, layer)) for name, layer in self._layers_to_rewire()]
            moved = sum(self._rewire(*one) for one in chosen)
            self.updates += moved > 0
        return moved

    def _layers_to_rewire(self) -> list[tuple[str, Rewirable]]:
        ready = [(name, layer) for name, layer in self.layers.items() if self._may_move(name, layer)]
        if not self._reads_gradient:
            return ready
        heard = [(name, layer) for name, layer in ready if layer.gradient_blocks() is not None]
        return heard or ready  # without any gradient, the rule says what is missing

    def _may_move(self, name: str, layer: Rewirable) -> bool:
        """What is frozen stays. What the optimiser does not hold would lose weights and never train the new ones."""
        if layer.parameter.requires_grad and not self._holds(layer):
            if name not in self._left_alone:
                log.warning("%s is left alone: it was unfrozen, and the optimiser does not hold it; add it there", name)
            self._left_alone.add(name)
            return False
        return layer.parameter.requires_grad

    @property
    def now(self) -> int:
        """Steps or epochs so far, whichever is the `unit`."""
        return self.steps if self.unit == "steps" else self.epochs

    def fraction_of(self, name: str, layer: Rewirable) -> float | Fraction:
        """The share of this layer's active connections to drop now."""
        return self.fraction_at(self.now)

    def _choose(self, name: str, layer: Rewirable) -> tuple[Tensor, Tensor, Tensor]:
        """Positions to drop, positions to grow, and what grown weights start from."""
        active = layer.active_positions()
        free = layer.weight_shape.numel() - len(active)
        nothing_to_exchange = not len(active) or (self.regrows and not free)  # an empty layer, or a dense one
        dropped = active[:0] if nothing_to_exchange else self._choose_dropped(name, layer, active, free)
        grown = self._choose_grown(name, layer, active, dropped) if self.regrows and len(dropped) else dropped[:0]
        return dropped, grown, self.grown_std * torch.randn(len(grown), generator=self.generator, device="cpu")

    def _rewire(self, layer: Rewirable, dropped: Tensor, grown: Tensor, values: Tensor) -> int:
        if len(dropped):
            before = layer.parameter
            layer.rewire(dropped, grown, values, self._moments(layer), self.reset_moments)
            if layer.parameter is not before:
                self._replace(before, layer.parameter)
        return len(dropped)

    def _choose_dropped(self, name: str, layer: Rewirable, active: Tensor, free: int) -> Tensor:
        """By the drop rule, which may be a reader's own: its mistake must not cost a connection."""
        chosen = self._positions(self._drop(layer, self.fraction_of(name, layer), self.generator), self._drop, "drop")
        dropped = chosen.unique()  # sorted
        if len(dropped) != len(chosen) or not among(dropped, active).all():
            raise ValueError(
                f"the drop rule {getattr(self._drop, '__name__', self._drop)} must return distinct active positions of "
                f"{name}; it returned {len(chosen)}, {len(dropped)} distinct, "
                f"{int((~among(dropped, active)).sum())} of them inactive"
            )
        if self.bar_dropped and len(dropped) > free:  # there is no room to grow as many: the largest of them stay
            magnitudes = layer.active_values()[torch.searchsorted(active, dropped)].abs()
            dropped = dropped[magnitudes.argsort(stable=True)[:free]].sort().values
        return dropped

    def _choose_grown(self, name: str, layer: Rewirable, active: Tensor, dropped: Tensor) -> Tensor:
        """By the growth rule, likewise."""
        taken = active if self.bar_dropped else active[left(active, dropped)]
        count, total = len(dropped), layer.weight_shape.numel()
        try:
            chosen = self._grow(layer, taken, count, self.generator)
        except RuntimeError as error:
            raise RuntimeError(f"{name}: {error}") from error
        grown = self._positions(chosen, self._grow, "growth").unique()  # sorted
        if len(grown) != count or grown[0] < 0 or grown[-1] >= total or among(grown, taken).any():
            raise ValueError(
                f"the growth rule {getattr(self._grow, '__name__', self._grow)} must return {count} distinct positions "
                f"of {name}'s {total} outside `taken`; it returned {len(grown)} distinct ones, "
                f"{int(among(grown, taken).sum())} of them taken"
            )
        return grown

    @staticmethod
    def _positions(chosen, rule: Callable, half: str) -> Tensor:
        if not torch.is_tensor(chosen) or chosen.dtype != torch.int64:
            got = f"a tensor of {chosen.dtype}" if torch.is_tensor(chosen) else f"a {type(chosen).__name__}"
            name = getattr(rule, "__name__", rule)
            raise TypeError(f"the {half} rule {name} must return positions, an int64 tensor; it returned {got}")
        return chosen.flatten()

    def _replace(self, before: nn.Parameter, now: nn.Parameter) -> None:
        """Have the optimiser hold another parameter, with the state of the one before."""
        for group in self.optimizer.param_groups:
            group["params"] = [now if p is before else p for p in group["params"]]
        if before in self.optimizer.state:
            self.optimizer.state[now] = self.optimizer.state.pop(before)

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
