"""What a sparse layer's active weights start from, drawn for those weights alone."""

import torch
from torch import Tensor


def he_fan_in(shape: torch.Size, positions: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """He et al.'s N(0, 2 / fan-in) with each unit's *actual* fan-in, its number of active connections.

    `shape` [units, ...] of the weight, `positions` int64 [active]; returns float32 [active].
    Source: Evci et al., "Gradient Flow in Sparse Neural Networks and How Lottery Tickets Win", arXiv 2010.03533.
    """
    unit = positions // shape[1:].numel()
    connections = torch.bincount(unit, minlength=shape[0])
    return torch.randn(len(positions), generator=generator, device="cpu") * (2 / connections[unit]).sqrt()
