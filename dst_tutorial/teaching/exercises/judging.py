"""How an answer is judged, and what its author is told."""

import html
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass


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


def judge(trials: Iterable[Callable[[], str | None]], well_done: str) -> Verdict:
    """The first complaint of the trials, or `well_done`. An error in the answer is a complaint too."""
    for trial in trials:
        try:
            complaint = trial()
        except NotYet:
            return Verdict(False, "Not yet: your function returns nothing so far.")
        except Exception as error:  # the reader's code may do anything
            complaint = f"Your function stopped with {type(error).__name__}: {error}"
        if complaint:
            return Verdict(False, complaint)
    return Verdict(True, well_done)


class NotYet(Exception):
    """The answer is still a stub."""


def answered(value):
    """`value`, unless it is a stub's."""
    if value is None or value is ...:
        raise NotYet
    return value


def solution_of(check: Callable) -> None:
    """Print the solution that belongs to a check."""
    solution = getattr(inspect.getmodule(check), check.__name__.removeprefix("check_"))
    print(inspect.getsource(solution))
