"""Exercises of notebook 05: solutions, and the checks that tell what is wrong with an answer."""

import itertools

import numpy as np

from ...topology import Mask, exploration_rate
from .judging import Verdict, ask, judge, number_of, whole_of

HINTS = {
    "explored": (
        "A position counts once, however often it was active.",
        "`np.logical_or.reduce` of all masks; then the share of True.",
    ),
    "returned": (
        "Go through neighbouring masks, and keep a mask of all that was dropped so far.",
        "What grows in an update is `after & ~before`. What of that was dropped *earlier*?",
        "Add this update's drops to the record only after you have counted.",
    ),
}


def _masks(seed: int, shape: tuple[int, int], updates: int, active: int) -> list[np.ndarray]:
    """A mask and what random updates make of it; every update drops a third and grows as many."""
    generator = np.random.default_rng(seed)
    masks = [np.zeros(shape, dtype=bool)]
    masks[0].flat[generator.choice(masks[0].size, active, replace=False)] = True
    for _ in range(updates):
        after = masks[-1].copy()
        after.flat[generator.choice(np.flatnonzero(after), active // 3, replace=False)] = False
        after.flat[generator.choice(np.flatnonzero(~masks[-1]), active // 3, replace=False)] = True
        masks.append(after)
    return masks


def explored(masks):
    return np.logical_or.reduce(masks).mean()


def check_explored(answer) -> Verdict:
    """`answer(masks)`: the share of positions that were active in any of the masks (bool arrays of one shape)."""

    def trial(seed: int, shape: tuple[int, int], updates: int, active: int) -> str | None:
        masks = _masks(seed, shape, updates, active)
        share = number_of(ask(answer, masks), "The share")
        expected = exploration_rate([{"layer": Mask.of(mask)} for mask in masks])
        if np.isclose(share, expected):
            return None
        if np.isclose(share, masks[-1].mean()):
            return f"That is the density, {share:.3f}. Count a position that was active at *any* time."
        if np.isclose(share, expected * masks[0].size):
            return "That is the number of positions. Divide by all positions of the layer."
        if np.isclose(share, sum(mask.mean() for mask in masks)):
            return "A position that was active in three masks counts once, not three times."
        return f"For {updates} updates of a {shape} mask it should be {expected:.3f}; yours is {share:.3f}."

    trials = ((0, (4, 6), 0, 6), (1, (5, 8), 3, 9), (2, (10, 10), 12, 12))
    return judge(
        trial,
        trials,
        "Right: this is the exploration rate R_s. It never falls, and without updates it is the density.",
    )


def returned(masks):
    gone = np.zeros_like(masks[0])
    count = 0
    for before, after in itertools.pairwise(masks):
        count += (gone & after & ~before).sum()
        gone = gone | (before & ~after)
    return count


def check_returned(answer) -> Verdict:
    """`answer(masks)`: how often, in all updates, a connection grows that was dropped in an earlier one."""

    def trial(masks: list[np.ndarray], what: str) -> str | None:
        count, expected = whole_of(ask(answer, masks), "The count"), int(returned(masks))
        if count == expected:
            return None
        grown = sum(int((b & ~a).sum()) for a, b in itertools.pairwise(masks))
        if count == grown and grown != expected:
            return f"{grown} is how many connections grew. Count those among them that had been dropped before."
        return f"{what}: {expected} connections return; you count {count}."

    steps = [np.array([bits], dtype=bool) for bits in ([1, 1, 0], [0, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0])]
    return judge(
        trial,
        (
            (steps[:2], "One update drops the first connection and grows the third"),
            (steps[:3], "The second update drops the third again, and the first returns"),
            (steps, "A connection may go and return more than once"),
            (_masks(3, (12, 12), 20, 40), "Twenty random updates"),
        ),
        "Right. A connection that returns was worth keeping, or was never given the time to show it.",
    )
