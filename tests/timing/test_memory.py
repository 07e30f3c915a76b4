"""The peak of a process's memory, on Linux."""

import subprocess
import sys

import pytest

from dst_tutorial.timing import memory
from dst_tutorial.timing.memory import peak_memory

ONE_AFTER_THE_OTHER = """
from dst_tutorial.timing import peak_memory

kept = b"x" * 64_000_000  # before: it does not count
with peak_memory() as peak:
    for _ in range(3):
        kept = None
        kept = b"x" * 128_000_000  # so large that it comes from the system, and goes back to it when freed
print(peak())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_the_peak_is_what_was_there_at_once_at_most():
    """In a process of its own: in this one, threads of other tests may be at work."""
    done = subprocess.run([sys.executable, "-c", ONE_AFTER_THE_OTHER], capture_output=True, text=True, check=True)
    assert 57e6 < int(done.stdout) < 84e6


def test_where_the_system_does_not_tell_there_is_no_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    with peak_memory() as peak:
        pass
    assert peak() is None
