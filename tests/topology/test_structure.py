"""Structured topologies: as many connections in every group, at the start and after every update, in both forms."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_engine import engine_for, shake
from torch import nn

from dst_tutorial import RigL, SlideCNN, mlp, sparsify
from dst_tutorial.layers import masked, sparse
from dst_tutorial.positions import draw_in_groups, group_size
from dst_tutorial.topology.rules import GROW, within

STRUCTURES = st.sampled_from(["row", 2, 4, 16])


def by_group(layer, structure):
    """Active connections of each group, counted on the mask."""
    mask = torch.zeros(layer.weight_shape.numel(), dtype=torch.int64)
    mask[layer.active_positions()] = 1
    return mask.view(-1, group_size(layer.weight_shape, structure)).sum(1)


def test_a_group_is_a_row_or_m_of_its_inputs():
    assert group_size(torch.Size([5, 12]), "row") == 12
    assert group_size(torch.Size([5, 12]), 4) == 4
    assert group_size(torch.Size([5, 3, 2, 2]), 4) == 4
    assert group_size(torch.Size([5, 9]), 4) == 9  # does not divide it: the whole row
    for wrong in ("rows", 1, 0, 2.5):
        with pytest.raises(ValueError, match="structure"):
            group_size(torch.Size([5, 12]), wrong)


@given(groups=st.integers(0, 20), size=st.integers(1, 12), share=st.floats(0, 1), seed=st.integers(0, 999))
def test_a_draw_has_as_many_in_every_group(groups, size, share, seed):
    each = round(share * size)
    drawn = draw_in_groups(groups * size, size, each, torch.Generator().manual_seed(seed))
    assert (drawn.diff() > 0).all()
    assert torch.bincount(drawn // size, minlength=groups).tolist() == groups * [each]


def test_every_subset_of_a_group_is_equally_likely():
    drawn = draw_in_groups(6000 * 4, 4, 2, torch.Generator().manual_seed(0)).view(-1, 2) % 4
    counts = torch.bincount(4 * drawn[:, 0] + drawn[:, 1])
    assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3
    assert (counts > 0).sum() == 6


@pytest.mark.parametrize(("structure", "counts"), [
    ("row", {"fc1": 300 * 39, "fc2": 100 * 15, "fc3": 10 * 5}),  # the nearest to 5% of 784, 300, 100
    (16, {"fc1": 300 * 49, "fc2": 100 * 15, "fc3": 10 * 5}),  # one of 16; 300 and 100 are no multiples of it
    (4, {"fc1": 300 * 196, "fc2": 100 * 75, "fc3": 10 * 25}),  # one at least
])  # fmt: skip
@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_a_structure_is_drawn_with_the_nearest_counts(structure, counts, kind):
    model = sparsify(mlp(784, 300, 100, 10), 0.95, allocation="uniform", structure=structure, kind=kind)
    for name, layer in model.named_children():
        if name in counts:
            assert layer.active_weights == counts[name]
            assert len(by_group(layer, structure).unique()) == 1


@settings(max_examples=100, deadline=None)
@given(structure=STRUCTURES, width=st.integers(1, 40), rows=st.integers(1, 12), sparsity=st.floats(0, 0.99),
       by=st.sampled_from(["gradient", "random"]), fraction=st.sampled_from([0.1, 0.3, 1.0]),
       seed=st.integers(0, 10**6))  # fmt: skip
def test_thousands_of_updates_keep_the_count_of_every_group(structure, width, rows, sparsity, by, fraction, seed):
    model = nn.Sequential(sparsify(nn.Linear(width, rows), sparsity, structure=structure, seed=seed))
    engine = engine_for(model, drop_fraction=fraction, grow=f"{by} by {structure}", stop=None, seed=seed)
    before = by_group(model[0], structure)
    assert len(before.unique()) == 1
    for update in range(25):  # times 100 examples
        shake(model, seed + update)
        F.cross_entropy(model(torch.randn(5, width)), torch.randint(rows, (5,))).backward()
        engine.update()
        assert torch.equal(by_group(model[0], structure), before)


@settings(max_examples=60, deadline=None)
@given(structure=STRUCTURES, convolution=st.booleans(), block=st.sampled_from([1, 40, 10**6]), seed=st.integers(0, 999))
def test_growth_takes_the_largest_gradients_of_each_group(structure, convolution, block, seed):
    """Against a slow search; whatever the blocks in which gradients stream by."""
    torch.manual_seed(seed)
    dense = nn.Conv2d(4, 6, 2) if convolution else nn.Linear(24, 6)
    x = torch.randint(-2, 3, (3, 4, 4, 4) if convolution else (3, 24)).float()  # whole numbers: many ties
    model = sparsify(nn.Sequential(dense), 0.7, structure=structure, seed=seed)
    layer = model[0]
    layer.watch(True)
    (model(x).round() ** 2 + model(x)).sum().backward()
    gradient = layer.weight.grad.flatten().abs()
    assert gradient.shape == (layer.weight.numel(),)
    active = layer.active_positions()
    taken = active[torch.randperm(len(active))[: len(active) // 2]]
    with pytest.MonkeyPatch.context() as patched:
        for module in (masked, sparse):
            patched.setattr(module, "_BLOCK", block)
        grown = within(structure)(layer, taken, len(active) - len(taken), torch.Generator())
    expected, size = set(), group_size(layer.weight_shape, structure)
    full = gradient_of_all(layer, model, x).flatten().abs()
    for group in range(layer.weight.numel() // size):
        places = range(group * size, (group + 1) * size)
        kept = set(taken.tolist()) & set(places)
        free = sorted((p for p in places if p not in kept), key=lambda p: (-full[p], p))
        expected |= set(free[: len(set(active.tolist()) & set(places)) - len(kept)])
    assert set(grown.tolist()) == expected


def gradient_of_all(layer, model, x):
    """By autograd on the dense network with the same numbers."""
    dense = copy.deepcopy(model)
    dense[0].mask.fill_(True)
    (dense(x).round() ** 2 + dense(x)).sum().backward()
    return dense[0].weight.grad


@pytest.mark.parametrize("grow", ["gradient by row", "random by row", "gradient by 16", "random by 4"])
def test_both_forms_come_to_the_same_topology(grow, dataset):
    structure = "row" if grow.endswith("row") else int(grow.split()[-1])
    torch.manual_seed(0)
    dense = SlideCNN().double()
    masks = []
    for kind in ("masked", "sparse"):
        model = sparsify(dense, 0.9, structure=structure, kind=kind, seed=1)
        engine = RigL(model, torch.optim.Adam(model.parameters()), update_interval=2, grow=grow, duration=16, seed=2)
        for x, y in zip(dataset.train_images.double().split(16), dataset.train_labels.split(16), strict=True):
            engine.optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            engine.step()
        assert engine.updates == 5
        masks.append([layer.active_positions() for layer in engine.layers.values()])
        for layer in engine.layers.values():
            assert len(by_group(layer, structure).unique()) == 1
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))


def test_growth_in_groups_says_what_is_missing():
    layer = sparsify(nn.Linear(20, 10), 0.5, seed=0)
    engine = engine_for(nn.Sequential(layer), drop_fraction=0.3, grow="random by row")
    before = layer.mask.clone()
    with pytest.raises(RuntimeError, match=r"groups of 20 inputs .* sparsify\(..., structure=...\)"):
        engine.update()
    layer = sparsify(nn.Linear(20, 10), 0.5, structure="row", seed=0)
    engine = engine_for(nn.Sequential(layer), drop_fraction=0.3, grow="random by row", bar_dropped=True)
    with pytest.raises(RuntimeError, match="leave bar_dropped off"):
        engine.update()
    assert layer.mask.sum() == before.sum()
    assert {"gradient by row", "random by 16"} < set(GROW)
