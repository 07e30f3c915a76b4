import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dst_tutorial.positions import absent, among, draw_distinct, exact_floor, left
from dst_tutorial.randomness import stream


@given(n=st.integers(0, 300), share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_draws_are_distinct_sorted_and_in_range(n, share, seed):
    k = int(share * n)
    drawn = draw_distinct(n, k, stream(seed, "test"))
    assert len(drawn) == k
    assert drawn.dtype == torch.int64
    assert (drawn.diff() > 0).all()
    assert k == 0 or (drawn[0] >= 0 and drawn[-1] < n)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_subset_is_equally_likely(k):
    """Chi-square over all subsets of range(5); both the direct draw (k <= 2) and the complement's (k > 2)."""
    from math import comb

    generator, counts, draws = stream(0, "test"), {}, 4000
    for _ in range(draws):
        subset = tuple(draw_distinct(5, k, generator).tolist())
        counts[subset] = counts.get(subset, 0) + 1
    expected = draws / comb(5, k)
    assert len(counts) == comb(5, k)
    assert sum((c - expected) ** 2 / expected for c in counts.values()) < 35  # p < 1e-4 at 9 degrees of freedom


def test_drawing_needs_no_memory_of_the_space():
    assert len(draw_distinct(10**15, 1000, stream(0, "test"))) == 1000


def test_drawing_too_many_says_so():
    with pytest.raises(ValueError, match="cannot draw 4 distinct positions out of 3"):
        draw_distinct(3, 4)


@given(st.sets(st.integers(0, 60)), st.integers(61, 80))
def test_absent_is_the_complement(present, n):
    oracle = np.setdiff1d(np.arange(n), sorted(present))
    got = absent(torch.tensor(sorted(present), dtype=torch.int64), torch.arange(len(oracle)))
    assert got.tolist() == oracle.tolist()


@given(st.integers(0, 100), st.integers(0, 10**6))
def test_exact_floor_means_the_decimal(percent, n):
    assert exact_floor(percent / 100, n) == percent * n // 100
    assert exact_floor(1 - (100 - percent) / 100, n) == percent * n // 100  # 1 - 0.9 is 0.09999999999999998


def test_exact_floor_is_exact_for_very_sparse_layers():
    assert exact_floor(1 - 1e-7, 10_000) == 9_999
    assert exact_floor(0.9999, 10**10) == 9_999_000_000


def test_streams_repeat_and_differ():
    a, b, c = (torch.rand(4, generator=stream(*args)) for args in ((1, "masks"), (1, "masks"), (1, "order")))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@given(present=st.sets(st.integers(0, 60)), sought=st.lists(st.integers(0, 60)))
def test_among_and_left_are_what_isin_says(present, sought):
    present, sought = torch.tensor(sorted(present), dtype=torch.int64), torch.tensor(sought, dtype=torch.int64)
    found = among(sought, present)
    assert found.tolist() == torch.isin(sought, present).tolist()
    gone = sought[found].unique()
    assert left(present, gone).tolist() == (~torch.isin(present, gone)).tolist()
