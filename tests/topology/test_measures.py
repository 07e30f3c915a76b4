import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import SlideCNN, mlp, sparsify, to_truly_sparse
from dst_tutorial.layers.sparsify import sparse_layers
from dst_tutorial.topology.measures import (
    Mask,
    ages,
    exploration,
    exploration_rate,
    in_degrees,
    jaccard,
    masks_of,
    neurons,
    out_degrees,
    overlap,
    paths,
    returns,
    share_by_cell,
    survival,
)


@st.composite
def histories(draw):
    """Snapshots of two small layers, as masks; any of them may be any mask with at least one active weight."""
    shapes = {"a": (3, 4), "b": (2, 3, 2, 1)}
    count = draw(st.integers(1, 6))
    return [
        {
            name: np.array(draw(st.lists(st.booleans(), min_size=12, max_size=12).filter(any))).reshape(shape)
            for name, shape in shapes.items()
        }
        for _ in range(count)
    ]


def snapshots(history):
    return [{name: Mask.of(mask) for name, mask in masks.items()} for masks in history]


def sets(history):
    return [{(n, int(i)) for n, m in masks.items() for i in m.ravel().nonzero()[0]} for masks in history]


@given(histories())
def test_every_measure_against_sets(history):
    masks, active = snapshots(history), sets(history)
    seen = [set.union(*active[: i + 1]) for i in range(len(active))]
    since = [set.intersection(*active[: i + 1]) for i in range(len(active))]
    assert list(exploration(masks)) == pytest.approx([len(s) / 24 for s in seen])
    assert exploration_rate(masks) == pytest.approx(len(seen[-1]) / 24)
    assert survival(masks) == pytest.approx([len(s) / len(active[0]) for s in since])
    assert overlap(masks[0], masks[-1]) == pytest.approx(len(active[0] & active[-1]) / len(active[0]))
    assert jaccard(masks[0], masks[-1]) == pytest.approx(len(active[0] & active[-1]) / len(active[0] | active[-1]))
    grown = [(b - a, s) for a, b, s in zip(active, active[1:], seen, strict=False)]
    assert returns(masks) == [(len(new), len(new & before)) for new, before in grown]
    for name, found in ages(masks).items():
        for position, age in zip(masks[-1][name].positions, found, strict=True):
            expected = 0
            while expected + 1 < len(active) and (name, int(position)) in active[-2 - expected]:
                expected += 1
            assert age == expected


@given(histories())
def test_degrees_against_sums_of_the_mask(history):
    for mask in history[0].values():
        axes = tuple(range(2, mask.ndim))
        assert in_degrees(Mask.of(mask)).tolist() == mask.sum(axis=(1, *axes)).tolist()
        assert out_degrees(Mask.of(mask)).tolist() == mask.sum(axis=(0, *axes)).tolist()


def test_masks_and_indices_give_the_same_snapshot():
    model = sparsify(SlideCNN(channels=(2, 4), hidden=(20,)), 0.8, seed=0)
    for one, other in zip(masks_of(model).values(), masks_of(to_truly_sparse(model)).values(), strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        assert one.shape == other.shape
    for name, layer in sparse_layers(model).items():
        assert (masks_of(model)[name].unpack() == layer.mask.numpy()).all()
        assert (masks_of(model)[name].active, masks_of(model)[name].size) == (layer.active_weights, layer.mask.numel())


def test_a_snapshot_is_a_copy_and_takes_memory_for_what_is_active_only():
    layer = nn.Sequential(sparsify(nn.Linear(500, 400), 0.99, seed=0))
    snapshot = masks_of(layer)["0"]
    assert snapshot.positions.nbytes == 4 * 2000
    kept = snapshot.positions.tolist()
    layer[0].mask.fill_(False)
    assert snapshot.positions.tolist() == kept
    huge = Mask.at([5, 10**10 - 1], (10**5, 10**5))
    assert huge.size == 10**10
    assert (in_degrees(huge).sum(), in_degrees(huge)[-1]) == (2, 1)


def test_two_random_topologies_are_as_alike_as_chance_says():
    a, b = (masks_of(sparsify(SlideCNN(), 0.95, allocation="uniform", seed=seed)) for seed in (1, 2))
    assert jaccard(a, b) == pytest.approx(0.05 / 1.95, rel=0.03)
    assert jaccard(a, a) == 1


# --- neurons ----------------------------------------------------------------------------------------------------------


def brute_force(masks):
    """Paths by products of dense matrices: a path from unit i to unit j exists where the product is not zero."""
    matrices = []
    for mask in masks.values():
        dense = mask.unpack().reshape(*mask.shape[:2], -1).any(2)
        if matrices:
            dense = dense.reshape(len(dense), len(matrices[-1]), -1).any(2)  # a channel's pixels are one unit's
        matrices.append(dense.astype(int))
    reached = np.ones(matrices[0].shape[1], dtype=int)
    unreachable, unread = [], []
    for matrix in matrices:
        reached = (matrix @ reached > 0).astype(int)
        unreachable.append(reached == 0)
    heard = np.ones(len(matrices[-1]), dtype=int)
    for matrix in matrices[::-1]:
        unread.append(heard == 0)
        heard = (heard @ matrix > 0).astype(int)
    return unreachable, unread[::-1]


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_neurons_against_products_of_matrices(sparsity, seed):
    for network in (mlp(12, 9, 7, 5), SlideCNN(channels=(3, 4), hidden=(9, 6), image_size=8, classes=5)):
        masks = masks_of(sparsify(network, sparsity, seed=seed))
        for found, unreachable, unread in zip(neurons(masks).values(), *brute_force(masks), strict=True):
            assert found.unreachable.tolist() == unreachable.tolist()
            assert found.unread.tolist() == unread.tolist()
            assert (found.dead == unreachable | unread).all()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_dead_does_not_matter(seed):
    """Unreachable units say the same to every image; whatever unread ones say, the logits are the same."""
    torch.manual_seed(seed)
    model = sparsify(SlideCNN(channels=(4, 4), hidden=(20, 15), image_size=8), 0.93, allocation="uniform", seed=seed)
    dead = neurons(masks_of(model))
    assert any(n.unreachable.any() for n in dead.values())
    assert any(n.unread.any() for n in dead.values())
    images = torch.randn(6, 1, 8, 8)
    x, logits = images, model(images)
    for name, layer in model.named_children():
        x = layer(x)
        if name in dead:
            gone = torch.from_numpy(dead[name].unreachable)
            assert (x[:, gone] == x[:1, gone]).all()
    for name, found in dead.items():
        model.get_submodule(name).bias.data[torch.from_numpy(found.unread)] += 100.0
    assert torch.equal(model(images), logits)


def test_layers_that_are_no_chain_are_refused():
    with pytest.raises(ValueError, match="fc2 reads 7 inputs and fc1 has 4 units: not a chain"):
        neurons({"fc1": Mask.of(np.ones((4, 3))), "fc2": Mask.of(np.ones((2, 7)))})


def test_measures_of_nothing_say_so():
    empty, full = ({"a": Mask.of(np.full((2, 2), value))} for value in (False, True))
    for measure in (lambda: overlap(empty, full), lambda: jaccard(empty, empty), lambda: survival([empty])):
        with pytest.raises(ValueError, match="no active connection"):
            measure()
    with pytest.raises(ValueError, match="there are no snapshots"):
        exploration_rate([])
    with pytest.raises(ValueError, match="names or shapes differ"):
        jaccard(full, {"a": Mask.of(np.ones((4, 1)))})


@given(st.floats(0.3, 0.95), st.integers(0, 9))
def test_paths_against_products_of_matrices(sparsity, seed):
    masks = masks_of(sparsify(SlideCNN((3, 4), (6, 5), 8), sparsity, seed=seed))
    onward = np.ones(10)
    for mask in reversed(masks.values()):
        kernels = mask.unpack().reshape(*mask.shape[:2], -1).sum(2)  # a path for each weight of a kernel
        if len(onward) != len(kernels):
            onward = onward.reshape(len(kernels), -1).sum(1)
        onward = onward @ kernels
    assert paths(masks) == pytest.approx(onward)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 7), st.integers(1, 7), st.integers(0, 9))
def test_cells_hold_the_mean_of_their_weights(rows, columns, down, across, seed):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.3
    found = share_by_cell(mask.ravel().nonzero()[0], mask.shape, (down, across))
    expected = [[mask[i : i + down, j : j + across].mean() for j in range(0, columns, across)]
                for i in range(0, rows, down)]  # fmt: skip
    assert found == pytest.approx(np.array(expected))
