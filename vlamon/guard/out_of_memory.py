"""A lack of memory, told apart from every other error: the training goes on without a copy.

Python raises MemoryError, PyTorch a RuntimeError whose text says so, CUDA an error of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SAID = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
"""What PyTorch's allocators say: of the host, of pinned memory, of a device."""


class NoMemory(Exception):
    """There is no memory for something of the guard's; the message says for what."""


def is_lack(error: BaseException) -> bool:
    """Whether an allocation failed."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """A lack of memory in here is `NoMemory` for this."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise NoMemory(f"no memory for {what} ({reason})") from error


def free() -> None:
    """Free memory that is no longer used, before something is tried once more."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
