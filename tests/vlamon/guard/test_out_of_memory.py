"""A lack of memory is told from every other error, whoever raises it."""

from __future__ import annotations

import pytest
import torch

from vlamon.guard.out_of_memory import NoMemory, is_lack, memory_for

LACKS = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("CUDA error: out of memory"),
]
OTHERS = [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_failed_allocation_is_a_lack_and_said_with_what_it_was_for(error: Exception) -> None:
    assert is_lack(error)
    with pytest.raises(NoMemory, match="no memory for a copy") as raised, memory_for("a copy"):
        raise error
    said = str(error).partition("\n")[0] or "MemoryError"
    assert str(raised.value) == f"no memory for a copy ({said})"


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
def test_another_error_stays_what_it_is(error: Exception) -> None:
    assert not is_lack(error)
    with pytest.raises(type(error)) as raised, memory_for("a copy"):
        raise error
    assert raised.value is error
