"""Whether a process exists is asked of the kernel, whatever the number."""

from __future__ import annotations

import os
import subprocess
import sys

from vlamon.processes import exists


def test_a_process_exists_until_it_is_reaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert exists(child.pid)
    child.communicate(b"\n")
    assert not exists(child.pid)


def test_another_user_s_process_exists_and_no_number_is_too_large_to_ask() -> None:
    assert exists(os.getpid())
    assert exists(1)
    assert not exists(10**30)
