"""The same network in another form: masked -> truly sparse, or masked -> dense with zeros in it."""

import copy
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from .masked import MASKED_FORM, MaskedConv2d, MaskedLinear
from .sparse import SparseConv2d, SparseLinear


class Run(NamedTuple):
    """A masked layer of an `nn.Sequential`, with what follows it there and can be folded into its sparse form."""

    layer: nn.Module
    options: dict  # of the sparse form
    block: str  # path of the nn.Sequential
    followers: list[str]  # names in it


def to_truly_sparse(model: nn.Module, *, fold: bool = True) -> nn.Module:
    """A copy of `model` whose masked layers are truly sparse; the argument is left alone, dense layers stay dense.

    fold   in an `nn.Sequential`, let a layer swallow what follows it, in exactly two runs: MaskedLinear, ReLU; and
           MaskedConv2d, ReLU, MaxPool2d(2). An `nn.Identity` takes the place of what was swallowed. Say False if some
           code of yours calls a Sequential's layers one by one.

    ValueError where there is no masked layer, or one has hooks, which would be lost.
    """
    masked = [layer for layer in model.modules() if isinstance(layer, (MaskedLinear, MaskedConv2d))]
    if not masked:
        raise ValueError(f"nothing to convert: this {type(model).__name__} has no masked layer; call sparsify first")
    if any(_hooks(layer) for layer in masked):
        raise ValueError(
            "a masked layer has forward or backward hooks, which its sparse form would not have: remove them"
        )
    runs = {run.layer: run for run in _runs(model)} if fold else {}
    sparse = {}
    for layer in masked:
        form = SparseLinear if isinstance(layer, MaskedLinear) else SparseConv2d
        options = runs[layer].options if layer in runs else {}
        sparse[id(layer)] = form.from_masked(layer, **options)
    copied = copy.deepcopy(model, sparse)  # a memo of what is "copied already": no dense weight is copied
    for run in runs.values():
        for name in run.followers:
            copied.get_submodule(run.block)._modules[name] = nn.Identity()
    return copied


def to_dense(model: nn.Module) -> nn.Module:
    """A copy of `model` whose masked layers are plain `nn.Linear` and `nn.Conv2d`, with their zeros among the weights.

    The same function: what a dense kernel makes of a sparse network. ValueError where a layer is truly sparse.
    """
    if any(isinstance(layer, (SparseLinear, SparseConv2d)) for layer in model.modules()):
        raise ValueError("this model has truly sparse layers; only masked ones can be made dense")
    model = copy.deepcopy(model)
    dense_form = {masked: dense for dense, masked in MASKED_FORM.items()}
    for layer in model.modules():
        if type(layer) in dense_form:
            layer.clear_inactive()  # an optimiser may have moved them
            del layer.mask
            layer.__class__ = dense_form[type(layer)]
    return model


def _runs(model: nn.Module) -> Iterator[Run]:
    uses = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    for path, block in model.named_modules():
        if type(block).forward is not nn.Sequential.forward:
            continue
        names, modules = list(block._modules), list(block._modules.values())
        for i, layer in enumerate(modules):
            if uses[layer] > 1:  # elsewhere it may be followed by something else
                continue
            relu, pool = (*modules[i + 1 : i + 3], None, None)[:2]
            if type(relu) is not nn.ReLU or _hooks(relu):
                continue
            if isinstance(layer, MaskedLinear):
                yield Run(layer, {"relu": True}, path, names[i + 1 : i + 2])
            elif isinstance(layer, MaskedConv2d) and type(pool) is nn.MaxPool2d and _halves(pool) and not _hooks(pool):
                yield Run(layer, {"relu": True, "pool": 2}, path, names[i + 1 : i + 3])


def _hooks(module: nn.Module) -> bool:
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def _halves(pool: nn.MaxPool2d) -> bool:
    plain = pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1)) and not (pool.ceil_mode or pool.return_indices)
    return plain and pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2))
