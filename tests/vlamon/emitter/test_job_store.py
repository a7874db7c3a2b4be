"""A store that hangs while the script ends neither aborts the process nor costs it its rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, rows_of

pytest.importorskip("torch")


def test_a_call_that_hangs_when_the_interpreter_ends_aborts_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.vlamon.emitter.hung_store", str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, "terminate called" in done.stderr) == (0, False), done.stderr
    assert [step for step, _ in rows_of(journal_of(tmp_path))] == [1]
