"""The same network in another form: masked <-> truly sparse, or masked -> dense with zeros in it."""

import copy
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .masked import MASKED_FORM, MaskedConv2d, MaskedLinear
from .sequential import SparseSequential, has_hooks, sequential_form
from .sparse import SparseConv2d, SparseLinear

_SPARSE = {SparseLinear, SparseConv2d}


class Run(NamedTuple):
    """A layer of an `nn.Sequential`, with what follows it there and can be folded into its sparse form."""

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
    weights = {layer: (layer.active_positions(), layer.active_values()) for layer in masked}
    return with_sparse_layers(model, weights, fold)


def with_sparse_layers(model: nn.Module, weights: Mapping[nn.Module, tuple[Tensor, Tensor]], fold: bool) -> nn.Module:
    """A copy of `model` in which these layers (dense or masked) are truly sparse, with (positions, values) each."""
    check_plain(model, weights)
    runs = {run.layer: run for run in _runs(model, weights)} if fold else {}
    sparse = {}
    for layer, (positions, values) in weights.items():
        form = SparseLinear if isinstance(layer, nn.Linear) else SparseConv2d
        options = runs[layer].options if layer in runs else {}
        sparse[id(layer)] = form.from_dense(layer, positions, values, **options)
    copied = copy.deepcopy(model, sparse)  # a memo of what is "copied already": no dense weight is copied
    for run in runs.values():
        for name in run.followers:
            copied.get_submodule(run.block)._modules[name] = nn.Identity()
    for block in copied.modules():
        if type(block).forward is nn.Sequential.forward and not _SPARSE.isdisjoint(map(type, block)):
            block.__class__ = sequential_form(type(block))
    return without_dense_shortcuts(copied)


def check_plain(model: nn.Module, layers: Iterable[nn.Module], *, stripped: bool = True) -> None:
    """ValueError for layers that share a parameter or have a forward of their own, which a copy would not.

    A `stripped` copy has its weight and bias alone: then hooks, buffers and modules are refused, too.
    """
    owners: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(f"{path}.{name}" if path else name)
    names = {module: path for path, module in model.named_modules()}
    for layer in layers:
        name = names.get(layer) or "the layer"
        if stripped and has_hooks(layer):
            raise ValueError(
                f"{name} has forward or backward hooks, which its sparse form would not have: remove them, or leave it "
                f"dense with exclude="
            )
        more = set(layer._buffers) - {"mask"} or layer._modules
        if "forward" in vars(layer) or set(layer._parameters) != {"weight", "bias"} or (stripped and more):
            raise ValueError(
                f"{name} has a forward, parameters, buffers or modules of its own, which its sparse form would not "
                f"have: leave it dense with exclude=, or make a class of it"
            )
        for parameter in layer.parameters(recurse=False):
            if len(sharing := owners.get(id(parameter), [])) > 1:
                blocks = [path.rpartition(".")[0] for path in sharing]
                raise ValueError(
                    f"{' and '.join(sharing)} are one parameter and would become several: untie them, or leave them "
                    f"dense with exclude={[block for block in blocks if block]}"
                )


def without_dense_shortcuts(model: nn.Module) -> nn.Module:
    """The model itself. torch's transformers read the `weight` of their linear layers in eval mode: no longer."""
    for block in model.modules():
        if isinstance(block, nn.TransformerEncoderLayer) and type(block.linear1) is not nn.Linear:
            block.activation_relu_or_gelu = 0
        elif isinstance(block, nn.TransformerEncoder):
            block.use_nested_tensor = False
    return model


def to_masked(model: nn.Module) -> nn.Module:
    """A copy of `model` whose truly sparse layers are masked: the way back, with dense weights and all zeros stored.

    What a layer has swallowed follows it again: in the places that `to_truly_sparse` left in an `nn.Sequential`, or
    else in a Sequential of its own. ValueError where there is no truly sparse layer.
    """
    masked, followers = {}, {}
    for layer in model.modules():
        if isinstance(layer, (SparseLinear, SparseConv2d)):
            masked[id(layer)], followers[layer] = _masked(layer)
    if not masked:
        raise ValueError(f"nothing to convert: this {type(model).__name__} has no truly sparse layer")
    for block in model.modules():
        modules = list(block.children()) if _is_sequential(block) else []
        for i, layer in enumerate(modules):
            places = modules[i + 1 : i + 1 + len(followers.get(layer, []))]
            if places and all(type(place) is nn.Identity for place in places):
                masked |= {id(place): form for place, form in zip(places, followers.pop(layer), strict=True)}
    for layer, behind in followers.items():
        if behind:
            masked[id(layer)] = nn.Sequential(masked[id(layer)], *behind)
    copied = copy.deepcopy(model, masked)
    for block in copied.modules():
        if isinstance(block, SparseSequential):
            block.__class__ = block.plain
    return copied


def _masked(layer: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
    """The masked form of a truly sparse layer, and what has to follow it."""
    form, dense = (
        (MaskedLinear, nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta"))
        if isinstance(layer, SparseLinear)
        else (MaskedConv2d, nn.Conv2d(**layer.geometry, bias=layer.bias is not None, device="meta"))
    )
    dense.weight = nn.Parameter(layer.to_dense(), layer.values.requires_grad)
    if layer.bias is not None:
        dense.bias = nn.Parameter(layer.bias.detach().clone(), layer.bias.requires_grad)
    mask = torch.zeros(layer.weight_shape.numel(), dtype=torch.bool, device=layer.values.device)
    mask[layer.active_positions()] = True
    pool = getattr(layer, "pool", 1)
    behind = [nn.ReLU()] * layer.relu + [nn.MaxPool2d(pool)] * (pool > 1)
    masked = form.from_dense(dense, mask.reshape(layer.weight_shape))
    return masked.train(layer.training), behind


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


def _runs(model: nn.Module, layers: Container[nn.Module]) -> Iterator[Run]:
    uses = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    for path, block in model.named_modules():
        if not _is_sequential(block):
            continue
        names, modules = list(block._modules), list(block._modules.values())
        for i, layer in enumerate(modules):
            if layer not in layers or uses[layer] > 1:  # elsewhere it may be followed by something else
                continue
            relu, pool = (*modules[i + 1 : i + 3], None, None)[:2]
            if type(relu) is not nn.ReLU or has_hooks(relu):
                continue
            if isinstance(layer, nn.Linear):
                yield Run(layer, {"relu": True}, path, names[i + 1 : i + 2])
            elif type(pool) is nn.MaxPool2d and _halves(pool) and not has_hooks(pool):
                yield Run(layer, {"relu": True, "pool": 2}, path, names[i + 1 : i + 3])


def _is_sequential(block: nn.Module) -> bool:
    return type(block).forward in (nn.Sequential.forward, SparseSequential.forward)


def _halves(pool: nn.MaxPool2d) -> bool:
    plain = pool.padding in (0, (0, 0)) and pool.dilation in (1, (1, 1)) and not (pool.ceil_mode or pool.return_indices)
    return plain and pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2))
