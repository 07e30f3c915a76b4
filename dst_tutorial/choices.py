"""Choosing by name from a table: one sentence for every mistake."""

import difflib
import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(name: str, table: Mapping[str, T], what: str) -> T:
    """`table[name]`; ValueError names what there is, and what may have been meant."""
    if name not in table:
        lower, asked = {known.lower(): known for known in table}, str(name).lower()
        close = [known for known in lower if len(asked) > 2 and asked in known]
        close += difflib.get_close_matches(asked, lower, n=1, cutoff=0.7)
        meant = f" (did you mean {lower[close[0]]!r}?)" if close else ""
        raise ValueError(f"unknown {what} {name!r}{meant}; choose from {', '.join(table)}")
    return table[name]


def slug(name: str) -> str:
    """A name in small letters, digits and hyphens: "dense-compiled" for "dense, compiled"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
