"""Exercises of notebook 02: solutions, and the checks that tell what is wrong with an answer."""

import numpy as np
import torch
from torch import Tensor

from ...layers import MaskedLinear
from .judging import Verdict, array_of, ask, judge

HINTS = {
    "masked_gradient": (
        "Without a mask the gradient of a linear layer's weight is `delta.T @ x`: one row a unit, one column an input.",
        "The forward pass multiplies by the mask, so the backward pass does, too.",
    ),
    "fan_in_std": (
        "A row of the mask is a unit: sum over its inputs, not over its units.",
        "sqrt(2 / 0) is infinite: a unit without inputs gets 0 instead (`torch.where`).",
    ),
}


def masked_gradient(x: Tensor, delta: Tensor, mask: Tensor) -> Tensor:
    return (delta.T @ x) * mask


def check_masked_gradient(answer) -> Verdict:
    """`answer(x, delta, mask)`: the gradient of a masked linear layer's weight, as autograd has it."""

    def trial(batch: int, n_in: int, n_out: int, seed: int) -> str | None:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.rand(n_out, n_in, generator=generator, device="cpu") < 0.3
        x = torch.randn(batch, n_in, generator=generator, device="cpu")
        delta = torch.randn(batch, n_out, generator=generator, device="cpu")
        layer = MaskedLinear(n_in, n_out, mask=mask, device="cpu")
        layer(x).backward(delta)
        gradient, expected = array_of(ask(answer, x, delta, mask), "The gradient"), layer.weight.grad.numpy()
        if gradient.shape != expected.shape:
            return (
                f"The gradient has shape {list(gradient.shape)}, the weight {list(expected.shape)} ([out, in]). "
                "Which of x and delta must be transposed?"
            )
        if gradient[~mask.numpy()].any():
            return "Inactive weights have a gradient that is not zero. What does the chain rule say of weight * mask?"
        if np.allclose(gradient * batch, expected, atol=1e-4) and batch > 1:
            return "You took the mean over the batch; the chain rule adds up (delta holds the loss's 1/batch already)."
        if not np.allclose(gradient, expected, atol=1e-4):
            return "Inactive weights are right (zero), but the values of active ones are not autograd's."
        return None

    sizes = ((3, 5, 4, 0), (8, 4, 4, 1), (1, 6, 2, 2))
    return judge(
        trial,
        sizes,
        "Right: the dense gradient, times the mask. It was computed in full, and most of it thrown away.",
    )


def fan_in_std(mask: Tensor) -> Tensor:
    fan_in = mask.sum(dim=1)
    return torch.where(fan_in > 0, (2 / fan_in.clamp(min=1)).sqrt(), 0)


def check_fan_in_std(answer) -> Verdict:
    """`answer(mask)`: for each unit of mask [out, in], sqrt(2 / its active inputs), and 0 for a unit with none."""

    def trial(rows: list[list[int]]) -> str | None:
        mask = torch.tensor(rows, dtype=torch.bool, device="cpu")
        std, expected = array_of(ask(answer, mask), "The standard deviation"), fan_in_std(mask).numpy()
        if std.shape != expected.shape:
            return f"One number a unit is wanted, shape {list(expected.shape)}; yours is {list(std.shape)}."
        if not np.isfinite(std).all():
            return "A unit with no active input gives inf or nan. Nothing is drawn for it: let it be 0."
        if np.allclose(std, expected, atol=1e-5):
            return None
        if np.allclose(std, (2 / mask.shape[1]) ** 0.5):
            return "That is the dense layer's fan-in. Count the *active* inputs of each unit."
        if np.allclose(std**2, expected, atol=1e-5):
            return "That is the standard deviation's root. Take the root of 2 / fan-in once."
        if np.allclose(std, expected**2, atol=1e-5):
            return "That is the variance. The standard deviation is its root."
        return f"For the mask {rows} it should be {[round(v, 3) for v in expected.tolist()]}."

    masks = ([[1, 1, 0, 0], [1, 1, 1, 0]], [[1, 0, 0, 1, 0, 1, 0, 1]], [[1, 0, 0], [0, 0, 0]])
    return judge(
        trial,
        zip(masks),
        "Right: units with few connections start with larger weights, and the signal keeps its strength.",
    )
