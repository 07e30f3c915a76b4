"""Structured topologies: as many connections in every group, at the start and after every update, in both forms."""

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
from dst_tutorial.layers.sparsify import count_weights, sparse_layers
from dst_tutorial.positions import draw_in_groups, group_sizes
from dst_tutorial.topology.rules import GROW, within

STRUCTURES = st.sampled_from(["row", 2, 4, 16])


def groups_of(shape, structure):
    """The positions of each group, written out."""
    width = shape[1:].numel()
    size = width if structure == "row" else structure
    starts = [row * width + first for row in range(shape[0]) for first in range(0, width, size)]
    return [range(start, min(start + size, (start // width + 1) * width)) for start in starts]


def by_group(layer, structure):
    """Active connections of each group."""
    active = set(layer.active_positions().tolist())
    return [len(active.intersection(group)) for group in groups_of(layer.weight_shape, structure)]


def is_structured(layer, structure):
    """As many in every group, or all of a shorter one."""
    counts = by_group(layer, structure)
    most = max(counts)
    return counts == [min(most, len(group)) for group in groups_of(layer.weight_shape, structure)]


def test_a_group_is_a_row_or_m_of_its_inputs():
    assert group_sizes(torch.Size([2, 12]), "row").tolist() == [12, 12]
    assert group_sizes(torch.Size([2, 12]), 4).tolist() == 6 * [4]
    assert group_sizes(torch.Size([2, 3, 3]), 4).tolist() == 2 * [4, 4, 1]
    assert group_sizes(torch.Size([2, 3]), 4).tolist() == [3, 3]
    assert group_sizes(torch.Size([2, 0]), 4).tolist() == []
    for wrong in ("rows", "", 1, 0, 2.5):
        with pytest.raises(ValueError, match="structure"):
            sparsify(nn.Linear(12, 5), 0.5, structure=wrong)
        with pytest.raises(ValueError, match="structure"):
            within(wrong)
    with pytest.raises(ValueError, match="unknown growth 'gradients'"):
        within("row", "gradients")


@given(groups=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8), seed=st.integers(0, 999))
def test_a_draw_has_as_many_as_wanted_of_every_group(groups, seed):
    sizes = torch.tensor([max(pair) for pair in groups], dtype=torch.int64)
    wanted = torch.tensor([min(pair) for pair in groups], dtype=torch.int64)
    drawn = draw_in_groups(sizes, wanted, torch.Generator().manual_seed(seed))
    assert (drawn.diff() > 0).all()
    ends = sizes.cumsum(0)
    assert [int(((drawn >= end - size) & (drawn < end)).sum()) for size, end in zip(sizes, ends, strict=True)] == \
        wanted.tolist()  # fmt: skip
    with pytest.raises(ValueError, match="more distinct positions out of a group than it has"):
        draw_in_groups(torch.tensor([3]), torch.tensor([4]))


@pytest.mark.parametrize("each", [1, 2, 3])
def test_every_subset_of_a_group_is_equally_likely(each):
    sizes = torch.full((6000,), 4)
    drawn = draw_in_groups(sizes, torch.full((6000,), each), torch.Generator().manual_seed(0)).view(-1, each) % 4
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == {1: 4, 2: 6, 3: 4}[each]
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_a_draw_takes_no_memory_of_what_it_is_drawn_from():
    drawn = draw_in_groups(torch.full((3,), 10**15), torch.full((3,), 100), torch.Generator().manual_seed(0))
    assert torch.bincount(drawn // 10**15).tolist() == [100, 100, 100]


@pytest.mark.parametrize(("structure", "counts"), [
    ("row", {"fc1": 300 * 39, "fc2": 100 * 15, "fc3": 10 * 5}),  # the nearest to 5% of 784, 300, 100
    (16, {"fc1": 300 * 49, "fc2": 100 * 19, "fc3": 10 * 7}),  # one of 16, and one of the rest
    (4, {"fc1": 300 * 196, "fc2": 100 * 75, "fc3": 10 * 25}),  # one at least
])  # fmt: skip
@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_a_structure_is_drawn_with_the_nearest_counts(structure, counts, kind):
    model = sparsify(mlp(784, 300, 100, 10), 0.95, allocation="uniform", structure=structure, kind=kind)
    for name, layer in model.named_children():
        if name in counts:
            assert layer.active_weights == counts[name]
            assert is_structured(layer, structure)


def test_what_groups_change_is_said(caplog):
    sparsify(mlp(784, 300, 100, 10), 0.95, allocation="uniform", structure="row")
    assert not caplog.records
    model = sparsify(mlp(784, 300, 100, 10), 0.95, structure=4)
    share = 1 - count_weights(model)[0] / count_weights(model)[1]
    assert f"structure=4 allow no such sparsity: {100 * share:.2f}% in the place of 95.00%" in caplog.text
    model = sparsify(mlp(20, 10, 10), 0.9, densities={"fc2": 0.0}, structure="row")
    assert model.fc2.active_weights == 0


@settings(max_examples=100, deadline=None)
@given(structure=STRUCTURES, width=st.integers(1, 40), rows=st.integers(1, 12), sparsity=st.floats(0, 0.99),
       by=st.sampled_from(["gradient", "random"]), fraction=st.sampled_from([0.1, 0.3, 1.0]),
       seed=st.integers(0, 10**6))  # fmt: skip
def test_thousands_of_updates_keep_the_count_of_every_group(structure, width, rows, sparsity, by, fraction, seed):
    model = nn.Sequential(sparsify(nn.Linear(width, rows), sparsity, structure=structure, seed=seed))
    engine = engine_for(model, drop_fraction=fraction, grow=f"{by} by {structure}", stop=None, seed=seed)
    before = by_group(model[0], structure)
    assert is_structured(model[0], structure)
    for update in range(25):  # times 100 examples
        shake(model, seed + update)
        model.zero_grad()  # as in a training: what is left from other connections is no gradient of these
        F.cross_entropy(model(torch.randn(5, width)), torch.randint(rows, (5,))).backward()
        engine.update()
        assert by_group(model[0], structure) == before


@settings(max_examples=80, deadline=None)
@given(structure=STRUCTURES, convolution=st.booleans(), kind=st.sampled_from(["masked", "sparse"]),
       block=st.sampled_from([1, 40, 10**6]), seed=st.integers(0, 999))  # fmt: skip
def test_growth_takes_the_largest_gradients_of_each_group(structure, convolution, kind, block, seed):
    """Against a slow search; whatever the blocks in which gradients stream by."""
    torch.manual_seed(seed)
    dense = nn.Conv2d(4, 6, 2) if convolution else nn.Linear(24, 6)
    x = torch.randint(-2, 3, (3, 4, 4, 4) if convolution else (3, 24)).double()  # whole numbers: many ties
    sparse_or_masked, masked_one = (
        sparsify(nn.Sequential(dense.double()), 0.7, structure=structure, kind=k, seed=seed) for k in (kind, "masked")
    )
    (layer,) = sparse_layers(sparse_or_masked).values()
    layer.watch(True)
    sparse_or_masked(x).sum().backward()  # of whole numbers, exactly
    active = layer.active_positions()
    taken = active[torch.randperm(len(active))[: len(active) // 2]]
    with pytest.MonkeyPatch.context() as patched:
        for module in (masked, sparse):
            patched.setattr(module, "_BLOCK", block)
        grown = within(structure)(layer, taken, len(active) - len(taken), torch.Generator())
    masked_one[0].mask.fill_(True)
    masked_one(x).sum().backward()  # by autograd, of all weights
    full, kept, expected = masked_one[0].weight.grad.flatten().abs().tolist(), set(taken.tolist()), set()
    for group in groups_of(layer.weight_shape, structure):
        free = sorted(set(group) - kept, key=lambda p: (-full[p], p))
        expected |= set(free[: len(set(active.tolist()).intersection(group)) - len(kept.intersection(group))])
    assert set(grown.tolist()) == expected


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
            assert is_structured(layer, structure)
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))


def test_growth_in_groups_says_what_is_missing_and_leaves_all_layers_as_they_were():
    right = sparsify(nn.Linear(20, 10), 0.5, structure="row", seed=0)
    wrong = sparsify(nn.Linear(10, 10), 0.5, seed=0)
    engine = engine_for(nn.Sequential(right, wrong), drop_fraction=0.3, grow="random by row")
    before = [right.mask.clone(), wrong.mask.clone()]
    with pytest.raises(RuntimeError, match=r"groups of 10 inputs .* sparsify\(..., structure=...\)"):
        engine.update()
    assert torch.equal(right.mask, before[0])
    assert torch.equal(wrong.mask, before[1])
    engine = engine_for(nn.Sequential(right), drop_fraction=0.3, grow="random by row", bar_dropped=True)
    with pytest.raises(RuntimeError, match="leave bar_dropped off"):
        engine.update()
    assert {"gradient by row", "random by 16"} < set(GROW)
