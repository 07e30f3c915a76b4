"""Files appear whole or not at all."""

import errno
import sys

import pytest

from dst_tutorial.paths import write


@pytest.mark.skipif(sys.platform == "win32", reason="no limits to a file's size")
def test_a_full_disk_leaves_what_was_there_and_no_part_and_is_named(tmp_path):
    import resource

    file = tmp_path / "results" / "slides.json"
    write(file, b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"slides\.json") as told:
            write(file, b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (told.value.errno, told.value.filename) == (errno.EFBIG, str(file))
    assert [path.name for path in file.parent.iterdir()] == ["slides.json"]
    assert file.read_bytes() == b"before"
