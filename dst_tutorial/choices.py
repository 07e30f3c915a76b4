"""Choosing by name from a table: one sentence for every mistake."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(name: str, table: Mapping[str, T], what: str) -> T:
    """`table[name]`; ValueError names what there is."""
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; choose from {', '.join(table)}")
    return table[name]
