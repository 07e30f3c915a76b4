"""The fingerprint changes with the code behind a training, and with nothing else."""

import sys
from pathlib import Path

from conftest import make_dataset

import dst_tutorial
from dst_tutorial.studies.atlas import Point, train_point
from dst_tutorial.studies.fingerprint import BEHIND, _digest


def test_comments_imports_and_where_it_stands_do_not_make_it_stale_but_code_does():
    one = 'import math\n\n\ndef f(x, y=1):\n    """Says."""\n    return x + y\n'
    two = 'class A:\n    """Says."""\n\n    def g(self):\n        from .b import c\n\n        return c\n'
    same = _digest([one, two])
    laid_out = '__all__ = ["f"]\n\ndef f(x,\n      y=1):  # why\n    """Says more."""\n    return (x + y)\n'
    assert same == _digest([two, laid_out])
    assert same == _digest([two.replace(".b", "..d") + "\n\n" + laid_out])  # in one module, and c from elsewhere
    for code, other in (("+", "-"), ("y=1", "y=2"), ("return x", "yield x"), ("def f(", "def h(")):
        assert same != _digest([one.replace(code, other), two])
    assert same != _digest([one])


def test_all_that_runs_in_a_training_is_looked_at():
    """But what only names things, and counts work for the summary."""
    package, ran = Path(dst_tutorial.__file__).parent, set()

    def note(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and package in file.parents and frame.f_code.co_name != "<module>":
            ran.add(file)

    sys.setprofile(note)
    train_point(Point(), 1, make_dataset())
    sys.setprofile(None)
    behind = {file for pattern in BEHIND for file in package.glob(pattern)}
    assert len(ran & behind) > 10
    assert {file.stem for file in ran - behind} == {"atlas", "recipes", "choices", "ledger", "progress"}
