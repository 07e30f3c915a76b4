"""Truly sparse layers on the move: the protocol of `rules.py`, against masked layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import sparsify, to_truly_sparse
from dst_tutorial.topology import rules


def pair(make, sparsity, seed):
    """The same layer, masked and truly sparse."""
    torch.manual_seed(seed)
    masked = sparsify(make(), sparsity, seed=seed, init="fan_in").double()
    return masked, to_truly_sparse(masked)


LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (4, 7)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), (4, 3, 5, 6)),
    "groups, stride, dilation": (lambda: nn.Conv2d(4, 6, (2, 3), 2, 1, 2, 2), (3, 4, 9, 9)),
    "same": (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="reflect"), (2, 2, 6, 6)),
}


@settings(max_examples=50)
@given(
    name=st.sampled_from(list(LAYERS)),
    sparsity=st.sampled_from([0.0, 0.3, 0.8]),
    uses=st.integers(1, 2),
    block=st.sampled_from([1, 10, 2**18]),
    seed=st.integers(0, 99),
)
def test_the_watched_gradient_is_the_masked_layers(name, sparsity, uses, block, seed):
    (make, shape), layers = LAYERS[name], []
    for layer in pair(make, sparsity, seed):
        layer.watch(True)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(uses):
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            layer(x).sin().sum().backward()
        layers.append(layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dst_tutorial.layers.sparse._BLOCK", block)
        blocks = list(layers[1].gradient_blocks())
    theirs = torch.cat([block for _, block in layers[0].gradient_blocks()])
    assert torch.equal(torch.cat([first + torch.arange(len(b)) for first, b in blocks]), torch.arange(len(theirs)))
    torch.testing.assert_close(torch.cat([b for _, b in blocks]), theirs)
    some = torch.randperm(len(theirs), generator=torch.Generator().manual_seed(seed))[:5]
    torch.testing.assert_close(layers[1].gradient_at(some), theirs[some])
    layers[1].watch(False)
    assert layers[1].gradient_blocks() is None


@settings(max_examples=50)
@given(
    name=st.sampled_from(list(LAYERS)),
    sparsity=st.sampled_from([0.3, 0.8, 0.95]),
    fraction=st.sampled_from([0.0, 0.3, 1.0]),
    reset=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_and_moments_follow_their_connection(name, sparsity, fraction, reset, seed):
    make, shape = LAYERS[name]
    masked, sparse = pair(make, sparsity, seed)
    before = sparse.to_dense(), sparse.active_positions()
    moment = torch.randn(sparse.active_weights, dtype=torch.float64)
    dense_moment = torch.zeros(masked.weight.numel(), dtype=torch.float64)
    dense_moment[before[1]] = moment
    dense_moment = dense_moment.view(masked.weight.shape)
    generator = torch.Generator().manual_seed(seed)
    drop = rules.by_magnitude(sparse, fraction)
    taken = before[1][~torch.isin(before[1], drop)]
    grow = rules.at_random(sparse, taken, len(drop), generator)
    new = torch.randn(len(grow), generator=generator)
    sparse.values.grad = torch.ones_like(sparse.values)
    for layer, moments in ((sparse, [moment]), (masked, [dense_moment])):
        layer.rewire(drop, grow, new, moments, reset)
    assert torch.equal(sparse.to_dense(), masked.weight)
    assert torch.equal(sparse.active_positions(), masked.active_positions())
    assert sparse.values.grad is None
    if reset:
        assert torch.equal(moment, dense_moment.take(sparse.active_positions()))
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(sparse(x), masked(x))


def test_in_very_wide_layers_gradient_growth_looks_at_candidates(monkeypatch):
    monkeypatch.setattr(rules, "WIDEST", 10)
    for layer in pair(lambda: nn.Linear(30, 20), 0.8, 0):
        layer.watch(True)
        layer(
            torch.randn(4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        ).sin().sum().backward()
        taken = layer.active_positions()
        grown = rules.by_gradient(layer, taken, 10, torch.Generator().manual_seed(1))
        score = torch.cat([b for _, b in layer.gradient_blocks()]).abs()
        candidates = rules.at_random(layer, taken, 100, torch.Generator().manual_seed(1))
        assert set(grown.tolist()) == set(candidates[score[candidates].argsort(descending=True)[:10]].tolist())


# --- whose gradient: the one that the optimiser is about to apply -----------------------------------------------------


def backward(layer, x):
    layer(x).sin().sum().backward()


def by_grad(layer, x):
    """Gradients without `backward`: added by hand, as some do who accumulate."""
    (found,) = torch.autograd.grad(layer(x).sin().sum(), layer.parameter)
    layer.parameter.grad = found if layer.parameter.grad is None else layer.parameter.grad + found


def zero(layer):
    layer.parameter.grad = torch.zeros_like(layer.parameter)


def forget(layer):
    layer.parameter.grad = None


def scale(layer):
    layer.parameter.grad *= 0.01


HISTORIES = {  # what is done with batches 0, 1 and 2, and the gradient that counts: these batches and how often
    "one batch": ([(backward, 0)], [0]),
    "two accumulate": ([(backward, 0), (backward, 1)], [0, 1]),
    "three, scaled": ([(backward, 0), (backward, 1), (backward, 2), scale], [0, 1, 2]),
    "thrown away with None": ([(backward, 0), forget, (backward, 1)], [1]),
    "thrown away with zeros": ([(backward, 0), zero, (backward, 1)], [1]),
    "thrown away, then two": ([(backward, 0), zero, (backward, 1), (backward, 2)], [1, 2]),
    "by autograd.grad": ([(by_grad, 0), (by_grad, 1)], [0, 1]),
    "by autograd.grad, thrown away": ([(by_grad, 0), forget, (by_grad, 1), (by_grad, 2)], [1, 2]),
    "zeros before": ([zero, (backward, 0)], [0]),
    "all thrown away": ([(backward, 0), forget], None),
    "all thrown away with zeros": ([(backward, 0), zero], None),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", [0, 1], ids=["masked", "sparse"])
def test_the_gradient_that_is_about_to_be_applied_counts(name, history, form):
    (make, shape), (events, counted) = LAYERS[name], HISTORIES[history]
    layer = pair(make, 0.5, 0)[form]
    batches = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layer.watch(True)
    for event in events:
        if isinstance(event, tuple):
            event[0](layer, batches[event[1]])
        else:
            event(layer)
    blocks = layer.gradient_blocks()
    if counted is None:
        assert blocks is None
        return
    expected = pair(make, 0.5, 0)[0]  # a dense gradient, by a mask of ones in the backward pass
    expected.watch(True)
    total = 0
    for i in counted:
        expected.watch(True)
        expected.zero_grad()
        backward(expected, batches[i])
        total = total + torch.cat([block for _, block in expected.gradient_blocks()])
    torch.testing.assert_close(torch.cat([block for _, block in blocks]), total)


@pytest.mark.parametrize("form", [0, 1], ids=["masked", "sparse"])
def test_gradients_of_earlier_weights_are_forgotten(form):
    """An engine that nobody steps any more must not fill the memory."""
    layer = pair(LAYERS["linear"][0], 0.5, 0)[form]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer.watch(True)
    for _ in range(5):
        optimizer.zero_grad()
        backward(layer, torch.randn(4, 7, dtype=torch.float64))
        optimizer.step()
    assert len(layer._watched.records) == 1


@pytest.mark.parametrize("name", LAYERS)
def test_an_input_that_is_written_over_still_counts_as_it_was(name):
    """As of a loader that fills one buffer again and again."""
    make, shape = LAYERS[name]
    found = []
    for reuse in (False, True):
        layer = pair(make, 0.5, 0)[1]
        layer.watch(True)
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        backward(layer, x)
        if reuse:
            x.zero_()
        found.append(torch.cat([block for _, block in layer.gradient_blocks()]))
    assert torch.equal(*found)


@pytest.mark.parametrize("make", [lambda: nn.Linear(8, 4), lambda: nn.Conv2d(2, 4, 2)])
def test_an_update_under_autocast_behind_a_dense_layer(make):
    layer = sparsify(make(), 0.5, kind="sparse")
    layer.watch(True)
    x = torch.randn((5, 8) if hasattr(layer, "in_features") else (5, 2, 4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x.bfloat16()).square().sum().backward()
    assert all(block.dtype == torch.float32 for _, block in layer.gradient_blocks())
