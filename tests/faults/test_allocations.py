"""Every allocation of the emitter fails in turn: no call raises, and no row is lost."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

needs_hooks = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this Python has no _testcapi"
)

ALONE = """
import json, sys
import _testcapi
from vlamon import Emitter
from vlamon.emitter import journal_writer
from vlamon.emitter.service import Service

# The hooks are the whole process's: no other thread may run meanwhile, or Python itself breaks.
Service.start = lambda self: None
journal_writer.FLUSH = float("inf")
"""

CALLS = """
escaped = []
with Emitter(None, run_dir=sys.argv[1]) as emitter:
    calls = {
        "log": lambda: emitter.log(9, epoch=0.5, closs=1.5, actions=[1.0, 2.0], lr=1e-4),
        "event": lambda: emitter.event("note", text="hello", number=1),
        "status": lambda: emitter.status(state="training", phase="forward"),
        "log_epoch": lambda: emitter.log_epoch(1.0, "val", {"closs": 1.0}),
        "set_weights": lambda: emitter.set_weights({"closs": 1.0}),
        "set_attempt": lambda: emitter.set_attempt(3),
        "at_end": lambda: emitter.at_end(reason="x"),
        "commands": lambda: emitter.commands(),
    }
    for name, call in calls.items():
        for at in range(1, 80):
            _testcapi.set_nomemory(at, at + 1)
            try:
                call()
            except BaseException as error:
                _testcapi.remove_mem_hooks()
                escaped.append(f"{name} at allocation {at}: {error!r}")
            finally:
                _testcapi.remove_mem_hooks()
    emitter._service.stop = lambda: None
print(json.dumps(escaped))
"""

ROWS = """
emitter = Emitter(None, run_dir=sys.argv[1], weights={"closs": 1.0})
sidecar = emitter._service.sidecar
for at in range(500):
    emitter.log(at, epoch=0.5, closs=1.5, lr=1e-4)
    sidecar._flushed_at = float("-inf")
    if at:
        _testcapi.set_nomemory(at, at + 1)
    sidecar._turn(0.0)
    _testcapi.remove_mem_hooks()
sidecar.stopping.set()
sidecar.run()
print(json.dumps(emitter.swallowed))
"""


def told_by(script: str, folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", ALONE + script, folder], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_hooks
def test_no_call_of_a_script_raises_whichever_allocation_fails(tmp_path: Path) -> None:
    assert told_by(CALLS, tmp_path) == []


@needs_hooks
def test_no_row_is_lost_whichever_allocation_of_the_sidecar_fails(tmp_path: Path) -> None:
    from tests.vlamon.emitter.test_journal import read_all, steps_in

    assert told_by(ROWS, tmp_path) > 100
    assert steps_in(read_all(tmp_path / "run.vlaj")) == list(range(500))
