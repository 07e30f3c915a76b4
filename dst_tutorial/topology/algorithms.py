"""The algorithms and their controls: each a few lines on the engine of `engine.py`."""

from fractions import Fraction

import torch
from torch import nn

from ..choices import choose
from ..layers import ALLOCATIONS, allocate, check_sparsity
from .engine import DynamicSparsity, rewirable_layers
from .rules import Rewirable


class SET(DynamicSparsity):
    """Sparse evolutionary training: after every epoch but the last, drop by sign, grow at random.

    zeta = 0.3 as in the paper, which leaves open what new weights start from: zero here, as in RigL. (After the last
    epoch the paper's Algorithm 1 drops and does not grow; here the sparsity stays.)
    Source: Mocanu et al., Nature Communications 2018, arXiv 1707.04780.
    """

    update_interval, unit, stop = 1, "epochs", 1.0
    drop, drop_fraction = "sign", 0.3
    grown_std, reset_moments = 0.0, True


class RigL(DynamicSparsity):
    """The rigged lottery: every 100 steps, drop by magnitude, grow where the loss has the largest gradient.

    k = floor(f(t) * active) in each layer, f(t) = alpha / 2 (1 + cos(pi t / T_end)), alpha = 0.3, T_end = 75% of the
    training; new weights and their optimiser state are zero. A connection that was just dropped may return: as a new
    one, from zero. (The authors' TensorFlow code lets it keep its value; their paper says that grown ones are zero.)
    Source: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, arXiv 1911.11134.
    """

    update_interval, unit, stop = 100, "steps", 0.75
    drop_fraction, schedule = 0.3, "cosine"
    grow = "gradient"
    grown_std, reset_moments = 0.0, True


class Static(DynamicSparsity):
    """The control: nothing is ever dropped or grown. It trains dense networks, too, and has no options."""

    drop_fraction = 0.0

    @classmethod
    def options(cls) -> dict:
        return {}

    def _find_layers(self, model: nn.Module) -> dict[str, Rewirable]:
        layers = rewirable_layers(model)
        self._check_held(layers)
        return layers


class GMP(DynamicSparsity):
    """Gradual magnitude pruning, the control that starts dense: it drops by magnitude and never grows.

    A layer of n weights keeps k + (n - k) (1 - t / T_end)^3 of them, down to its k by `allocation` and `sparsity`.
    It trains a dense network for a good part of the time: that is its price, and the reason why it is a control.
    Source: Zhu and Gupta, "To prune, or not to prune", arXiv 1710.01878.

    sparsity, allocation, densities  what it ends with: see `sparsify`, whose result at sparsity 0 it starts from
    """

    update_interval, unit, stop = 100, "steps", 0.75
    reset_moments, regrows = True, False
    sparsity: float = 0.95
    allocation: str = "erk"
    densities: dict[str, float] | None = None

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, **options):
        super().__init__(model, optimizer, **options)
        shapes = {name: layer.weight_shape for name, layer in self.layers.items()}
        divide = choose(self.allocation, ALLOCATIONS, "allocation")
        self.kept = allocate(shapes, check_sparsity(self.sparsity), divide, self.densities or {})

    @classmethod
    def options(cls) -> dict:
        """Those that concern what only drops, by magnitude, as far as the cubic schedule says."""
        own = ("update_interval", "unit", "stop", "reset_moments", "sparsity", "allocation", "densities")
        return {name: getattr(cls, name) for name in own}

    @property
    def end(self) -> float:
        """The last update, which completes the pruning, comes at this multiple of the interval."""
        last = super().end // self.update_interval * self.update_interval
        if not last:
            raise ValueError(f"update_interval must be at most {super().end:g} {self.unit}, or nothing is ever pruned")
        return last

    def _is_due(self, now: int) -> bool:
        return now <= self.end and now % self.update_interval == 0

    def fraction_of(self, name: str, layer: Rewirable) -> Fraction:
        total, kept, active = layer.weight_shape.numel(), self.kept[name], layer.active_weights
        left = Fraction(max(0.0, 1 - self.now / self.end)) ** 3
        goal = kept + round((total - kept) * left)
        return Fraction(max(active - goal, 0), active)


ALGORITHMS: dict[str, type[DynamicSparsity]] = {
    "slides": DynamicSparsity,
    "SET": SET,
    "RigL": RigL,
    "static": Static,
    "GMP": GMP,
}
