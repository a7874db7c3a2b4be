"""A training's state as one list of tensors and a skeleton of plain values that refers to them.

The ring copies the list and keeps the skeleton; a durable checkpoint writes the list as raw bytes
and the skeleton as JSON. Nothing is ever pickled, so a checkpoint can hold no code.
"""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


class UnknownValue(TypeError):
    """A state holds something that a checkpoint cannot hold; the message says where."""


ATOMS = (type(None), bool, int, float, str)
"""Types whose values cannot change."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands in the skeleton for a tensor."""

    index: int


def split(tree: Any) -> tuple[Any, list[torch.Tensor]]:
    """The tree with every tensor replaced by a `Ref`, and the tensors.

    Whatever else it holds is copied, so that it stays as it is now while the training goes on.
    """
    tensors: list[torch.Tensor] = []
    return _split(tree, tensors), tensors


def join(skeleton: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """The tree again, holding these tensors themselves (no copies)."""
    return _map(skeleton, lambda leaf: tensors[leaf.index] if isinstance(leaf, Ref) else leaf)


def duplicate(tree: Any) -> Any:
    """A copy that shares nothing with the tree, tensors included."""
    skeleton, tensors = split(tree)
    return join(skeleton, [tensor.clone() for tensor in tensors])


def local(tensor: Any) -> torch.Tensor:
    """What this rank holds of a tensor: the shard of a DTensor, else the tensor itself."""
    to_local = getattr(tensor, "to_local", None)
    held: torch.Tensor = tensor if to_local is None else to_local()
    return held


def tensors_of(
    tree: Any, path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    """Every tensor and the keys that lead to it, in the order of `split`."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors_of(value, (*path, key))
    elif isinstance(tree, list | tuple) and not (isinstance(tree, tuple) and _plain(tree)):
        for index, value in enumerate(tree):
            yield from tensors_of(value, (*path, index))


def _split(tree: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(tree, torch.Tensor):
        tensors.append(local(tree.detach()))
        return Ref(len(tensors) - 1)
    if isinstance(tree, Mapping):
        return {key: _split(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_split(value, tensors) for value in tree]
    if isinstance(tree, tuple):
        return tree if _plain(tree) else tuple(_split(value, tensors) for value in tree)
    return tree if isinstance(tree, ATOMS) else copied(tree)


def copied(value: Any) -> Any:
    """Sets, deques, arrays, objects: their owner may change them in place."""
    try:
        return copy.deepcopy(value)
    except Exception:  # an open file, a lock: better held by reference than a training that dies
        return value


def _plain(items: tuple[Any, ...]) -> bool:
    return all(isinstance(item, ATOMS) for item in items)


def _map(tree: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _map(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_map(value, change) for value in tree]
    if isinstance(tree, tuple):
        return tree if _plain(tree) else tuple(_map(value, change) for value in tree)
    return change(tree)


def to_json(tree: Any, where: str = "state") -> Any:
    """The skeleton as JSON values; what JSON lacks becomes an object with one `$` key."""
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree.item() if isinstance(tree, np.generic) else tree
    if isinstance(tree, Ref):
        return {"$tensor": tree.index}
    if isinstance(tree, list):
        return [to_json(value, f"{where}[{i}]") for i, value in enumerate(tree)]
    if isinstance(tree, tuple):
        return {"$tuple": [to_json(value, f"{where}[{i}]") for i, value in enumerate(tree)]}
    if isinstance(tree, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in tree):
            return {key: to_json(value, f"{where}.{key}") for key, value in tree.items()}
        pairs = [
            [to_json(key, where), to_json(value, f"{where}[{key!r}]")]
            for key, value in tree.items()
        ]
        return {"$map": pairs}
    if isinstance(tree, set | frozenset):
        return {"$set": [to_json(value, where) for value in sorted(tree, key=repr)]}
    if isinstance(tree, io.BytesIO):  # the extra state of some modules
        return {"$file": base64.b64encode(tree.getvalue()).decode()}
    if isinstance(tree, bytes):
        return {"$bytes": base64.b64encode(tree).decode()}
    if isinstance(tree, torch.Tensor):  # in what is said about a state; the state's own are `Ref`s
        flat = local(tree.detach()).cpu().contiguous()
        data = base64.b64encode(flat.reshape(-1).view(torch.uint8).numpy().tobytes()).decode()
        return {"$inline": [str(tree.dtype).removeprefix("torch."), list(flat.shape), data]}
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "biufc":
        data = base64.b64encode(np.ascontiguousarray(tree).tobytes()).decode()
        return {"$ndarray": [tree.dtype.str, list(tree.shape), data]}
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, torch.dtype):
        return {"$dtype": str(tree).removeprefix("torch.")}
    if isinstance(tree, torch.device):
        return {"$device": str(tree)}
    raise UnknownValue(
        f"{where} is a {type(tree).__name__}, which a checkpoint cannot hold: "
        "give its numbers, strings, lists or tensors instead"
    )


def from_json(data: Any) -> Any:
    """The inverse of `to_json`."""
    if isinstance(data, list):
        return [from_json(value) for value in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        key, value = next(iter(data.items()))
        if key.startswith("$"):
            return _special(key, value)
    return {key: from_json(value) for key, value in data.items()}


def _special(key: str, value: Any) -> Any:
    match key:
        case "$tensor":
            return Ref(value)
        case "$tuple":
            return tuple(from_json(item) for item in value)
        case "$map":
            return {from_json(k): from_json(v) for k, v in value}
        case "$set":
            return {from_json(item) for item in value}
        case "$bytes":
            return base64.b64decode(value)
        case "$file":
            return io.BytesIO(base64.b64decode(value))
        case "$ndarray":
            dtype, shape, data = value
            return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
        case "$inline":
            kind, sizes, data = value
            raw, dtype = np.frombuffer(base64.b64decode(data), np.uint8), getattr(torch, kind)
            if not raw.size:
                return torch.empty(sizes, dtype=dtype)
            return torch.from_numpy(raw.copy()).view(dtype).reshape(sizes)
        case "$dtype":
            return getattr(torch, value)
        case "$device":
            return torch.device(value)
    raise UnknownValue(f"{key} is not a kind of value that this version knows")
