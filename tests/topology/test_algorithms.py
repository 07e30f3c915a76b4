"""SET, RigL and their controls are what their papers say."""

import copy

import pytest
import torch
from test_engine import engine_for
from torch import nn

from dst_tutorial import MaskedLinear, SlideCNN, mlp, sparsify
from dst_tutorial.layers.sparsify import count_weights, sparse_layers
from dst_tutorial.topology.algorithms import ALGORITHMS, GMP, SET, RigL, Static


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


@pytest.mark.parametrize(("steps", "comes"), [(4, True), (2, True), (1, False)])
def test_gradual_pruning_warns_only_where_its_one_update_does_not_come(steps, comes, caplog):
    model = sparsify(mlp(4, 4), 0.0)
    GMP(model, torch.optim.SGD(model.parameters(), lr=0.1), update_interval=2, duration=4).expect(1, steps)
    assert ("no topology update will come" in caplog.text) != comes


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
    active = round((1 - sparsity) * (shape[0] * shape[1]))
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
    gradient = torch.zeros(6, 6, dtype=torch.float64)
    gradient.view(-1)[free[5]] = float("nan")
    gradient.view(-1)[free[7]] = 1.0
    layer.weight.grad = gradient * layer.mask
    layer._watched.add(layer.weight, gradient)
    engine.update()
    assert layer.mask.flatten()[free[[5, 7]]].all()
    assert (layer.active_weights, layer.weight.dtype) == (18, torch.float64)
