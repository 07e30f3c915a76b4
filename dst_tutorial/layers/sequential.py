"""Truly sparse layers side by side: a network that a backend goes through in one call."""

from functools import cache

from torch import Tensor, nn
from torch.nn.modules import module as modules

from .sparse import SparseConv2d, SparseLinear


class SparseSequential(nn.Sequential):
    """An `nn.Sequential` that lets the backend go through neighbouring truly sparse layers in one call.

    The same function, but faster. Layers run one by one where somebody listens (hooks, or an update of the topology
    that wants to see gradients) and where they have a forward of their own.
    """

    plain: type[nn.Sequential] = nn.Sequential  # what this is without that

    def forward(self, input: Tensor) -> Tensor:
        x, run, last = input, [], None
        if any(_GLOBAL_HOOKS):
            return self.plain.forward(self, x)
        for module in self._modules.values():
            kind = _kind_of(module)
            if kind is nn.Identity:
                continue
            if (last, kind) not in _NEIGHBOURS:
                x, run = _through(run, x), []
            run.append(module)
            last = kind
        return _through(run, x)

    def __reduce__(self):
        return _empty, (self.plain,), self.__dict__  # a class of `sequential_form` cannot be found by its name


@cache
def sequential_form(kind: type[nn.Sequential]) -> type[SparseSequential]:
    """The class of networks of this kind, with the forward of `SparseSequential`."""
    return SparseSequential if kind is nn.Sequential else type(kind.__name__, (SparseSequential, kind), {"plain": kind})


def _empty(plain: type[nn.Sequential]) -> SparseSequential:
    form = sequential_form(plain)
    return form.__new__(form)


def has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


_GLOBAL_HOOKS = [
    getattr(modules, f"_global_{kind}_hooks") for kind in ("forward", "forward_pre", "backward", "backward_pre")
]

_SPARSE = SparseLinear, SparseConv2d
# a module with another forward, of its class or its own, does something else
_FORWARDS = {kind.forward: kind for kind in (*_SPARSE, nn.Flatten, nn.Identity)}

# what may stand side by side in one call: all that is between images and classes
_NEIGHBOURS = {(SparseConv2d, SparseConv2d), (SparseConv2d, nn.Flatten), (nn.Flatten, SparseLinear),
               (SparseLinear, SparseLinear)}  # fmt: skip


def _kind_of(module: nn.Module) -> type[nn.Module] | None:
    """What the module does, if it does nothing else and nobody listens: the class of a sparse layer, a Flatten, ..."""
    kind = type(module)
    known = _FORWARDS.get(kind.forward)
    if has_hooks(module) or "forward" in module.__dict__:
        return None
    if isinstance(module, _SPARSE):
        return None if module.watching or module.padding_mode != "zeros" else known
    if known is nn.Flatten:
        return known if (module.start_dim, module.end_dim) == (1, -1) else None
    return known or kind


def _through(run: list[nn.Module], x: Tensor) -> Tensor:
    """x through neighbours, in one call if there are several layers and they have the same backend."""
    layers = [module for module in run if isinstance(module, _SPARSE)]
    dims = 4 if run and isinstance(run[0], SparseConv2d) else 2
    if len(layers) < 2 or len({layer.backend for layer in layers}) > 1 or (run[0] is layers[0] and x.dim() != dims):
        for module in run:
            x = module(x)
        return x
    x = x if run[0] is layers[0] else run[0](x)  # a Flatten may stand before them, behind, or in the middle
    x = layers[0].chosen_backend(x, [layer.operation() for layer in layers])
    return x if run[-1] is layers[-1] else run[-1](x)
