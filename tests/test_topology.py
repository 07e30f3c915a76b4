import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dst_tutorial import DynamicSparsity, SlideCNN, sparsify
from dst_tutorial.positions import exact_floor
from dst_tutorial.topology import by_magnitude


def engine_for(model, **options):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return DynamicSparsity(model, optimizer, **{"unit": "steps", "update_interval": 1, **options})


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
    model = sparsify(SlideCNN(), 0.95, seed=42)
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
    assert torch.equal(by_magnitude(layer, 2), layer.active_positions()[:2])


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


@pytest.mark.parametrize("reset", [False, True])
def test_the_optimisers_state_follows_its_connection(reset):
    torch.manual_seed(0)
    model = nn.Sequential(sparsify(nn.Linear(12, 9), 0.6, seed=0))
    layer, optimizer = model[0], torch.optim.Adam(model.parameters(), amsgrad=True)
    engine = DynamicSparsity(model, optimizer, drop_fraction=0.5, reset_moments=reset)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(20, 12)).square().sum().backward()
        optimizer.step()
    before, state = layer.mask.clone(), {k: v.clone() for k, v in optimizer.state[layer.weight].items()}
    engine.update()
    kept = before & layer.mask
    new = layer.mask & ~before
    gone = before & ~layer.mask
    for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        now = optimizer.state[layer.weight][name]
        if reset:  # a connection that was dropped and came back counts as new
            assert (now[new | gone] == 0).all()
            assert torch.equal(now[kept][now[kept] != 0], state[name][kept][now[kept] != 0])
        else:
            assert torch.equal(now, state[name])
    assert optimizer.state[layer.weight]["step"] == 3


@pytest.mark.parametrize(
    ("interval", "last", "expected"), [(1, None, 7), (2, None, 3), (3, None, 2), (2, 4, 2), (9, None, 0)]
)
@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_updates_come_when_they_are_due(unit, interval, last, expected):
    model = sparsify(nn.Linear(20, 20), 0.8, seed=0)
    engine = engine_for(model, unit=unit, update_interval=interval, last_update=last)
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
        drop=lambda layer, count: layer.active_positions()[-count:],
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
        ({"drop": "nope"}, "unknown criterion 'nope'; choose from magnitude"),
        ({"grow": "nope"}, "unknown criterion 'nope'; choose from random"),
    ],
)
def test_bad_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        engine_for(sparsify(nn.Linear(4, 4), 0.5), **options)


def test_a_dense_model_has_nothing_to_rewire():
    with pytest.raises(ValueError, match=r"call sparsify\(model, sparsity\) first"):
        engine_for(SlideCNN())
