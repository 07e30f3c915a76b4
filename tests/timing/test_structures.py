"""Zeros in blocks, and as many in every row."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dst_tutorial.layers import MaskedLinear
from dst_tutorial.timing.structures import STRUCTURES, as_bags, as_blocks, constant_fan_in, in_blocks, race, scattered


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0, 0.99), st.integers(0, 99))
def test_every_structure_has_the_zeros_that_it_says(down, right, sparsity, seed):
    rows, columns = 16 * down, 16 * right
    masks = {
        draw: draw(rows, columns, sparsity, torch.Generator().manual_seed(seed))
        for draw in (scattered, in_blocks, constant_fan_in)
    }
    assert masks[scattered].sum() == rows * columns - round(sparsity * (rows * columns))
    blocks = masks[in_blocks].view(down, 16, right, 16).sum((1, 3))
    assert set(blocks.unique().tolist()) <= {0, 256}
    assert (blocks > 0).sum() == down * right - round(sparsity * (down * right))
    assert set(masks[constant_fan_in].sum(1).tolist()) == {columns - round(sparsity * columns)}


@pytest.mark.parametrize(("draw", "form"), [(in_blocks, as_blocks), (constant_fan_in, as_bags)])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_form_computes_the_layer(draw, form, batch):
    layer = MaskedLinear.from_dense(nn.Linear(48, 32), draw(32, 48, 0.7, torch.Generator().manual_seed(0)))
    layer.weight.data[:, :20] = 0  # active weights that happen to be zero are drawn now and then
    x = torch.randn(batch, 48)
    with torch.no_grad():
        torch.testing.assert_close(form(layer)(x), layer(x))


def test_blocks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"blocks of 16 x 16 do not fit a layer of 16 x 20"):
        in_blocks(16, 20, 0.5, torch.Generator())


def test_all_are_timed_beside_one_dense_layer():
    rows = race(64, 3, 0.8, rounds=2)
    assert {zeros: [row.method for row in of] for zeros, of in rows.items()} == {
        "scattered": ["dense", "torch CSR", "truly sparse"],
        "blocks of 16 x 16": ["torch CSR", "truly sparse", "torch BSR"],
        "constant fan-in": ["torch CSR", "truly sparse", "torch embedding bag"],
    }
    assert list(rows) == list(STRUCTURES)
    assert all(len(row.times_ms) == 2 for of in rows.values() for row in of)
