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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_that_fade_end_as_zeros(dtype):
    """Numbers below the smallest normal one take a CPU a hundred times as long; NaN stays NaN."""
    pytest.importorskip("numba")
    p = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer, tiny = Adam([p], betas=(0.5, 0.5)), torch.finfo(dtype).tiny
    for _ in range(3_000):
        p.grad = torch.zeros(3, dtype=dtype)
        if not optimizer.state:
            p.grad[0] = 1
        optimizer.step()
        for moment in (optimizer.state[p]["exp_avg"], optimizer.state[p]["exp_avg_sq"]):
            assert ((moment == 0) | (moment.abs() >= tiny)).all()
    assert (optimizer.state[p]["exp_avg"] == 0).all()
    p.grad[1] = float("nan")
    optimizer.step()
    assert optimizer.state[p]["exp_avg"].isnan().tolist() == [False, True, False]


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


# --- what becomes an address, in every form that torch gives it -------------------------------------------------------


def to_double(p, optimizer):
    p.data = p.data.double()  # as Module.double() does; the moments stay float32


def channels_last(p, optimizer):
    p.data = p.data.contiguous(memory_format=torch.channels_last)


def contiguous_again(p, optimizer):
    for moment in ("exp_avg", "exp_avg_sq"):
        state = optimizer.state[p]
        state[moment] = state[moment].contiguous(memory_format=torch.channels_last)


def strided_moments(p, optimizer):
    state = optimizer.state[p]
    state["exp_avg"] = torch.stack([state["exp_avg"]] * 2, -1)[..., 0]


def half_moments(p, optimizer):
    optimizer.state[p]["exp_avg_sq"] = optimizer.state[p]["exp_avg_sq"].double()


def negated_parameter(p, optimizer):
    p.data = torch._neg_view(-p.data)


def negated_moment(p, optimizer):
    optimizer.state[p]["exp_avg"] = torch._neg_view(-optimizer.state[p]["exp_avg"])


def zero_moment(p, optimizer):
    optimizer.state[p]["exp_avg"] = torch._efficientzerotensor(p.shape)


def double_step(p, optimizer):
    optimizer.state[p]["step"] = optimizer.state[p]["step"].double()


def tensor_betas(p, optimizer):
    optimizer.param_groups[0]["betas"] = (torch.tensor(0.9), torch.tensor(0.999))


def whole_numbers(p, optimizer):
    optimizer.param_groups[0].update(lr=1, eps=1, weight_decay=1)


CHANGES = [to_double, channels_last, contiguous_again, strided_moments, half_moments, negated_parameter, negated_moment,
           zero_moment, double_step, tensor_betas, whole_numbers]  # fmt: skip
GRADIENTS = {
    "plain": lambda g: g,
    "negated": lambda g: torch._neg_view(-g),
    "of fft": lambda g: torch.fft.fft(g).conj().imag,
    "channels last": lambda g: g.contiguous(memory_format=torch.channels_last),
    "zeros": lambda g: torch._efficientzerotensor(g.shape, dtype=g.dtype),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_it_does_what_torchs_does_or_what_torchs_refuses(change, gradient):
    """Three steps, a change of the parameter or the state, and three more."""
    found = []
    for kind in (Adam, torch.optim.Adam):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.randn(2, 3, 2, 2))
        optimizer = kind([p], lr=0.1)
        for step in range(6):
            if step == 3:
                change(p, optimizer)
                p.grad = None
            p.grad = GRADIENTS[gradient](torch.randn(p.shape, dtype=p.dtype))
            try:
                optimizer.step()
            except (RuntimeError, ValueError) as error:
                found.append(type(error))
                break
        else:
            found.append(p.detach().resolve_neg().contiguous())
    if isinstance(found[1], type):
        assert found[0] is found[1]
    else:
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("cast", ["double", "float", "half"])
def test_a_loaded_state_of_another_dtype_is_as_in_torch(cast):
    found = []
    for kind in (Adam, torch.optim.Adam):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.randn(5))
        optimizer = kind([p], lr=0.1)
        p.grad = torch.randn(5)
        optimizer.step()
        q = torch.nn.Parameter(getattr(p.detach().clone(), cast)())
        other = kind([q], lr=0.1)
        other.load_state_dict(optimizer.state_dict())
        q.grad = torch.randn(5).to(q.dtype)
        other.step()
        found.append(q.detach())
    torch.testing.assert_close(*found)


def test_autograd_is_told_that_the_parameters_have_changed():
    p = torch.nn.Parameter(torch.randn(5))
    optimizer, before = Adam([p]), p._version
    p.grad = torch.ones(5)
    optimizer.step()
    assert p._version > before
