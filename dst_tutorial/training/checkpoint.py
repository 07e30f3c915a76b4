"""Save and load a tree of dicts, lists, numbers, strings and tensors, as one safetensors file: no pickle, no code.

The tensors go into the file's body, everything else into its header as JSON, where `{"tensor": "7"}` stands for the
tensor of that key. A digest of it all shows every damage. A file appears whole or not at all.
"""

import hashlib
import json
import os
import threading
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_FORMAT = "dst-tutorial checkpoint 2"
_BEFORE = "dst-tutorial checkpoint 1"  # had no digest


def plain(node: Any, where: str = "") -> Any:
    """The same of what JSON knows: numbers of any library, tuples, paths, and functions by their names.

    TypeError names the place of what has no such form.
    """
    if node is None or isinstance(node, str | bool):
        return node
    if isinstance(node, Integral):
        return int(node)
    if isinstance(node, Real):  # a Fraction, a number of NumPy's
        return float(node)
    if isinstance(node, dict):
        return {str(key): plain(value, f"{where}[{key!r}]") for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value, f"{where}[{i}]") for i, value in enumerate(node)]
    if isinstance(node, Path):
        return str(node)
    if getattr(node, "ndim", None) == 0:  # a tensor or an array of one number
        return plain(node.item(), where)
    if callable(node):
        return getattr(node, "__qualname__", type(node).__qualname__)
    raise TypeError(f"a checkpoint cannot hold {where or 'this'}, a {type(node).__name__}: give numbers or text")


def check(path: Path | str, tree: Any) -> None:
    """What `save` would raise, before there is anything to lose."""
    _take_tensors(tree, {}, "")
    part = _part_of(Path(path))
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except OSError as error:
        raise _unwritten(path, error) from error


def save(path: Path | str, tree: Any) -> None:
    """Write `tree` to `path`, atomically. OSError names it if that fails, TypeError what has no form."""
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_take_tensors(tree, tensors, ""))
    part = _part_of(path)  # nobody else's
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata={"format": _FORMAT, "tree": header, "digest": _digest(header, tensors)})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def load(path: Path | str) -> Any:
    """The tree that `save` wrote to `path`. ValueError if the file is something else, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") not in (_FORMAT, _BEFORE):
                raise ValueError(f"{path} is not a checkpoint of this package; name another file")
            header, tensors = metadata.get("tree", ""), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if metadata["format"] == _FORMAT and metadata.get("digest") != _digest(header, tensors):
                raise ValueError(f"{path} is damaged (it is not what was written); delete it to start anew")
            return _give_tensors(json.loads(header), {key: tensor.clone() for key, tensor in tensors.items()})
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")


def _unwritten(path: Path | str, error: Exception) -> OSError:
    return OSError(f"the checkpoint {path} could not be written ({getattr(error, 'strerror', None) or error})")


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for key in sorted(tensors):
        tensor = tensors[key].cpu()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _take_tensors(node: Any, tensors: dict[str, Tensor], where: str) -> Any:
    if torch.is_tensor(node):
        key = str(len(tensors))
        tensors[key] = node.detach().clone().contiguous()
        return {"tensor": key}
    if isinstance(node, dict):  # JSON has string keys only, an optimiser's state has integers: keep a list of pairs
        return {"items": [[plain(k), _take_tensors(v, tensors, f"{where}[{k!r}]")] for k, v in node.items()]}
    if isinstance(node, list | tuple):
        return [_take_tensors(v, tensors, f"{where}[{i}]") for i, v in enumerate(node)]
    if callable(node):
        raise TypeError(f"a checkpoint cannot hold {where}, the function {plain(node)}: a schedule must be of numbers")
    return plain(node, where)


def _give_tensors(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_give_tensors(v, tensors) for v in node]
    if isinstance(node, dict):
        if "tensor" in node:
            return tensors[node["tensor"]]
        return {k: _give_tensors(v, tensors) for k, v in node["items"]}
    return node
