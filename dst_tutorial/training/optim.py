"""Adam for few weights: one compiled loop over all parameters, where torch's spends most of a step on preparing it."""

import functools
import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch.optim import optimizer as torchs

from ..kernels import has_numba

_FLOATS = (torch.float32, torch.float64)
_PLAIN = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay")


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`: the same arguments, the same state, the same numbers but for the order of rounding.

    And but for moments below the smallest normal number, which become 0: with `eps=0` that step is 0 / 0.

    Fast for dense float32 or float64 parameters on the CPU, if numba is installed; anything else, and every option but
    the learning rate, betas, eps and weight decay, goes torch's own way. Source: Kingma and Ba, arXiv 1412.6980.
    """

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plain = [self._plain(group) for group in self.param_groups] if has_numba() else [None]
        if any(alike is None for alike in plain):
            super().step()
            return loss
        for group, alike in zip(self.param_groups, plain, strict=True):
            settings = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
            for parameters, table in alike:
                _loop()[1](parameters, table, *map(float, settings))
        return loss

    def _plain(self, group: dict) -> list[tuple[list, np.ndarray]] | None:
        """(parameter, both moments, gradient, step) of each, and their table, by dtype. None: not for the loop."""
        if any(group.get(name) for name in _PLAIN) or torch.is_tensor(group["lr"]):
            return None
        alike: dict[torch.dtype, list] = {dtype: [] for dtype in _FLOATS}
        for p in group["params"]:
            if p.grad is None:
                continue
            if not (p.is_cpu and p.dtype in alike):
                return None
            state = self.state[p] or self._start(p)
            alike[p.dtype].append((p, state["exp_avg"], state["exp_avg_sq"], p.grad, _steps(state)))
        tables = [(parameters, _loop()[0](parameters)) for parameters in alike.values() if parameters]
        return None if any(table is None for _, table in tables) else tables

    @staticmethod
    def profile_hook_step(step: Callable) -> Callable:
        """What torch puts around a step; it takes longer than the loop, so only where somebody hooks on to it."""
        hooked = torch.optim.Optimizer.profile_hook_step(step)

        @functools.wraps(step)
        def with_hooks(self, *args, **kwargs):
            hooks = (self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks,
                     torchs._global_optimizer_pre_hooks, torchs._global_optimizer_post_hooks)  # fmt: skip
            return (hooked if any(hooks) else step)(self, *args, **kwargs)

        return with_hooks

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As in torch, without what it does for profilers, which takes longer."""
        if not set_to_none:
            return super().zero_grad(False)
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def add_param_group(self, param_group: dict) -> None:
        """As in torch, without a wrapper that imports all of torch.compile: seconds, at a program's first optimiser."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def _start(self, p: torch.Tensor) -> dict:
        self.state[p].update(
            step=torch.zeros((), device="cpu"), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p)
        )
        return self.state[p]


@functools.cache
def _loop() -> tuple[Callable, Callable]:
    from ..kernels.cpu import adam_step, adam_table  # late: numba takes a second to import

    return adam_table, adam_step


def _steps(state: dict) -> torch.Tensor:
    if state["step"].dtype != torch.float32:  # it was made where the default was another one
        state["step"] = state["step"].float()
    return state["step"]
