"""Turns what a script logs into floats: plain numbers, NumPy, tensors and lists, without torch.

A CPU tensor is read at the call (holding it would keep the autograd graph and race with in-place
edits). CUDA tensors of one call are stacked and copied once, without waiting, into pinned memory;
JAX arrays start to copy themselves. The sidecar looks later whether the copies are done: reading
them with `.item()` or `float` would stall the GPU at every step.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from vlamon.protocol.block import MAX_METRICS
from vlamon.protocol.columns import MAX_NAME
from vlamon.protocol.sanitize import text
from vlamon.safe_text import line

SLOTS = 10
"""Places of an action within its row, as the reference training counts them."""
SLOTTED = frozenset({"l1_loss_action", "acc_action", "acc_image"})
"""Lists under these names are right-aligned in SLOTS places; all others count from 0."""
_EXACT = 1 << 53

Swallow = Callable[[str], None]
Cell = tuple[str, float]


def names_of(name: str, count: int) -> list[str]:
    """The metric names of a list of `count` values.

    The reference right-aligns actions: slot = 10 − count + i. So horizon 5 fills slots 5 to 9, and
    horizon 20 wraps around (two actions share a slot, which holds their mean).
    """
    if name in SLOTTED:
        return [f"{name}_{(SLOTS - count + index) % SLOTS}" for index in range(count)]
    return [f"{name}_{index}" for index in range(count)]


def name_problem(name: str, known: int) -> str:
    """Why a metric cannot be called so beside `known` others; empty where it can."""
    if known >= MAX_METRICS:
        return f"more than {MAX_METRICS} metrics"
    if name != line(text(name)):
        return "a metric's name has characters that cannot be shown"
    if len(name.encode()) > MAX_NAME:
        return f"a metric's name is longer than {MAX_NAME} bytes"
    return ""


class Copy(Protocol):
    """Values of one `log` call that are on their way from a device."""

    def ready(self) -> bool:
        """Whether they are here; asks, never waits."""

    def wait(self) -> None:
        """Until they are here."""

    def cells(self) -> Iterable[Cell]:
        """The values by name; only once `ready`."""

    def __len__(self) -> int:
        """How many values there are."""


class PinnedCopy:
    """CUDA scalars in pinned memory, and the event behind their copy."""

    def __init__(self, names: list[str], pinned: Any, copied: Any) -> None:
        self._names = names
        self._pinned = pinned
        self._copied = copied

    def ready(self) -> bool:
        """Whether the event has happened."""
        return bool(self._copied.query())

    def wait(self) -> None:
        """Until the event has happened."""
        self._copied.synchronize()

    def cells(self) -> Iterable[Cell]:
        """The copied scalars."""
        return zip(self._names, self._pinned.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self._names)


class JaxCopy:
    """A JAX array that copies itself to the host."""

    def __init__(self, name: str, array: Any) -> None:
        self._name = name
        self._array = array
        self._size = int(array.size)
        self._asked = (array.is_deleted, array.is_ready)
        array.copy_to_host_async()

    def ready(self) -> bool:
        """Whether the computation that makes it is done, or its value is lost.

        The script may donate the array to its next step at any time, and to ask a deleted one
        whether it is ready is a segmentation fault: no other thread may run between the two.
        """
        return any(map(operator.call, self._asked))

    def wait(self) -> None:
        """Until it is computed."""
        if not self._array.is_deleted():
            self._array.block_until_ready()

    def cells(self) -> Iterable[Cell]:
        """Its numbers, from the copy: any operation on the array itself would be compiled."""
        numbers = self._array.__array__().reshape(-1).tolist()
        names = [self._name] if len(numbers) == 1 else names_of(self._name, len(numbers))
        return zip(names, map(float, numbers), strict=True)

    def __len__(self) -> int:
        return self._size


class PendingValues:
    """Values of one `log` call of which some are still on their way from a device."""

    def __init__(self, cells: list[Cell], copies: Sequence[Copy], swallow: Swallow) -> None:
        """`swallow` is called with the reason when a value is lost on its way."""
        self._cells = cells
        self._copies = copies
        self._swallow = swallow

    def __len__(self) -> int:
        return len(self._cells) + sum(map(len, self._copies))

    def ready(self) -> bool:
        """Whether all are here; asks, never waits."""
        return all(copy.ready() for copy in self._copies)

    def wait(self) -> dict[str, float]:
        """All values, waiting for the copies."""
        for copy in self._copies:
            copy.wait()
        return self.take()

    def take(self) -> dict[str, float]:
        """All values; only once `ready`."""
        cells = list(self._cells)
        for copy in self._copies:
            try:
                cells.extend(copy.cells())
            except Exception as error:
                self._swallow(f"a value from a device: {type(error).__name__}: {error}"[:200])
        return _collect(cells)


def scalar(value: Any) -> float | None:
    """The number, where it is an int or a 0-dim CPU tensor; None where `settle` must look.

    The short way for what nearly every step logs: one call into torch, no lists.
    """
    if type(value) is int and -_EXACT < value < _EXACT:
        return float(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor) and value.ndim == 0 and value.is_cpu:
        number = value.item()
        return None if type(number) is complex else float(number)
    return None


def settle(metrics: Mapping[str, Any], swallow: Swallow) -> dict[str, float] | PendingValues:
    """Floats by name; what is not a number goes to `swallow`. None means absent."""
    cells: list[Cell] = []
    on_gpu: list[tuple[str, Any]] = []
    copies: list[Copy] = []
    jax = sys.modules.get("jax")
    for name, value in metrics.items():
        if type(value) is float:
            cells.append((name, value))
            continue
        try:
            if jax is not None and isinstance(value, jax.Array):
                copies.append(_copy_of_jax(name, value))
            else:
                _settle_one(name, value, cells, on_gpu, swallow)
        except Exception as error:
            swallow(f"{name} cannot be read: {type(error).__name__}: {error}"[:200])
    if on_gpu:
        try:
            copies.append(_copy_later(on_gpu))
        except Exception as error:
            swallow(f"values cannot be copied from the GPU: {type(error).__name__}: {error}"[:200])
    return PendingValues(cells, copies, swallow) if copies else _collect(cells)


def _copy_of_jax(name: str, value: Any) -> JaxCopy:
    if value.ndim > 1 and value.size > 1:
        raise TypeError(f"an array of shape {tuple(value.shape)}, not a number or a list")
    return JaxCopy(name, value)


def _settle_one(
    name: str, value: Any, cells: list[Cell], on_gpu: list[tuple[str, Any]], swallow: Swallow
) -> None:
    if value is None:
        return
    torch = sys.modules.get("torch")
    if isinstance(value, int | float):
        cells.append((name, float(value)))
    elif isinstance(value, list | tuple):
        for part, item in zip(names_of(name, len(value)), value, strict=True):
            if isinstance(item, list | tuple):
                swallow(f"{name} is a list of lists")
                return
            _settle_one(part, item, cells, on_gpu, swallow)
    elif torch is not None and isinstance(value, torch.Tensor):
        _settle_tensor(name, value.detach(), cells, on_gpu, swallow)
    elif isinstance(value, str | bytes):
        swallow(f"{name} is a text, not a number")
    elif getattr(value, "ndim", 0):
        _settle_array(name, value, cells, swallow)
    elif hasattr(value, "__float__"):
        cells.append((name, float(value)))
    else:
        swallow(f"{name} is a {type(value).__name__}, not a number")


def _settle_tensor(
    name: str, value: Any, cells: list[Cell], on_gpu: list[tuple[str, Any]], swallow: Swallow
) -> None:
    count = value.numel()
    if value.ndim > 1 and count > 1:
        swallow(f"{name} is a tensor of shape {tuple(value.shape)}, not a number or a list")
        return
    names = [name] if value.ndim == 0 or count == 1 else names_of(name, count)
    if value.is_cuda:
        scalars = [value] if value.ndim == 0 else value.reshape(-1).unbind()
        on_gpu.extend(zip(names, scalars, strict=True))
    else:
        cells.extend(zip(names, map(float, value.reshape(-1).tolist()), strict=True))


def _settle_array(name: str, value: Any, cells: list[Cell], swallow: Swallow) -> None:
    if value.ndim > 1 and value.size > 1:
        swallow(f"{name} is an array of shape {tuple(value.shape)}, not a number or a list")
        return
    numbers = value.reshape(-1).tolist()
    names = [name] if len(numbers) == 1 else names_of(name, len(numbers))
    cells.extend(zip(names, map(float, numbers), strict=True))


def _copy_later(on_gpu: Sequence[tuple[str, Any]]) -> PinnedCopy:
    """One device-to-host copy for all scalars of the call; nothing waits for it."""
    torch = sys.modules["torch"]
    scalars = [scalar for _, scalar in on_gpu]
    device = scalars[0].device
    if len({(scalar.dtype, scalar.device) for scalar in scalars}) > 1:
        scalars = [scalar.to(device, torch.float64, non_blocking=True) for scalar in scalars]
    with torch.cuda.device(device):
        # Two kernels for any number of losses, where a cast each would be one a loss.
        stacked = torch.stack(scalars).to(torch.float64)
        pinned = torch.empty(len(on_gpu), dtype=torch.float64, pin_memory=True)
        pinned.copy_(stacked, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
    return PinnedCopy([name for name, _ in on_gpu], pinned, copied)


def _collect(cells: list[Cell]) -> dict[str, float]:
    """Cells by name; those that share a slot become their mean, as in the reference."""
    found = dict(cells)
    if len(found) == len(cells):
        return found
    sums: dict[str, tuple[float, int]] = {}
    for name, value in cells:
        total, count = sums.get(name, (0.0, 0))
        sums[name] = (total + value, count + 1)
    return {name: total / count for name, (total, count) in sums.items()}
