"""What the backward passes told of the gradient of all weights, and which of it the optimiser is about to apply."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Watched(Generic[T]):
    """A record a backward pass and use of the layer, since its weights last changed."""

    def __init__(self) -> None:
        self.records: list[T] = []
        self._version = -1

    def add(self, weight: Tensor, record: T) -> None:
        """What was seen of the gradient of this weight; of earlier numbers of it nothing is kept."""
        if weight._version != self._version:
            self.records.clear()
            self._version = weight._version
        self.records.append(record)

    def clear(self) -> None:
        self.records.clear()

    def applied(self, gradient: Tensor | None, at_active: Callable[[T], Tensor]) -> list[T]:
        """The last records, as many as their sum points most where `gradient` does, what the optimiser will apply.

        So batches that accumulate count, and one that was thrown away does not, whoever sets gradients to zero or None,
        scales or clips them. `at_active` gives a record's part in the gradient at the active weights.
        """
        if gradient is None or not self.records:
            return []
        goal = gradient.double()
        if (len(self.records) == 1 and goal.any()) or not goal.isfinite().all():
            return self.records
        total, many, most = torch.zeros_like(goal), 0, 0.0
        for i, record in enumerate(reversed(self.records), start=1):
            total += at_active(record)
            likeness = _cosine(total, goal)
            if likeness > 0 and likeness >= most - 1e-9:
                many, most = i, likeness
        return self.records[len(self.records) - many :]


def _cosine(a: Tensor, b: Tensor) -> float:
    """Of the angle between them; 1 if both are zero."""
    sizes = float(a.norm() * b.norm())
    if not sizes:
        return float(not a.any() and not b.any())
    return float(a @ b) / sizes
