"""Make a network sparse: how many weights each layer keeps, which ones, and what they start from."""

import copy
import logging
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ..choices import choose
from ..positions import draw_distinct, draw_in_groups, group_sizes
from ..randomness import stream
from .allocation import ALLOCATIONS, Counts, Shapes, allocate, in_groups
from .convert import check_plain, with_sparse_layers, without_dense_shortcuts
from .initialisation import he_fan_in
from .masked import MASKED_FORM
from .sparse import SparseConv2d, SparseLinear

log = logging.getLogger(__name__)

SPARSE = (*MASKED_FORM.values(), SparseLinear, SparseConv2d)


def check_sparsity(sparsity: float) -> float:
    """`sparsity` itself if it is in [0, 1); ValueError otherwise."""
    if not 0 <= sparsity < 1:
        hint = f"; did you mean {sparsity / 100:g}?" if 1 < sparsity < 100 else ""
        raise ValueError(f"sparsity is the fraction of zeros and must be in [0, 1), got {sparsity!r}{hint}")
    return sparsity


# --- initialisation: a dense layer and the active positions -> the active values -------------------------------------


def keep_dense(layer: nn.Module, positions: Tensor, generator: torch.Generator) -> Tensor:
    """The slides' initialisation: the values the dense layer drew for *its* fan-in. Sparse signals shrink under it."""
    return layer.weight.detach().take(positions.to(layer.weight.device))


def scaled(layer: nn.Module, positions: Tensor, generator: torch.Generator) -> Tensor:
    """The dense layer's values, scaled up for the layer's density: the variance of its sums is the dense layer's."""
    kept = keep_dense(layer, positions, generator)
    return kept * (layer.weight.numel() / max(len(positions), 1)) ** 0.5


def fan_in(layer: nn.Module, positions: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn anew for each unit's actual fan-in: see `he_fan_in`."""
    return he_fan_in(layer.weight.shape, positions, generator)


INITIALISATIONS: dict[str, Callable[[nn.Module, Tensor, torch.Generator], Tensor]] = {
    "dense": keep_dense,
    "scaled": scaled,
    "fan_in": fan_in,
}


# --- the model -------------------------------------------------------------------------------------------------------


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that `sparsify` turns sparse, by name: exactly `nn.Linear` and `nn.Conv2d`, no subclass of theirs."""
    return {name: layer for name, layer in model.named_modules() if type(layer) in MASKED_FORM}


def sparse_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that are sparse already, simulated or truly, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, SPARSE)}


def count_weights(model: nn.Module) -> tuple[int, int]:
    """(active, total) weights of the model's Linear and Conv2d layers, dense or sparse. Biases are not counted."""
    dense = sum(layer.weight.numel() for layer in prunable_layers(model).values())
    sparse = sparse_layers(model).values()
    return (
        dense + sum(layer.active_weights for layer in sparse),
        dense + sum(layer.weight_shape.numel() for layer in sparse),
    )


def sparsify(
    model: nn.Module,
    sparsity: float,
    *,
    allocation: str | Callable[[Shapes, float], Counts] = "erk",
    densities: Mapping[str, float] | None = None,
    structure: int | str | None = None,
    init: str | Callable[[nn.Module, Tensor, torch.Generator], Tensor] = "fan_in",
    kind: str = "masked",
    exclude: Iterable[str | type] = (),
    seed: int = 0,
) -> nn.Module:
    """A sparse copy of `model`; the argument is left alone. What stays dense, though nobody asked for it, is said.

    sparsity    fraction of the weights of all Linear and Conv2d layers that become zero, in [0, 1); biases stay dense
    allocation  "erk", "er", "tapered", "uniform" (see `allocation.py`), or a function (shapes by layer name,
                sparsity) -> active weights by layer name
    densities   layers with a density of their own, such as {"first": 1.0} or {"conv1": 1.0, "fc3": 0.02}; the
                others share what is left of the budget by `allocation`
    structure   None: zeros are anywhere. "row": every unit of a layer has as many weights (constant fan-in). A number
                M: every M inputs of a unit have as many (N:M; N follows from the sparsity), a shorter rest at the end
                of a row at most as many. Counts are the nearest that allow it, at least one weight a group; what that
                changes by more than 2% is said. Only growth rules that know it keep it: "gradient by row", "gradient
                by 16" (see `rules.within`)
    init        "fan_in" (drawn anew for each unit's actual fan-in), "dense" (the model's own values), "scaled" (those,
                scaled up for the layer's density), or a function
    kind        "masked" (simulated sparsity), or "sparse": the same network truly sparse, see `to_truly_sparse`; then
                `model` may be on the meta device, shapes without numbers, if it could not exist densely
    exclude     names or classes of layers, or of blocks of them, that stay dense and do not count
    seed        of the masks and of drawn values; it touches no global random state

    Raises ValueError for a sparsity outside [0, 1), an unknown option, or a model with nothing to sparsify.
    """
    check_sparsity(sparsity)
    divide = _named(allocation, ALLOCATIONS, "allocation")
    initial = _named(init, INITIALISATIONS, "init")
    if kind not in ("masked", "sparse"):
        raise ValueError(f"unknown kind {kind!r}; choose from masked, sparse")
    left_out = _below(model, [exclude] if isinstance(exclude, str | type) else exclude)
    chosen = {name: layer for name, layer in prunable_layers(model).items() if layer not in left_out}
    dense = {name: layer for name, layer in chosen.items() if layer.weight.numel()}
    if not dense:
        already = f"; its {len(found)} sparse layers are left as they are" if (found := sparse_layers(model)) else ""
        rest = " that is not excluded" if left_out else ""
        raise ValueError(
            f"nothing to sparsify: this {type(model).__name__} has no nn.Linear or nn.Conv2d "
            f"with weights{rest}{already}"
        )

    check_plain(model, dense.values(), stripped=kind == "sparse")
    shapes = {name: layer.weight.shape for name, layer in dense.items()}
    counts = allocate(shapes, sparsity, divide, densities or {})
    wanted = {name: _in_groups(shape, counts[name], structure) for name, shape in shapes.items()}
    _say_what_groups_change(shapes, counts, wanted, structure)
    counts = {name: int(groups.sum()) for name, (_, groups) in wanted.items()}
    _say_what_stays_dense(model, dense, left_out, sum(counts.values()))
    masks, values = stream(seed, "masks"), stream(seed, "values")  # two, so that every `init` gets the same masks
    weights = {}
    for name, layer in dense.items():
        positions = (
            draw_in_groups(*wanted[name], masks)
            if structure
            else draw_distinct(layer.weight.numel(), counts[name], masks)
        )
        weights[layer] = positions, initial(layer, positions, values)
    _warn_of_constants({name: weights[layer][0] for name, layer in dense.items()}, shapes)
    if kind == "sparse":  # at once: no mask is ever made
        return with_sparse_layers(model, weights, fold=True)
    masked = {id(layer): _masked(layer, *chosen) for layer, chosen in weights.items()}
    # a memo of what is "copied already": wherever a layer stands, its masked form
    return without_dense_shortcuts(copy.deepcopy(model, masked))


def _in_groups(shape: torch.Size, count: int, structure: int | str | None) -> tuple[Tensor, Tensor]:
    """Sizes of a layer's groups, and how many of each are active; without a structure the layer is one group."""
    if structure is None:
        return torch.tensor([shape.numel()], device="cpu"), torch.tensor([count], device="cpu")
    sizes = group_sizes(shape, structure)
    return sizes, in_groups(count, sizes)


def _say_what_groups_change(shapes: Shapes, counts: Counts, wanted: Mapping[str, tuple[Tensor, Tensor]],
                            structure: int | str | None) -> None:  # fmt: skip
    """Where groups allow only counts that are far from the budget: one weight a group is the least."""
    total, asked = sum(shape.numel() for shape in shapes.values()), sum(counts.values())
    got = sum(int(groups.sum()) for _, groups in wanted.values())
    if abs(got - asked) > 0.02 * asked:
        log.warning(
            "groups of structure=%r allow no such sparsity: %.2f%% in the place of %.2f%%. The least is one weight a "
            "group; larger groups come closer",
            structure, 100 * (1 - got / total), 100 * (1 - asked / total),
        )  # fmt: skip


def _below(model: nn.Module, exclude: Iterable[str | type]) -> set[nn.Module]:
    """The modules that have these names or classes, and all inside them."""
    modules, found = {name: module for name, module in model.named_modules() if name}, set()
    for what in exclude:
        if isinstance(what, type):
            blocks = [module for module in modules.values() if isinstance(module, what)]
            if not blocks:
                raise ValueError(f"nothing to exclude: this {type(model).__name__} has no {what.__name__}")
        else:
            blocks = [choose(what, modules, "module")]
        found |= {module for block in blocks for module in block.modules()}
    return found


def _say_what_stays_dense(model: nn.Module, dense: Mapping[str, nn.Module], left_out: set, kept: int) -> None:
    """In one line: weights (of two dimensions or more) of layers that only look as if they became sparse."""
    chosen, stays = {id(layer.weight) for layer in dense.values()}, {}  # class -> (names, weights)
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in chosen]
        if module in left_out or isinstance(module, SPARSE) or not own:
            continue
        kind = type(module).__name__
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in own):
            kind, size = f"{kind}, of no size before its first batch", 0
        elif not (size := sum(p.numel() for p in own if p.dim() > 1)):
            continue
        names, weights = stays.get(kind, ([], 0))
        stays[kind] = [*names, name or "the model"], weights + size
    if stays:
        total, more = sum(layer.weight.numel() for layer in dense.values()), sum(size for _, size in stays.values())
        log.warning(
            "only nn.Linear and nn.Conv2d become sparse. What stays dense has %.0f%% of all weights: %s. The sparsity "
            "of the whole is %.1f%%",
            100 * more / (total + more),
            "; ".join(f"{_first_of(names)} ({kind})" for kind, (names, _) in stays.items()),
            100 * (1 - (kept + more) / (total + more)),
        )


def _first_of(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _warn_of_constants(positions: Mapping[str, Tensor], shapes: Shapes) -> None:
    """Of layers, and of the outputs of networks, that say the same whatever they read."""
    for name, active in positions.items():
        if not len(active):
            log.warning("%s keeps none of its weights: all it says is its bias", name or "the layer")
    *before, last = positions
    units, width = shapes[last][0], shapes[last][1:].numel()
    read = len((positions[last] // width).unique())
    if before and 0 < read < units:
        log.warning("%d of the %d units of the last layer, %s, keep no weight: they are constant", units - read, units,
                    last)  # fmt: skip


def _masked(layer: nn.Module, positions: Tensor, values: Tensor) -> nn.Module:
    mask = torch.zeros(layer.weight.shape, dtype=torch.bool, device="cpu")
    mask.put_(positions, torch.ones_like(positions, dtype=torch.bool))
    masked = MASKED_FORM[type(layer)].from_dense(layer, mask)
    masked.weight.data.put_(positions.to(layer.weight.device), values.to(layer.weight))
    return masked


def _named(choice, table: dict[str, Callable], what: str) -> Callable:
    return choice if callable(choice) else choose(choice, table, what)
