"""Each check passes its solution, and fails each wrong answer with the words that help."""

import pytest
import torch

from dst_tutorial.exercises import dst_loop, masked_layers, solution_of

CHECKS = {
    "masked_gradient": masked_layers,
    "fan_in_std": masked_layers,
    "drop_signed": dst_loop,
    "grow_elsewhere": dst_loop,
}


def by_magnitude(weight, mask, fraction):
    active = mask.flatten().nonzero().flatten()
    out = mask.clone()
    out.view(-1)[active[weight.flatten()[active].abs().argsort()[: int(fraction * len(active))]]] = False
    return out


def largest_of_either_sign(weight, mask, fraction):
    return dst_loop.drop_signed(torch.where(weight == 0, 0, 1 / weight), mask, fraction)


def grow_anywhere(before, after, count, generator):
    free = (~after).flatten().nonzero().flatten()
    out = after.clone()
    out.view(-1)[free[torch.randperm(len(free), generator=generator)[:count]]] = True
    return out


def grow_the_first(before, after, count, generator):
    out = after.clone()
    out.view(-1)[(~before & ~after).flatten().nonzero().flatten()[:count]] = True
    return out


def spoil(mask):
    mask.view(-1)[:] = False
    return mask


WRONG = [
    ("masked_gradient", lambda x, d, m: d.T @ x, "Inactive weights have a gradient that is not zero"),
    ("masked_gradient", lambda x, d, m: x.T @ d, "must be transposed"),
    ("masked_gradient", lambda x, d, m: (d.T @ x) * m / len(x), "mean over the batch"),
    ("masked_gradient", lambda x, d, m: -(d.T @ x) * m, "not autograd's"),
    ("masked_gradient", lambda x, d: None, "stopped with TypeError"),
    ("fan_in_std", lambda m: torch.full((len(m),), (2 / m.shape[1]) ** 0.5), "dense layer's fan-in"),
    ("fan_in_std", lambda m: (2 / m.sum(1)).sqrt(), "inf or nan"),
    ("fan_in_std", lambda m: 2 / m.sum(1).clamp(min=1), "That is the variance"),
    ("fan_in_std", lambda m: (1 / m.sum(1).clamp(min=1)).sqrt(), "it should be"),
    ("fan_in_std", lambda m: m.float(), "One number a unit"),
    ("drop_signed", by_magnitude, "Treat the two signs apart"),
    ("drop_signed", largest_of_either_sign, "not the ones nearest to zero"),
    ("drop_signed", lambda w, m, f: spoil(m), "changed its arguments"),
    ("drop_signed", lambda w, m, f: ~m, "Dropping only takes away"),
    ("drop_signed", lambda w, m, f: w * m, "should be bool"),
    ("grow_elsewhere", grow_anywhere, "had just been dropped"),
    ("grow_elsewhere", grow_the_first, "Choose them at random"),
    ("grow_elsewhere", lambda b, a, c, g: grow_anywhere(b, b, c, g), "had just been dropped"),
    ("grow_elsewhere", lambda b, a, c, g: a.clone(), "should have grown; it was 0"),
    ("grow_elsewhere", lambda b, a, c, g: torch.zeros_like(a), "Growing only adds"),
    ("grow_elsewhere", lambda b, a, c, g: dst_loop.grow_elsewhere(b, a, c, None), "Pass the generator on"),
]


def check_of(name):
    return getattr(CHECKS[name], f"check_{name}")


@pytest.mark.parametrize("name", CHECKS)
def test_the_solution_passes(name, capsys):
    verdict = check_of(name)(getattr(CHECKS[name], name))
    assert verdict.passed, verdict
    assert "Right" in verdict._repr_html_()
    solution_of(check_of(name))
    assert capsys.readouterr().out.startswith(f"def {name}(")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("stub", [None, ...])
def test_a_stub_is_not_yet_an_answer(name, stub):
    verdict = check_of(name)(lambda *args: stub)
    assert not verdict.passed
    assert "Not yet" in repr(verdict)


@pytest.mark.parametrize(("name", "answer", "words"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_answer_is_told_what_is_wrong(name, answer, words):
    verdict = check_of(name)(answer)
    assert not verdict.passed
    assert words in verdict.message
