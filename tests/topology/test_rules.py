"""What is dropped and what is grown, against slow and simple references."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_engine import engine_for, shake, with_sgd
from torch import nn

from dst_tutorial import MaskedConv2d, mlp, sparsify
from dst_tutorial.layers import masked
from dst_tutorial.layers.sparsify import sparse_layers
from dst_tutorial.positions import exact_floor
from dst_tutorial.topology.algorithms import RigL
from dst_tutorial.topology.rules import at_random, by_gradient, by_lot, by_sign


@settings(max_examples=60)
@given(n_in=st.integers(1, 20), n_out=st.integers(1, 20), fraction=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
       seed=st.integers(0, 10**6))  # fmt: skip
def test_sets_drop_takes_the_same_share_of_both_signs(n_in, n_out, fraction, seed):
    layer = sparsify(nn.Linear(n_in, n_out), 0.4, seed=seed)
    shake(layer, seed)
    values = dict(zip(layer.active_positions().tolist(), layer.active_values().tolist(), strict=True))
    expected = set()
    for sign in (1, -1):
        same = sorted((abs(v), p) for p, v in values.items() if v * sign > 0)
        expected |= {p for _, p in same[: exact_floor(fraction, len(same))]}
    dropped = by_sign(layer, fraction).tolist()
    assert dropped == sorted(expected)


def test_a_drop_by_lot_takes_each_connection_equally_often():
    layer = sparsify(nn.Linear(20, 10), 0.9, seed=0)
    shake(layer, 0)
    active = layer.active_positions()
    times, rounds, generator = torch.zeros(200), 3000, torch.Generator().manual_seed(0)
    for _ in range(rounds):
        dropped = by_lot(layer, 0.3, generator)
        assert len(dropped) == len(dropped.unique()) == 6  # floor(0.3 * 20)
        times[dropped] += 1
    assert times.sum() == times[active].sum()
    assert stats.chisquare(times[active].numpy()).pvalue > 0.001


def test_a_drop_by_lot_is_the_same_in_both_forms():
    masks = []
    for kind in ("masked", "sparse"):
        model = sparsify(mlp(20, 10), 0.8, kind=kind, seed=0)
        engine = engine_for(model, drop="random", drop_fraction=0.3, seed=1)
        for _ in range(3):
            assert engine.update() == 12
        masks.append(model.fc1.active_positions())
    assert torch.equal(*masks)


def dense_gradients(model, x, loss):
    """The gradient of every weight, by autograd on a dense copy: layer name -> tensor."""
    dense = copy.deepcopy(model)
    for layer in sparse_layers(dense).values():
        layer.mask.fill_(True)
    loss(dense(x)).backward()
    return {name: layer.weight.grad for name, layer in sparse_layers(dense).items()}


def a_convolution(sparsity, seed, groups):
    return sparsify(nn.Conv2d(2 * groups, 2 * groups, 3, padding=1, groups=groups), sparsity, seed=seed)


@settings(max_examples=60, deadline=None)
@given(
    make=st.sampled_from([
        lambda s, seed: sparsify(mlp(6, 5, 1, 7), s, seed=seed),
        lambda s, seed: a_convolution(s, seed, 1),
        lambda s, seed: a_convolution(s, seed, 2),
    ]),
    sparsity=st.sampled_from([0.3, 0.5, 0.8, 0.95]),
    fraction=st.sampled_from([0.1, 0.3, 0.7, 1.0]),
    bar=st.booleans(),
    block=st.sampled_from([1, 7, 10**6]),
    ties=st.booleans(),
    seed=st.integers(0, 10**6),
)  # fmt: skip
def test_rigl_grows_exactly_the_largest_gradients(make, sparsity, fraction, bar, block, ties, seed):
    """Against dense gradients and Python's sort: every layer, whatever the size of the streamed blocks."""
    torch.manual_seed(seed)
    model = make(sparsity, seed)
    convolution = isinstance(model, MaskedConv2d)
    if ties:
        for layer in sparse_layers(model).values():
            layer.weight.data.sign_()
    x = torch.randn((3, model.in_channels, 5, 5) if convolution else (4, 6))
    x = x.sign() if ties else x
    engine = engine_for(model, grow="gradient", drop_fraction=fraction, bar_dropped=bar, grown_std=0.0)
    layers = dict(engine.layers)
    before = {name: (layer.mask.clone(), layer.weight.detach().clone()) for name, layer in layers.items()}
    gradients = dense_gradients(model, x, lambda y: y.square().sum())
    old_block, masked._BLOCK = masked._BLOCK, block
    try:
        model(x).square().sum().backward()
        engine.step()
    finally:
        masked._BLOCK = old_block
    for name, layer in layers.items():
        mask, weight = before[name]
        active, size = mask.flatten().nonzero().flatten().tolist(), mask.numel()
        count = exact_floor(fraction, len(active)) if len(active) < size else 0
        count = min(count, size - len(active)) if bar else count
        magnitude = weight.abs().flatten().tolist()
        dropped = sorted(active, key=lambda p: (magnitude[p], p))[:count]
        taken = set(active) if bar else set(active) - set(dropped)
        score = gradients[name].abs().flatten().tolist()
        grown = sorted(set(range(size)) - taken, key=lambda p: (-score[p], p))[:count]
        assert layer.active_positions().tolist() == sorted((set(active) - set(dropped)) | set(grown))
        assert (layer.weight.flatten()[grown] == 0).all()


def test_the_gradient_is_the_sum_over_all_uses_of_a_layer():
    """A layer that is used twice, and two batches before one step: as .grad adds up, so does what RigL sees."""
    torch.manual_seed(0)
    layer = sparsify(nn.Linear(6, 6), 0.5, seed=0)
    engine_for(layer, grow="gradient")
    batches = torch.randn(2, 3, 6)
    for x in batches:
        layer(layer(x)).sum().backward()
    watched = torch.cat([block for _, block in layer.gradient_blocks()])
    weight = layer.masked_weight.detach().requires_grad_()
    for x in batches:
        F.linear(F.linear(x, weight, layer.bias), weight, layer.bias).sum().backward()
    torch.testing.assert_close(watched, weight.grad.flatten())
    torch.testing.assert_close(layer.weight.grad, weight.grad * layer.mask)


def test_an_update_without_a_gradient_says_so():
    with pytest.raises(RuntimeError, match=r"fc1: there is no gradient to grow by.*@needs_gradient"):
        engine_for(sparsify(mlp(6, 6), 0.5), grow="gradient").update()


def test_nothing_is_watched_between_updates():
    model = sparsify(mlp(6, 5), 0.5, seed=0)
    engine = engine_for(model, grow="gradient", update_interval=3)
    held = []
    for _ in range(6):
        engine.optimizer.zero_grad()
        model(torch.ones(2, 6)).sum().backward()
        held.append(bool(model.fc1._watched.records))
        engine.step()
        assert not model.fc1._watched.records
    assert held == [False, False, True] * 2


@pytest.mark.parametrize(
    ("returned", "told"),
    [([3, 4], "a list"), (None, "a NoneType"), (torch.ones(9), "torch.float32"), (torch.ones(9).bool(), "torch.bool")],
)
@pytest.mark.parametrize("half", ["drop", "grow"])
def test_a_rule_that_returns_no_positions_is_told_so(half, returned, told):
    engine = engine_for(sparsify(mlp(6, 6), 0.5), drop_fraction=0.5, **{half: lambda *_: returned})
    with pytest.raises(TypeError, match=f"the (drop|growth) rule <lambda> must return positions, .* returned .*{told}"):
        engine.update()


@given(count=st.integers(0, 5), seed=st.integers(0, 99))
def test_rules_take_positions_in_any_order(count, seed):
    """A reader's rule hands on what it has put together."""
    layer = watched(sparsify(mlp(6, 6), 0.5)).fc1
    taken = layer.active_positions()
    mixed = taken[torch.randperm(len(taken), generator=torch.Generator().manual_seed(seed))]
    for rule in (at_random, by_gradient):
        chosen = [rule(layer, t, count, torch.Generator().manual_seed(seed)) for t in (taken, mixed)]
        assert torch.equal(*chosen)
        assert not torch.isin(chosen[0], taken).any()


def watched(model):
    """`model` after a backward pass in which its layer's gradient was watched."""
    model.fc1.watch(True)
    model(torch.randn(3, 6, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    return model


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (lambda layer, taken, count, generator: taken[:count], "9 of them taken"),
        (lambda layer, taken, count, generator: torch.zeros(count, dtype=torch.int64), "it returned 1 distinct"),
        (lambda layer, taken, count, generator: torch.arange(100, 100 + count), "of fc1's 36 outside"),
        (lambda layer, taken, count, generator: torch.arange(0), "it returned 0 distinct"),
    ],
)
def test_a_growth_rule_that_errs_costs_no_connection(rule, complaint):
    model = sparsify(mlp(6, 6), 0.5, seed=0)
    mask = model.fc1.mask.clone()
    with pytest.raises(ValueError, match=complaint):
        engine_for(model, drop_fraction=0.5, bar_dropped=True, grow=rule).update()
    assert torch.equal(model.fc1.mask, mask)


def test_a_rule_in_a_class_is_no_method():
    class Own(RigL):
        grow = by_gradient
        drop = staticmethod(by_sign)

    engine = with_sgd(Own, sparsify(mlp(4, 4), 0.5))
    assert (engine._grow, engine._drop) == (by_gradient, by_sign)
