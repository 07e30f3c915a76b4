"""The engine: it keeps the sparsity, loses no connection, and comes in time."""

import gc
import math
import signal
import sys
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import DynamicSparsity, SlideCNN, mlp, sparsify
from dst_tutorial.positions import exact_floor
from dst_tutorial.topology.algorithms import GMP, SET, RigL, Static
from dst_tutorial.topology.rules import SCHEDULES, by_magnitude


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
        drop=lambda layer, fraction, generator: layer.active_positions()[-9:],
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


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (lambda layer, fraction, generator: layer.active_positions()[[0, 0, 1]], "it returned 3, 2 distinct"),
        (lambda layer, fraction, generator: torch.arange(20), "of them inactive"),
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


# --- what it cannot do, and what it leaves alone ----------------------------------------------------------------------


def rigl(model, **options):
    return with_sgd(RigL, model, **{"update_interval": 2, "duration": 100, **options})


def train_step(engine, model, x=None):
    engine.optimizer.zero_grad()
    model(torch.randn(8, 12) if x is None else x).square().sum().backward()
    return engine.step()


def test_what_must_know_the_duration_says_so_at_the_first_step():
    for algorithm in (RigL, SET):
        model = sparsify(mlp(12, 9, 5), 0.5)
        engine = with_sgd(algorithm, model)
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ValueError, match=r"must know how long the training is: pass duration="):
            train_step(engine, model)
        assert all(map(torch.equal, before, model.parameters()))
        assert engine.steps == 0


def test_optimisers_that_want_a_closure_are_refused():
    model = sparsify(mlp(12, 9, 5), 0.5)
    with pytest.raises(ValueError, match="LBFGS evaluates the loss in its step"):
        RigL(model, torch.optim.LBFGS(model.parameters()), duration=9)


def test_a_grad_scaler_is_named():
    model = sparsify(mlp(12, 9, 5), 0.5)
    engine, scaler = rigl(model), torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.randn(8, 12)).sum()).backward()
    with pytest.raises(TypeError, match="GradScaler cannot be used"):
        scaler.step(engine)
    scaler.step(engine.optimizer)
    with pytest.raises(RuntimeError, match="no place for a GradScaler"):
        engine.step()


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_several_processes_are_refused(kind, monkeypatch):
    model = sparsify(mlp(12, 9, 5), 0.5, kind=kind)
    engine = rigl(model)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert not train_step(engine, model)
    with pytest.raises(RuntimeError, match="an engine works in one process"):
        train_step(engine, model)
    with pytest.raises(RuntimeError, match="topologies would part"):
        rigl(model)
    assert not train_step(with_sgd(Static, model), model)  # what never moves cannot part
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    assert rigl(model)


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_a_layer_that_is_unfrozen_without_joining_the_optimiser_is_left_alone(kind, caplog):
    model = sparsify(mlp(12, 9, 5), 0.5, kind=kind)
    model.fc1.parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    engine = RigL(model, torch.optim.SGD(trained, lr=0.1), update_interval=2, duration=100)
    model.fc1.parameter.requires_grad_(True)
    before = model.fc1.to_dense() if kind == "sparse" else model.fc1.weight.clone()
    for _ in range(6):
        train_step(engine, model)
    assert engine.updates == 3
    assert torch.equal(before, model.fc1.to_dense() if kind == "sparse" else model.fc1.weight)
    assert caplog.text.count("fc1 is left alone") == 1
    engine.optimizer.add_param_group({"params": [model.fc1.parameter]})
    for _ in range(2):
        train_step(engine, model)
    assert not torch.equal(before, model.fc1.to_dense() if kind == "sparse" else model.fc1.weight)


@pytest.mark.parametrize("kind", ["masked", "sparse"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_layer_that_took_no_part_is_skipped(kind, set_to_none):
    """Stochastic depth: in the batch before an update the block was not there."""

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head, self.there = nn.Linear(12, 12), nn.Linear(12, 4), True

        def forward(self, x):
            return self.head(x + self.block(x).relu() if self.there else x)

    torch.manual_seed(0)
    model = sparsify(Deep(), 0.5, kind=kind)
    engine = rigl(model)
    for due, there in ((False, True), (True, False), (False, True), (True, True)):
        model.there = there
        engine.optimizer.zero_grad(set_to_none=set_to_none)
        model(torch.randn(8, 12)).square().sum().backward()
        before = [layer.active_positions().clone() for layer in (model.block, model.head)]
        assert engine.step() == due
        moved = [not torch.equal(b, layer.active_positions())
                 for b, layer in zip(before, (model.block, model.head), strict=True)]  # fmt: skip
        assert moved == [due and there, due]
    train_step(engine, model)
    engine.optimizer.zero_grad()
    with pytest.raises(RuntimeError, match=r"there is no gradient to grow by\..*clear gradients before it"):
        engine.step()


@pytest.mark.parametrize("kind", ["masked", "sparse"])
def test_ctrl_c_inside_a_step_leaves_an_engine_that_can_go_on(kind):
    """The signal comes after the n-th line that Python runs in step(), for every n there is."""
    lines, interrupted = 0, 0
    while True:
        torch.manual_seed(0)
        model = sparsify(mlp(12, 9, 5), 0.5, kind=kind)
        active = [layer.active_weights for layer in (model.fc1, model.fc2)]
        engine, left = rigl(model), lines
        train_step(engine, model)
        engine.optimizer.zero_grad()
        model(torch.randn(8, 12)).square().sum().backward()

        def trace(frame, event, _):
            nonlocal left
            if "dst_tutorial" in frame.f_code.co_filename and event == "line":
                left -= 1
                if left == 0:
                    signal.raise_signal(signal.SIGINT)
            return trace

        sys.settrace(trace)
        try:
            engine.step()
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        for _ in range(3):
            train_step(engine, model)
        assert [layer.active_weights for layer in (model.fc1, model.fc2)] == active
        if left > 0:  # there are no more lines
            break
        lines += 7
    assert interrupted > 20
