"""Our Adam against torch's."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_tutorial.training import optim
from dst_tutorial.training.optim import Adam


def stepped(kind, start, gradients, **options):
    parameters = [torch.nn.Parameter(p.clone()) for p in start]
    optimizer = kind(parameters, **options)
    for step in gradients:
        for p, g in zip(parameters, step, strict=True):
            p.grad = g.clone()
        optimizer.step()
    return optimizer, parameters


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    steps=st.integers(1, 5),
    options=st.fixed_dictionaries(
        {
            "lr": st.floats(1e-4, 1),
            "betas": st.tuples(st.floats(0, 0.99), st.floats(0.1, 0.999)),
            "eps": st.floats(1e-8, 1e-2),
            "weight_decay": st.floats(0, 0.5),
        }
    ),
    seed=st.integers(0, 99),
)
def test_the_numbers_are_torchs(sizes, steps, options, seed):
    torch.manual_seed(seed)
    start = [torch.randn(n, dtype=torch.float64) for n in sizes]
    gradients = [[torch.randn_like(p) for p in start] for _ in range(steps)]
    (ours, mine), (theirs, expected) = (stepped(kind, start, gradients, **options) for kind in (Adam, torch.optim.Adam))
    for p, q in zip(mine, expected, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)
        for name, value in theirs.state[q].items():
            torch.testing.assert_close(ours.state[p][name], value, rtol=1e-9, atol=1e-12)
    assert ours.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]


def test_a_state_goes_from_one_to_the_other():
    torch.manual_seed(0)
    start = [torch.randn(7)]
    gradients = [[torch.randn(7)] for _ in range(6)]
    _, expected = stepped(torch.optim.Adam, start, gradients)
    before, parameters = stepped(torch.optim.Adam, start, gradients[:3])
    optimizer = Adam(parameters)
    optimizer.load_state_dict(copy.deepcopy(before.state_dict()))
    for (g,) in gradients[3:]:
        parameters[0].grad = g
        optimizer.step()
    torch.testing.assert_close(parameters, expected)


@pytest.mark.parametrize("options", [{"amsgrad": True}, {"maximize": True}, {"lr": torch.tensor(0.1)}])
def test_what_is_not_plain_goes_torchs_way(options):
    torch.manual_seed(0)
    start, gradients = [torch.randn(5)], [[torch.randn(5)] for _ in range(3)]
    _, mine = stepped(Adam, start, gradients, **options)
    _, expected = stepped(torch.optim.Adam, start, gradients, **options)
    torch.testing.assert_close(mine, expected)


def test_other_dtypes_and_layouts_and_missing_gradients(monkeypatch):
    torch.manual_seed(0)
    start = [torch.randn(6, 4).t(), torch.randn(5).bfloat16()]
    gradients = [[torch.randn(6, 4).t(), torch.randn(5).bfloat16()]]
    _, mine = stepped(Adam, start, gradients)
    _, expected = stepped(torch.optim.Adam, start, gradients)
    torch.testing.assert_close(mine, expected)
    alone = torch.nn.Parameter(torch.ones(3))
    Adam([alone]).step()  # no gradient: nothing moves
    assert (alone == 1).all()
    monkeypatch.setattr(optim, "has_numba", lambda: False)
    start, gradients = [torch.randn(6)], [[torch.randn(6)]]
    torch.testing.assert_close(stepped(Adam, start, gradients)[1], stepped(torch.optim.Adam, start, gradients)[1])


def test_a_closure_and_a_scheduler_and_hooks_work():
    p = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer, seen = Adam([p], lr=0.5), []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    scheduler.step()
    assert first.item() == 9
    assert seen == [1]
    assert p.item() == pytest.approx(2.5, abs=1e-6)
    assert optimizer.param_groups[0]["lr"] < 0.5
