"""Result files that are damaged are named, whatever became of them."""

import re

import pytest

from dst_tutorial.paths import results_folder
from dst_tutorial.studies.atlas import load_atlas
from dst_tutorial.studies.results import load_masks, load_results

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
