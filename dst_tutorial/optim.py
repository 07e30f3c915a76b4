"""Adam for few weights: one compiled loop over all parameters, where torch's spends most of a step on preparing it."""

import math

import torch

from .kernels import has_numba

_FLOATS = (torch.float32, torch.float64)
_PLAIN = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay")


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`: the same arguments, the same state, the same numbers but for the order of rounding.

    Fast for dense float32 or float64 parameters on the CPU, if numba is installed; anything else, and every option but
    the learning rate, betas, eps and weight decay, goes torch's own way. Source: Kingma and Ba, arXiv 1412.6980.
    """

    @torch.no_grad()
    def step(self, closure=None):
        if not (has_numba() and all(map(_is_plain, self.param_groups))):
            return super().step(closure)
        from .kernels.cpu import adam_step

        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            used = [p for p in group["params"] if p.grad is not None]
            states = [self._state_of(p) for p in used]
            if not used:
                continue
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            first, second = group["betas"]
            alike: dict[tuple[torch.dtype, float], list] = {}  # what one call of the loop can do
            for p, state, t in zip(used, states, torch.stack(steps).tolist(), strict=True):
                alike.setdefault((p.dtype, t), []).append((p, p.grad, state["exp_avg"], state["exp_avg_sq"]))
            for (_, t), parameters in alike.items():
                rate, root = group["lr"] / (1 - first**t), math.sqrt(1 - second**t)
                adam_step(parameters, rate, root, first, second, group["eps"], group["weight_decay"])
        return loss

    def _state_of(self, p: torch.Tensor) -> dict:
        state = self.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state


def _is_plain(group: dict) -> bool:
    if any(group.get(name) for name in _PLAIN) or torch.is_tensor(group["lr"]):
        return False
    return all(
        p.grad is None
        or (p.dtype in _FLOATS and p.is_cpu and p.is_contiguous() and p.grad.is_contiguous() and not p.grad.is_sparse)
        for p in group["params"]
    )
