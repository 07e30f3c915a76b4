"""Recorded timings: a run a work, machine and thread count."""

import pytest

from dst_tutorial.studies.recorded import KINDS, latest_first, load_timings, machine, record, slide8


def run_of(cpu="A(R) Processor @ 1 GHz", date="2026-01-01", threads=1, **work):
    return {"threads": threads, "provenance": {"cpu": cpu, "gpu": None, "date": date}, **work}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_takes_the_place_of_the_same_work_on_the_same_machine(kind, tmp_path):
    work = dict.fromkeys(KINDS[kind], 1)
    first = run_of(**work)
    others = [run_of(cpu="B", **work), run_of(threads=2, **work), *(run_of(**work | {key: 2}) for key in work)]
    for run in (first, *others, first | {"rounds": 7}):
        record(kind, run, tmp_path)
    found = load_timings(kind, tmp_path)
    assert len(found) == len(others) + 1
    assert first not in found
    assert load_timings(kind, tmp_path, rounds=7) == [first | {"rounds": 7}]


def test_what_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m dst_tutorial scaling --record"):
        load_timings("scaling", tmp_path)
    record("scaling", run_of(density=0.1, batch=3), tmp_path)
    with pytest.raises(ValueError, match=r"none of \{'batch': 4\}; make it with"):
        load_timings("scaling", tmp_path, batch=4)
    with pytest.raises(ValueError, match="unknown kind 'speed'"):
        load_timings("speed", tmp_path)


def test_the_latest_comes_first_and_fewer_threads_before_more():
    old, new, more = run_of(), run_of(date="2026-02-01"), run_of(date="2026-02-01", threads=2)
    assert latest_first([old, more, new]) == [new, more, old]


def test_a_machine_is_told_in_few_words():
    assert machine(run_of("Intel(R) Xeon(R) Processor @ 2.50GHz")) == "Intel Xeon"


def test_slide_8_is_recorded():
    assert {(run["case"], run["batch"], run["threads"]) for run in slide8(threads=1)} == {("slides", 100, 1)}
