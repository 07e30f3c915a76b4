"""From which sparsity on truly sparse pays: in bytes by arithmetic, in time as measured."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from dst_tutorial.layers.ledger import format_bytes
from dst_tutorial.show.figures import pays_rows
from dst_tutorial.studies.recorded import load_timings, record_timing
from dst_tutorial.timing import breakeven
from dst_tutorial.timing.breakeven import DENSE, SPARSE, fewer_bytes_from, measure, pays_from, scaling
from dst_tutorial.timing.machine import Roofline, stored_bytes

# --- bytes ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_csr_is_smaller_exactly_where_the_formula_says(rows, columns, data):
    nonzeros = data.draw(st.integers(0, rows * columns))
    dense = np.zeros(rows * columns, np.float32)
    dense[:nonzeros] = 1
    matrix = csr_matrix(dense.reshape(rows, columns))  # scipy: float32 values, int32 indices
    stored = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert (stored < dense.nbytes) == (8 * nonzeros + 4 * (rows + 1) < 4 * rows * columns)
    assert stored == format_bytes(rows, columns, nonzeros)["CSR"]


@given(st.integers(1, 3000), st.sampled_from(DENSE))
def test_the_least_sparsity_with_fewer_bytes(width, against):
    dense = stored_bytes("Dense+Mask" if against == "Dense+Mask" else "dense", width, 0.0)
    most = round((1 - fewer_bytes_from(width, against)) * width**2)
    stored = [format_bytes(width, width, n)["CSR"] for n in (most, most + 1)]
    assert stored[0] < dense <= stored[1] or most < 0  # not even an empty one


# --- time -------------------------------------------------------------------------------------------------------------


def points_of(times, width=64, batch=1):
    """One reading each: `times[sparsity]` of a sparse method against 1 ms of dense."""
    dense = {"width": width, "batch": batch, "method": "dense", "sparsity": None, "times_ms": [1.0]}
    return [dense] + [
        dense | {"method": "truly sparse", "sparsity": sparsity, "times_ms": [ms]} for sparsity, ms in times.items()
    ]


@given(st.floats(0.3, 30), st.floats(0.2, 3))
def test_a_power_law_is_found_exactly(factor, power):
    """time = factor * density ** power is a straight line in the logarithms: it meets 1 where it does by algebra."""
    sparsities = [0.5, 0.7, 0.9, 0.95, 0.99, 0.999]
    found = pays_from(points_of({s: factor * (1 - s) ** power for s in sparsities}), "truly sparse", "dense")[64, 1]
    meets = 1 - factor ** (-1 / power)
    if meets <= 0.5:
        assert found == 0.5
    elif meets > 0.999:
        assert found is None
    else:
        assert found == pytest.approx(meets, abs=1e-6)


def test_it_pays_only_behind_the_last_sparsity_at_which_it_does_not():
    found = pays_from(points_of({0.5: 0.9, 0.9: 1.2, 0.99: 0.8}), "truly sparse", "dense")[64, 1]
    assert 0.9 < found < 0.99
    share = math.log(1.2) / math.log(1.2 / 0.8)
    assert found == pytest.approx(1 - 0.1 ** (1 - share) * 0.01**share)


def test_a_table_says_from_where_or_never():
    points = points_of({0.5: 0.9, 0.9: 0.5}) + points_of({0.5: 3.0, 0.9: 2.0}, batch=8)
    (row,) = pays_rows({"points": points}, "truly sparse", "dense")
    assert row == {"width": "64", "batch 1": "≤ 50%", "batch 8": "never", "bytes": "50.8%"}


def test_layers_are_measured_in_every_form_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(breakeven, "roofline", lambda device: Roofline(100.0, 10.0))
    threads = torch.get_num_threads()
    result = measure((12, 20), (1, 3), (0.5, 0.9), rounds=2, threads=1)
    assert torch.get_num_threads() == threads
    assert json.loads(json.dumps(result)) == result
    assert len(result["points"]) == 2 * 2 * (len(DENSE) + 2 * len(SPARSE))
    assert all(len(point["times_ms"]) == 2 for point in result["points"])
    record_timing("breakeven", result, tmp_path)
    assert load_timings("breakeven", tmp_path) == [result]


def test_unlike_layers_are_refused(monkeypatch):
    """A rival that leaves the bias out."""
    honest = breakeven.rivals

    def cheats(layer, x, **options):
        if options["methods"] == ["truly sparse"]:
            layer[0].bias.data.zero_()
        return honest(layer, x, **options)

    monkeypatch.setattr(breakeven, "rivals", cheats)
    with pytest.raises(ValueError, match="do not compute the same"):
        breakeven.layer_times(12, 4, (0.5,), methods=["truly sparse"], rounds=1)


# --- a connection -----------------------------------------------------------------------------------------------------


def test_layers_of_several_sizes_are_measured_and_recorded(tmp_path):
    threads = torch.get_num_threads()
    result = scaling([300, 3_000], rounds=2, threads=1)
    assert torch.get_num_threads() == threads
    assert {count: len(ms) for count, ms in result["times_ms"].items()} == {"300": 2, "3000": 2}
    record_timing("scaling", result, tmp_path)
    assert load_timings("scaling", tmp_path) == [json.loads(json.dumps(result))]


@pytest.mark.parametrize("connections", [300, 5_000])
def test_such_a_layer_has_as_many_connections_and_moves(connections):
    made = []
    layer_of = breakeven.SparseLinear

    def keep(*arguments, **options):
        made.append(layer_of(*arguments, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(breakeven, "SparseLinear", keep)
        task = breakeven._layer_step(connections, 64, 0.05, torch.Generator().manual_seed(0))
    (layer,) = made
    before = layer.values.clone()
    task()
    assert layer.active_weights == connections
    assert (layer.values != before).float().mean() > 0.9
