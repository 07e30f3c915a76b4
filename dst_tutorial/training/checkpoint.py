"""Save and load a tree of dicts, lists, numbers, strings and tensors, as one safetensors file: no pickle, no code.

The tensors go into the file's body, everything else into its header as JSON, where `{"tensor": "7"}` stands for the
tensor of that key. A file appears whole or not at all.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_FORMAT = "dst-tutorial checkpoint 1"


def save(path: Path | str, tree: Any) -> None:
    """Write `tree` to `path`, atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    header = json.dumps(_take_tensors(tree, tensors))
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")  # nobody else's
    try:
        save_file(tensors, part, metadata={"format": _FORMAT, "tree": header})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path | str) -> Any:
    """The tree that `save` wrote to `path`. ValueError if the file is something else, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"{path} is not a checkpoint of this package; name another file")
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error
    return _give_tensors(json.loads(metadata["tree"]), tensors)


def _take_tensors(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if torch.is_tensor(node):
        key = str(len(tensors))
        tensors[key] = node.detach().clone().contiguous()
        return {"tensor": key}
    if isinstance(node, dict):  # JSON has string keys only, an optimiser's state has integers: keep a list of pairs
        return {"items": [[k, _take_tensors(v, tensors)] for k, v in node.items()]}
    if isinstance(node, list | tuple):
        return [_take_tensors(v, tensors) for v in node]
    return node


def _give_tensors(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, list):
        return [_give_tensors(v, tensors) for v in node]
    if isinstance(node, dict):
        if "tensor" in node:
            return tensors[node["tensor"]]
        return {k: _give_tensors(v, tensors) for k, v in node["items"]}
    return node
