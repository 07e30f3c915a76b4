import copy
import gc
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import DynamicSparsity, MaskedConv2d, MaskedLinear, SlideCNN, mlp, sparsify
from dst_tutorial.layers import masked
from dst_tutorial.layers.sparsify import count_weights, sparse_layers
from dst_tutorial.positions import exact_floor
from dst_tutorial.topology.algorithms import ALGORITHMS, GMP, SET, RigL, Static
from dst_tutorial.topology.rules import SCHEDULES, at_random, by_gradient, by_magnitude, by_sign


def engine_for(model, **options):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return DynamicSparsity(model, optimizer, **{"unit": "steps", "update_interval": 1, **options})


def with_sgd(algorithm, model, **options):
    return algorithm(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def shake(model, seed):
    """New values on active weights, with many ties."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if hasattr(layer, "mask"):
            values = torch.randint(-3, 4, layer.weight.shape, generator=generator) + 0.5
            layer.weight.data = values * layer.mask


@settings(max_examples=80)
@given(
    sparsity=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.95, 0.99]),
    n_in=st.integers(1, 25),
    n_out=st.integers(1, 25),
    fraction=st.sampled_from([0.0, 0.1, 0.3, 0.57, 1.0]),
    bar=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_thousands_of_updates_keep_the_count_and_lose_no_connection(sparsity, n_in, n_out, fraction, bar, seed):
    model = nn.Sequential(sparsify(nn.Linear(n_in, n_out), sparsity, seed=seed))
    layer, total = model[0], n_in * n_out
    engine = engine_for(model, drop_fraction=fraction, bar_dropped=bar, grown_std=0.0, seed=seed)
    active = layer.active_weights
    count = exact_floor(fraction, active)
    if bar:
        count = min(count, total - active)
    if active == total:
        count = 0
    for update in range(40):  # 80 examples x 40
        shake(model, update)
        before, weight = layer.mask.clone(), layer.weight.detach().clone()
        magnitude = weight.abs().flatten()
        smallest = sorted(before.flatten().nonzero().flatten().tolist(), key=lambda i: (magnitude[i].item(), i))[:count]

        assert engine.update() == count
        after, dropped = layer.mask.flatten(), torch.zeros(total, dtype=torch.bool)
        dropped[smallest] = True
        kept = before.flatten() & ~dropped
        grown = after & ~kept
        assert after.sum() == active  # constant sparsity
        assert (after | ~kept).all()  # no kept connection is lost
        assert torch.equal(layer.weight.flatten()[kept], weight.flatten()[kept])  # nor its value
        assert grown.sum() == count
        assert (layer.weight.flatten()[grown] == 0).all()  # as grown_std=0 says
        if bar:
            assert not (grown & before.flatten()).any()


def test_the_slide_network_keeps_67175_weights_before_and_after_every_update():
    model = sparsify(SlideCNN(), 0.95, allocation="uniform", seed=42)
    engine = engine_for(model, seed=42)
    counts = {name: layer.active_weights for name, layer in engine.layers.items()}
    assert sum(counts.values()) == 67_175
    conv1 = model.conv1.mask.clone()
    for _ in range(25):
        assert engine.update() == sum(exact_floor(0.1, n) for n in counts.values()) == 6_716
        assert {name: layer.active_weights for name, layer in engine.layers.items()} == counts
    assert torch.equal(model.conv1.mask, conv1)  # int(0.1 * 8) = 0: it never rewires


def test_ties_are_dropped_in_order_of_position():
    layer = sparsify(nn.Linear(4, 3), 0.5, seed=0)
    layer.weight.data = layer.mask * 1.0
    assert torch.equal(by_magnitude(layer, Fraction(2, 6)), layer.active_positions()[:2])


def test_grown_weights_are_small_normal_values():
    model = sparsify(nn.Linear(300, 300), 0.5, seed=0)
    before = model.mask.clone()
    engine_for(model, drop_fraction=1.0, bar_dropped=True).update()
    grown = model.weight[model.mask]
    assert not (model.mask & before).any()
    assert grown.std().item() == pytest.approx(0.01, rel=0.02)
    assert grown.mean().item() == pytest.approx(0, abs=2e-4)


def test_growth_is_uniform_over_inactive_positions():
    counts = torch.zeros(40)
    for seed in range(2000):
        model = sparsify(nn.Linear(10, 4), 0.75, seed=1)
        kept_out = model.mask.flatten().clone()
        engine_for(model, drop_fraction=0.5, bar_dropped=True, seed=seed).update()
        counts += model.mask.flatten() & ~kept_out
    free = counts[~kept_out]
    expected = 2000 * 5 / 30
    assert ((free - expected) ** 2 / expected).sum() < 65  # p < 2e-4 at 29 degrees of freedom


OPTIMISERS = {
    "Adam": (lambda p: torch.optim.Adam(p, amsgrad=True), ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
    "AdamW": (lambda p: torch.optim.AdamW(p, weight_decay=0.1), ("exp_avg", "exp_avg_sq")),
    "SGD": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), ("momentum_buffer",)),
}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_optimisers_state_follows_its_connection(reset, name):
    torch.manual_seed(0)
    model = nn.Sequential(sparsify(nn.Linear(12, 9), 0.6, seed=0))
    make, moments = OPTIMISERS[name]
    layer, optimizer = model[0], make(model.parameters())
    engine = DynamicSparsity(model, optimizer, drop_fraction=0.5, reset_moments=reset)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(20, 12)).square().sum().backward()
        optimizer.step()
    before, state = layer.mask.clone(), {k: optimizer.state[layer.weight][k].clone() for k in moments}
    dropped = torch.zeros_like(before)
    dropped.view(-1)[by_magnitude(layer, 0.5)] = True
    engine.update()
    kept = before & ~dropped
    touched = dropped | (layer.mask & ~before)  # one that was dropped and came right back counts as new
    assert (dropped & layer.mask).any()
    for name in moments:
        now = optimizer.state[layer.weight][name]
        expected = state[name] * ~touched if reset else state[name]
        assert (state[name][kept] != 0).any()
        assert torch.equal(now, expected)


@pytest.mark.parametrize(
    ("interval", "stop", "expected"), [(1, None, 7), (2, None, 3), (3, None, 2), (2, 0.5, 1), (1, 1.0, 6), (9, None, 0)]
)
@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_updates_come_when_they_are_due(unit, interval, stop, expected):
    model = sparsify(nn.Linear(20, 20), 0.8, seed=0)
    engine = engine_for(model, unit=unit, update_interval=interval, stop=stop, duration=7)
    advance, other = (engine.step, engine.end_epoch) if unit == "steps" else (engine.end_epoch, engine.step)
    assert [advance() for _ in range(7)].count(True) == engine.updates == expected
    assert not any(other() for _ in range(7))


def test_a_dense_layer_and_a_nearly_empty_one_are_left_alone():
    dense = sparsify(nn.Linear(5, 5), 0.0)
    nearly_empty = sparsify(nn.Linear(5, 5), 0.8)  # 5 connections, 10% of them is none
    for layer in (dense, nearly_empty):
        mask = layer.mask.clone()
        assert engine_for(layer).update() == 0
        assert torch.equal(layer.mask, mask)


def test_the_same_seed_gives_the_same_topology():
    def masks(seed):
        torch.manual_seed(0)
        model = sparsify(SlideCNN(), 0.95, seed=0)
        engine = engine_for(model, seed=seed)
        for _ in range(3):
            engine.update()
        return torch.cat([layer.mask.flatten() for layer in engine.layers.values()])

    assert torch.equal(masks(1), masks(1))
    assert not torch.equal(masks(1), masks(2))


def test_the_state_dict_continues_the_run():
    def run(interrupt):
        torch.manual_seed(0)
        model = sparsify(nn.Linear(20, 20), 0.8, seed=0)
        engine = engine_for(model, update_interval=2)
        for i in range(9):
            if interrupt and i == 5:
                state, engine = engine.state_dict(), engine_for(model, update_interval=2, seed=99)
                engine.load_state_dict(state)
            engine.step()
        return model.mask

    assert torch.equal(run(False), run(True))


def test_own_criteria():
    model = sparsify(nn.Linear(6, 6), 0.5, seed=0)
    engine = engine_for(
        model,
        drop_fraction=0.5,
        bar_dropped=True,
        drop=lambda layer, fraction: layer.active_positions()[-9:],
        grow=lambda layer, taken, count, generator: torch.tensor(sorted({*range(36)} - {*taken.tolist()})[:count]),
    )
    active = model.active_positions()
    free = sorted({*range(36)} - {*active.tolist()})
    engine.update()
    assert model.active_positions().tolist() == sorted([*active[:9].tolist(), *free[:9]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "hours"}, "unknown unit 'hours'"),
        ({"update_interval": 0}, "update_interval must be a positive whole number of steps"),
        ({"update_interval": 1.5}, "update_interval must be"),
        ({"drop_fraction": 1.1}, r"drop_fraction must be in \[0, 1\]"),
        ({"drop": "nope"}, "unknown drop rule 'nope'; choose from magnitude, sign"),
        ({"grow": "nope"}, "unknown grow rule 'nope'; choose from random, gradient"),
        ({"schedule": "nope"}, "unknown schedule 'nope'; choose from constant, cosine, linear"),
        ({"stop": 1.5}, r"stop is a share of the training and must be in \(0, 1\]"),
        ({"stop": 0}, r"must be in \(0, 1\], or None, got 0"),
        ({"duration": 0}, "duration must be a positive whole number of steps"),
        ({"unit": "epochs", "grow": "gradient"}, "set unit='steps'"),
    ],
)
def test_bad_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        engine_for(sparsify(nn.Linear(4, 4), 0.5), **options)


def test_a_dense_model_has_nothing_to_rewire():
    with pytest.raises(ValueError, match=r"call sparsify\(model, sparsity\) first"):
        engine_for(SlideCNN())


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(TypeError, match=r"RigL has no option 'alpha'; it has update_interval, .*drop_fraction"):
        with_sgd(RigL, sparsify(mlp(4, 3), 0.5), alpha=0.3)


# --- rules ------------------------------------------------------------------------------------------------------------


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
        held.append(model.fc1._gradient is not None)
        engine.step()
        assert model.fc1._gradient is None
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


# --- time -------------------------------------------------------------------------------------------------------------


def test_an_update_comes_in_the_place_of_the_optimisers_step():
    model = sparsify(mlp(6, 5), 0.5, seed=0)
    engine = engine_for(model, update_interval=2, drop_fraction=0.5)
    model(torch.ones(2, 6)).sum().backward()
    start = [p.detach().clone() for p in model.parameters()]
    assert not engine.step()
    assert not torch.equal(model.fc1.bias, start[1])
    bias, weight, mask = model.fc1.bias.clone(), model.fc1.weight.clone(), model.fc1.mask.clone()
    assert engine.step()
    stayed = mask & model.fc1.mask & (model.fc1.weight == weight)
    assert torch.equal(model.fc1.bias, bias)
    assert stayed.sum() >= 8  # half of 15, but for those that came right back


def test_an_optimiser_that_steps_twice_is_noticed():
    model = sparsify(mlp(6, 5), 0.5, seed=0)
    engine = engine_for(model, update_interval=5)
    model(torch.ones(2, 6)).sum().backward()
    engine.step()
    engine.optimizer.step()
    with pytest.raises(RuntimeError, match=r"the engine's step\(\) comes in its place"):
        engine.step()


@given(now=st.integers(0, 7035), alpha=st.sampled_from([0.1, 0.3, 0.5]))
def test_the_cosine_schedule_is_the_papers_formula(now, alpha):
    engine = with_sgd(RigL, sparsify(mlp(4, 4), 0.5), duration=9380, drop_fraction=alpha)
    assert engine.end == 7035
    assert engine.fraction_at(now) == pytest.approx(alpha / 2 * (1 + math.cos(now * math.pi / 7035)), abs=1e-12)


def test_rigl_drops_what_the_papers_formula_says_at_every_update():
    model = sparsify(mlp(30, 20), 0.5, seed=0)
    engine = RigL(model, torch.optim.SGD(model.parameters(), lr=0.1), duration=1000)
    moved = {}
    update = engine.update
    engine.update = lambda: moved.setdefault(engine.steps, update())
    for _ in range(1000):
        model(torch.ones(2, 30)).sum().backward()
        engine.step()
    expected = {t: math.floor(0.15 * (1 + math.cos(math.pi * t / 750)) * 300) for t in range(100, 750, 100)}
    assert moved == expected


def test_the_other_schedules():
    assert [SCHEDULES["constant"](p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [SCHEDULES["linear"](p) for p in (0, 0.25, 1)] == [1, 0.75, 0]


def test_an_engine_that_must_know_the_duration_asks_for_it():
    model = sparsify(mlp(4, 4), 0.5)
    engine = RigL(model, torch.optim.SGD(model.parameters(), lr=0.1), update_interval=1)
    model(torch.ones(1, 4)).sum().backward()
    with pytest.raises(ValueError, match=r"RigL must know how long the training is: pass duration= \(in steps\)"):
        engine.step()


# --- algorithms and controls ------------------------------------------------------------------------------------------


def test_the_algorithms_are_the_papers():
    rigl, set_ = RigL.options(), SET.options()
    assert {k: rigl[k] for k in ("update_interval", "unit", "stop", "drop_fraction", "schedule", "drop", "grow")} == {
        "update_interval": 100, "unit": "steps", "stop": 0.75, "drop_fraction": 0.3, "schedule": "cosine",
        "drop": "magnitude", "grow": "gradient",
    }  # fmt: skip
    assert rigl["grown_std"] == 0
    assert rigl["reset_moments"]
    assert not rigl["bar_dropped"]
    assert {k: set_[k] for k in ("update_interval", "unit", "stop", "drop_fraction", "schedule", "drop", "grow")} == {
        "update_interval": 1, "unit": "epochs", "stop": 1.0, "drop_fraction": 0.3, "schedule": "constant",
        "drop": "sign", "grow": "random",
    }  # fmt: skip


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_runs_and_the_same_seed_gives_the_same_run(name):
    def run(seed):
        torch.manual_seed(0)
        model = sparsify(mlp(12, 20, 6), 0.0 if name == "GMP" else 0.8, seed=0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        options = {"unit": "steps", "update_interval": 2} if name != "static" else {}
        options |= {"sparsity": 0.8} if name == "GMP" else {}
        engine = ALGORITHMS[name](model, optimizer, seed=seed, duration=20, **options)
        for _ in range(20):
            optimizer.zero_grad()
            model(torch.randn(8, 12)).square().sum().backward()
            engine.step()
        assert (engine.updates > 0) == (name != "static")
        assert count_weights(model) == (72, 360)
        return torch.cat([layer.weight.flatten() for layer in engine.layers.values()])

    assert torch.equal(run(1), run(1))
    if name in ("slides", "SET"):  # the others draw nothing
        assert not torch.equal(run(1), run(2))


def test_gradual_pruning_follows_the_cubic_schedule_down_to_erk():
    model = sparsify(SlideCNN(channels=(2, 4), hidden=(30,)), 0.0)
    engine = GMP(model, torch.optim.SGD(model.parameters(), lr=0.0), sparsity=0.9, update_interval=5, duration=50)
    goal = {n: x.active_weights for n, x in sparse_layers(sparsify(SlideCNN((2, 4), (30,)), 0.9)).items()}
    for t in range(1, 51):
        masks = {name: layer.mask.clone() for name, layer in engine.layers.items()}
        engine.step()
        for name, layer in engine.layers.items():
            n = layer.weight.numel()
            left = (1 - min(t // 5 * 5 / 35, 1)) ** 3  # 75% of 50 is 37.5: the last multiple of 5 is 35
            assert layer.active_weights == goal[name] + round((n - goal[name]) * left)
            assert not (layer.mask & ~masks[name]).any()  # it never grows
    assert count_weights(model)[0] == sum(goal.values())


def test_gradual_pruning_that_would_never_prune_says_so():
    model = sparsify(mlp(4, 4), 0.0)
    with pytest.raises(ValueError, match=r"update_interval must be at most 37\.5 steps"):
        GMP(model, torch.optim.SGD(model.parameters(), lr=0.1), duration=50).step()


@pytest.mark.parametrize("model", [mlp(6, 5, 4), sparsify(mlp(6, 5, 4), 0.5)], ids=["dense", "masked"])
def test_the_static_control_is_the_optimiser_alone(model):
    twin = copy.deepcopy(model)
    optimizer, plain = (torch.optim.Adam(m.parameters()) for m in (model, twin))
    engine = Static(model, optimizer)
    for _ in range(5):
        for m, o in ((model, optimizer), (twin, plain)):
            o.zero_grad()
            m(torch.ones(2, 6)).square().sum().backward()
        assert not engine.step()
        plain.step()
        assert not engine.end_epoch()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("algorithm", [SET, RigL])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 30)])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.98])
def test_odd_layers(algorithm, shape, sparsity):
    """One unit, one input, less than one connection a unit, more to drop than there is room to grow."""
    torch.manual_seed(0)
    model = nn.Sequential(MaskedLinear(*shape), sparsify(nn.Linear(shape[1], 3), sparsity, seed=1))
    model[0].mask.zero_()
    active = round((1 - sparsity) * shape[0] * shape[1])
    model[0].mask.view(-1)[:active] = True
    model[0].clear_inactive()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    engine = algorithm(
        model, optimizer, unit="steps", update_interval=1, duration=30, drop_fraction=1.0, schedule="constant"
    )
    free = shape[0] * shape[1] - active
    for bar in (False, True):
        engine.bar_dropped = bar
        for _ in range(10):
            before = model[0].mask.clone()
            optimizer.zero_grad()
            model(torch.randn(4, shape[0])).square().sum().backward()
            all_of_them = engine.fraction_at(engine.steps + 1) == 1
            engine.step()
            assert model[0].active_weights == active
            moved = (model[0].mask & ~before).sum()
            if bar and all_of_them:  # k = min(wanted, eligible)
                assert moved == min(active, free)
            assert moved <= free
    assert engine.updates or not free or not active


def test_grown_positions_survive_nan_and_float64():
    """A NaN gradient counts as the largest; counts hold in float64 as in float32."""
    layer = sparsify(nn.Linear(6, 6).double(), 0.5, seed=0)
    engine = engine_for(layer, grow="gradient", drop_fraction=0.5, bar_dropped=True)
    free = (~layer.mask).flatten().nonzero().flatten()
    layer.watch(True)
    layer._gradient = torch.zeros(6, 6, dtype=torch.float64)
    layer._gradient.view(-1)[free[5]] = float("nan")
    layer._gradient.view(-1)[free[7]] = 1.0
    engine.update()
    assert layer.mask.flatten()[free[[5, 7]]].all()
    assert (layer.active_weights, layer.weight.dtype) == (18, torch.float64)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (lambda layer, fraction: layer.active_positions()[[0, 0, 1]], "it returned 3, 2 distinct"),
        (lambda layer, fraction: torch.arange(20), "of them inactive"),
    ],
)
def test_a_drop_rule_that_errs_costs_no_connection(rule, complaint):
    model = sparsify(mlp(6, 6), 0.5, seed=0)
    mask = model.fc1.mask.clone()
    with pytest.raises(ValueError, match=complaint):
        engine_for(model, drop=rule).update()
    assert torch.equal(model.fc1.mask, mask)


@pytest.mark.parametrize("algorithm", [SET, RigL])
def test_frozen_layers_are_left_alone(algorithm):
    torch.manual_seed(0)
    model = sparsify(mlp(12, 9, 8), 0.5, seed=0)
    model.fc1.weight.requires_grad_(False)
    weight = model.fc1.weight.clone()
    engine = with_sgd(algorithm, model, unit="steps", update_interval=1, duration=10)
    model(torch.randn(3, 12)).square().sum().backward()
    assert engine.step()
    assert torch.equal(model.fc1.weight, weight)


def test_a_batch_that_was_thrown_away_is_not_grown_by():
    model = sparsify(mlp(12, 9), 0.5, seed=0)
    engine = engine_for(model, grow="gradient")
    model(torch.full((2, 12), float("nan"))).sum().backward()
    engine.optimizer.zero_grad()
    model(torch.ones(2, 12)).square().sum().backward()
    watched = torch.cat([block for _, block in model.fc1.gradient_blocks()])
    assert torch.isfinite(watched).all()


def test_an_optimiser_of_another_model_is_noticed():
    dense = mlp(6, 5)
    with pytest.raises(ValueError, match=r"does not hold fc1: make it from the sparse model's parameters\(\)"):
        RigL(sparsify(dense, 0.5), torch.optim.SGD(dense.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sparsity": 95}, ValueError, "did you mean 0.95"),
        ({"allocation": "nope"}, ValueError, "unknown allocation 'nope'"),
        ({"bar_dropped": True}, TypeError, "GMP has no option 'bar_dropped'"),
        ({"drop": "sign"}, TypeError, "GMP has no option 'drop'"),
    ],
)
def test_gradual_pruning_takes_no_option_that_it_cannot_obey(options, error, message):
    with pytest.raises(error, match=message):
        with_sgd(GMP, sparsify(mlp(6, 5), 0.0), **options)


def test_the_static_control_has_no_options():
    with pytest.raises(TypeError, match="Static has no option 'drop_fraction'"):
        with_sgd(Static, sparsify(mlp(6, 5), 0.5), drop_fraction=0.3)


def test_an_engine_does_not_outlive_its_use():
    model = sparsify(mlp(6, 5), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        RigL(model, optimizer)
    gc.collect()
    assert len(optimizer._optimizer_step_post_hooks) == 0
