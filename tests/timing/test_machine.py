"""What a machine could do at best: bytes as libraries store them, the roofline, energy by published figures."""

import numpy as np
import pytest
import torch
from scipy.sparse import bsr_matrix, csr_matrix

from dst_tutorial.timing import machine
from dst_tutorial.timing.machine import BLOCK, PUBLISHED, STORED, Roofline, microjoules, stored_bytes, work

WIDTH = 320


def matrix(active: np.ndarray) -> np.ndarray:
    return active.astype(np.float32)


def bytes_of(stored) -> int:
    return stored.data.nbytes + stored.indices.nbytes + stored.indptr.nbytes


@pytest.mark.parametrize("kept", [0, 1, 800, 5120])
def test_csr_and_blocks_take_what_scipy_takes(kept):
    sparsity = 1 - kept / WIDTH**2
    flat = np.zeros(WIDTH**2)
    flat[:kept] = 1
    assert stored_bytes("CSR", WIDTH, sparsity) == bytes_of(csr_matrix(matrix(flat.reshape(WIDTH, WIDTH))))
    blocks = np.zeros((WIDTH // BLOCK) ** 2)
    blocks[: kept // BLOCK**2] = 1
    whole = np.kron(blocks.reshape(WIDTH // BLOCK, -1), np.ones((BLOCK, BLOCK)))
    expected = bytes_of(bsr_matrix(matrix(whole), blocksize=(BLOCK, BLOCK)))
    assert stored_bytes("blocks of 16 x 16", WIDTH, 1 - whole.sum() / WIDTH**2) == expected


def test_what_groups_leave_unsaid_is_not_stored():
    kept = WIDTH * WIDTH // 16
    sparsity = 15 / 16
    assert stored_bytes("dense", WIDTH, sparsity) == 4 * WIDTH**2
    assert stored_bytes("Dense+Mask", WIDTH, sparsity) == 5 * WIDTH**2
    assert stored_bytes("constant fan-in", WIDTH, sparsity) == 8 * kept
    assert stored_bytes("N of 16", WIDTH, sparsity) == 4.5 * kept
    assert all(stored_bytes(kind, WIDTH, sparsity) < stored_bytes("CSR", WIDTH, sparsity) for kind in list(STORED)[3:])
    assert "N of 16" in machine.kinds_at(15 / 16)
    assert "N of 16" not in machine.kinds_at(0.94)  # less than one in a group
    with pytest.raises(ValueError, match="kind of zeros"):
        stored_bytes("COO", WIDTH, sparsity)


def test_the_roof_is_arithmetic_or_memory():
    roof = Roofline(gflops=100, gigabytes_per_second=10)
    assert roof.milliseconds(1e9, 1) == pytest.approx(10)
    assert roof.milliseconds(1, 1e9) == pytest.approx(100)
    one = roof.layer("dense", 1000, 1, 0.95)  # memory: a weight is read for one multiplication
    assert one == pytest.approx((4e6 + 8e3) / 10e9 * 1e3)
    many = roof.layer("dense", 1000, 1000, 0.95)  # arithmetic
    assert many == pytest.approx(2e9 / 100e9 * 1e3)
    assert roof.layer("CSR", 1000, 1000, 0.95) == pytest.approx(many / 20)
    assert roof.layer("Dense+Mask", 1000, 1000, 0.95) == pytest.approx(many)


def test_the_roof_of_this_machine_is_above_what_its_layers_reach():
    roof = machine.roofline()
    assert roof.gflops > 0.5
    assert roof.gigabytes_per_second > 0.1


def test_energy_is_what_horowitz_has_for_float32_and_memory():
    assert microjoules(2e6, 0) == pytest.approx((3.7 + 0.9, 0))
    assert microjoules(0, 4e6) == pytest.approx((0, 640))


def test_for_one_input_memory_takes_the_time_and_the_energy_of_a_dense_layer():
    for roof in PUBLISHED.values():
        operations, moved = work("dense", 4096, 1, 0.95)
        assert roof.layer("dense", 4096, 1, 0.95) == pytest.approx(1e3 * moved / 1e9 / roof.gigabytes_per_second)
        arithmetic, memory = microjoules(operations, moved)
        assert memory > 100 * arithmetic
    assert torch.get_num_threads() == 1
