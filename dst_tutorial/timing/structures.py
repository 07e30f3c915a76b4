"""Zeros that suit the hardware: as many weights in blocks, or as many in every row. Inference of one layer, timed.

Such a layer is another network than one with scattered zeros: each is compared with its own dense matrix, and only
their times stand side by side.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import MaskedLinear
from ..positions import draw_distinct
from ..randomness import stream
from .benchmark import answer, compare
from .clock import Row, take_turns
from .rivals import Rival, rivals

BLOCK = 16


def scattered(rows: int, columns: int, sparsity: float, random: torch.Generator) -> Tensor:
    """bool [rows, columns]: the zeros anywhere."""
    total = rows * columns
    mask = torch.zeros(total, dtype=torch.bool, device="cpu")
    mask[draw_distinct(total, total - round(sparsity * total), random)] = True
    return mask.view(rows, columns)


def in_blocks(rows: int, columns: int, sparsity: float, random: torch.Generator, block: int = BLOCK) -> Tensor:
    """The same, in whole blocks of block x block. ValueError where these do not fit."""
    if rows % block or columns % block:
        raise ValueError(f"blocks of {block} x {block} do not fit a layer of {rows} x {columns}")
    blocks = scattered(rows // block, columns // block, sparsity, random)
    return blocks.repeat_interleave(block, 0).repeat_interleave(block, 1)


def constant_fan_in(rows: int, columns: int, sparsity: float, random: torch.Generator) -> Tensor:
    """The same, as many weights in every row. Source: SRigL, Lasby et al., arXiv 2305.02299."""
    return torch.cat([scattered(1, columns, sparsity, random) for _ in range(rows)])


def as_blocks(layer: MaskedLinear) -> Callable[[Tensor], Tensor]:
    """A layer whose zeros come in blocks, with torch's product of block-sparse rows."""
    weight, bias = layer.weight.detach().to_sparse_bsr((BLOCK, BLOCK)), layer.bias.detach()[:, None]
    return lambda x: (weight @ x.t() + bias).t()


def as_bags(layer: MaskedLinear) -> Callable[[Tensor], Tensor]:
    """A layer with as many weights in every row: a unit is a bag of inputs, looked up and added with its weights."""
    weight = layer.weight.detach()
    columns = (layer.active_positions() % layer.in_features).view(layer.out_features, -1)  # an active weight may be 0
    values, bias = weight.gather(1, columns), layer.bias.detach()[:, None]
    return lambda x: (F.embedding_bag(columns, x.t().contiguous(), per_sample_weights=values, mode="sum") + bias).t()


STRUCTURES: dict[str, tuple[Callable, dict[str, Callable]]] = {  # zeros -> who draws them, who makes use of them
    "scattered": (scattered, {}),
    f"blocks of {BLOCK} x {BLOCK}": (in_blocks, {"torch BSR": as_blocks}),
    "constant fan-in": (constant_fan_in, {"torch embedding bag": as_bags}),
}


def race(width: int = 1024, batch: int = 64, sparsity: float = 0.95, *, rounds: int = 20, threads: int = 1,
         seed: int = 0) -> dict[str, list[Row]]:  # fmt: skip
    """A layer of width x width with zeros of every structure, in every form that can use them: zeros -> its rows.

    "dense" is among the first rows only: no zero changes what it takes. UnlikeWork where outputs differ.
    """
    x = torch.randn(batch, width, generator=stream(seed, "inputs"), device="cpu")
    rows: dict[str, list[Row]] = {}
    tasks = []
    for zeros, (draw, own) in STRUCTURES.items():
        mask = draw(width, width, sparsity, stream(seed, "masks"))
        layer = MaskedLinear.from_dense(nn.Linear(width, width), mask)
        general = ["torch CSR", "truly sparse"] if rows else ["dense", "torch CSR", "truly sparse"]
        (reference,), _ = rivals(layer, x, methods=["Dense+Mask"])
        present, _ = rivals(layer, x, threads=threads, methods=general)
        present += [Rival(name, "cpu", make(layer)) for name, make in own.items()]
        differences = compare(present, x, reference)
        rows[zeros] = [Row(rival.method, "cpu", False, differences[rival], float("nan")) for rival in present]
        tasks += [torch.inference_mode()(answer(rival, x)) for rival in present]
    every = [row for of in rows.values() for row in of]
    for row, times in zip(every, take_turns(tasks, rounds, threads), strict=True):
        row.times_ms += times
    return rows
