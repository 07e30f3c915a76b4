"""Result files that are damaged are named, whatever became of them; and the seconds that runs took."""

import re

import pytest

from dst_tutorial.paths import results_folder
from dst_tutorial.studies.atlas import load_atlas
from dst_tutorial.studies.results import load_masks, load_results, typical_seconds

READERS = {
    "slides.json": lambda file: load_results("slides", file.parent),
    "slides_masks.npz": lambda file: load_masks("slides", file.parent),
    "atlas.json": load_atlas,
}
DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "in a conflict": lambda content: b"<<<<<<< HEAD\n" + content,
    "of other bytes": lambda content: content[:-1000] + b"\xff" * 1000,
    "of another kind": lambda content: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_result_file_is_named(name, damage, tmp_path):
    content = (results_folder() / name).read_bytes()
    file = tmp_path / name
    file.write_bytes(content)
    READERS[name](file)
    file.write_bytes(DAMAGES[damage](content))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))} is damaged \(.* get it back from git"):
        READERS[name](file)


def test_a_disturbed_epoch_does_not_count_and_a_dense_beginning_does():
    seconds = [[9, 5, 1, 1], [9, 5, 1, 60], [9, 5, 1, 1]]
    runs = [{"summary": {"seconds_per_epoch": each}} for each in seconds]
    assert typical_seconds(runs) == 16
