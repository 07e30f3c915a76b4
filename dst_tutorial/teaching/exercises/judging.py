"""How an answer is judged, and what its author is told.

A check looks at an answer through `ask` and the readers below it: they take numbers in any dress (a tensor, an array,
a list), and what they cannot read becomes a sentence about the answer. So an error that a reader is told of is one in
the reader's own function.
"""

import copy
import html
import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Verdict:
    """What a check thinks of an answer."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"

    def _repr_html_(self) -> str:
        colour = "#009E73" if self.passed else "#B24C00"
        return f'<p style="border-left: 4px solid {colour}; padding-left: 8px">{html.escape(repr(self))}</p>'


class Complaint(Exception):
    """What is wrong with an answer, in a sentence."""


def judge(trial: Callable[..., str | None], cases: Iterable[tuple], well_done: str) -> Verdict:
    """The first complaint of `trial(*case)`, or `well_done`."""
    for case in cases:
        try:
            complaint = trial(*case)
        except Complaint as told:
            complaint = str(told)
        if complaint:
            return Verdict(False, complaint)
    return Verdict(True, well_done)


def ask(answer: Callable, *arguments):
    """`answer(*arguments)`. A Complaint if it stops with an error, is a stub's, or has changed its arguments."""
    kept = copy.deepcopy([a for a in arguments if _is_array(a)])
    try:
        found = answer(*arguments)
    except Exception as error:  # the reader's code may do anything
        raise Complaint(f"Your function stopped with {type(error).__name__}: {error}") from error
    found = answered(found)
    if not all(map(_is_same, filter(_is_array, arguments), kept)):
        raise Complaint("Your function changed its arguments. Work on copies of them.")
    return found


def _is_array(value) -> bool:
    return isinstance(value, list) or hasattr(value, "__array__")


def _is_same(one, other) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes() and one.shape == other.shape


def answered(value):
    """`value`, unless it is a stub's."""
    if value is None or value is ...:
        raise Complaint("Not yet: your function returns nothing so far.")
    return value


# --- what was returned, in whatever dress ----------------------------------------------------------------------------


def parts_of(value, *names: str) -> list:
    """So many values, in this order: a tuple, a list, an array of them."""
    wanted = f"Return {_NUMBERS[len(names)]}, in this order: {', '.join(names)}"
    is_many = isinstance(value, tuple | list) or getattr(value, "ndim", 0) > 0
    if not is_many or len(value) != len(names):
        raise Complaint(f"{wanted}. Yours {f'are {len(value)}' if is_many else f'is {_kind(value)}'}.")
    return [answered(part) for part in value]


_NUMBERS = {2: "two", 3: "three"}


def array_of(value, what: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Its numbers, float64 or whole or bool; of this shape, if one is given."""
    value = answered(value)
    try:
        tensor = torch.is_tensor(value) and value.detach().cpu()
        found = np.asarray(value if tensor is False else tensor.double() if tensor.is_floating_point() else tensor)
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or found.dtype.kind not in "fiub":
        raise Complaint(f"{what} should be numbers: return a tensor, an array or a list. Yours is {_kind(value)}.")
    if shape is not None and found.shape != tuple(shape):
        raise Complaint(f"{what} should have shape {list(shape)}; yours has {list(found.shape)}.")
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def mask_of(value, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """bool: of True and False, or of ones and zeros."""
    found = array_of(value, what, shape)
    if not np.isin(found, (0, 1)).all():
        raise Complaint(
            f"{what} should be bool (or zeros and ones): which connections there are. Yours has other numbers."
        )
    return found.astype(bool)


def ask_for_mask(answer: Callable, *arguments) -> torch.Tensor:
    """What it returns, if that is a mask of the shape of its second argument."""
    return torch.from_numpy(mask_of(ask(answer, *arguments), "The new mask", arguments[1].shape))


def number_of(value, what: str) -> float:
    """One finite number."""
    found = array_of(value, what)
    if found.size != 1:
        raise Complaint(f"{what} should be one number; yours are {found.size}.")
    if not np.isfinite(found).all():
        raise Complaint(f"{what} should be a number; yours is {found.item()}.")
    return found.item()


def whole_of(value, what: str) -> int:
    """One whole number."""
    found = number_of(value, what)
    if found != int(found):
        raise Complaint(f"{what} should be whole; yours is {found:g}.")
    return int(found)


def compare(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """A Complaint if they differ: in length, in their order alone, or in their values."""
    if found.shape != expected.shape:
        raise Complaint(f"{what} should have shape {list(expected.shape)}; yours has {list(found.shape)}.")
    wrong = np.flatnonzero(~np.isclose(found, expected, rtol=1e-5, atol=1e-6))
    if not len(wrong):
        return
    if np.allclose(np.sort(found, axis=None), np.sort(expected, axis=None), rtol=1e-5, atol=1e-6):
        raise Complaint(
            f"{what} has the right numbers in another order: {_shown(expected)}, and yours {_shown(found)}."
        )
    raise Complaint(f"The values of {what} are wrong: {_shown(expected)}, and yours {_shown(found)}.")


def _shown(numbers: np.ndarray) -> str:
    some = [round(number, 3) for number in numbers.ravel()[:8].tolist()]
    return f"[{', '.join(map(str, some))}{', ...' if numbers.size > 8 else ''}]"


def _kind(value) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


_told = Counter()  # hints, by exercise


def hint_of(check: Callable) -> None:
    """Print the next of the hints that belong to a check: one at a time, from a nudge to nearly the answer."""
    name = check.__name__.removeprefix("check_")
    hints = inspect.getmodule(check).HINTS[name]
    if _told[name] == len(hints):
        print(f"That was all. `solution_of(check_{name})` prints a solution.")
        return
    _told[name] += 1
    print(f"Hint {_told[name]} of {len(hints)}: {hints[_told[name] - 1]}")


def solution_of(check: Callable) -> None:
    """Print the solution that belongs to a check."""
    solution = getattr(inspect.getmodule(check), check.__name__.removeprefix("check_"))
    print(inspect.getsource(solution))
