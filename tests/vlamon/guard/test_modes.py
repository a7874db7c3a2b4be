"""A guard mode is a row of one table, and everything that knows modes reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vlamon.guard_modes import GUARD_MODES, mode_acts, mode_detects

ADDED = """
from vlamon import guard_modes
row = guard_modes.GuardMode("advise", "reports with advice", True, "report")
guard_modes.GUARD_MODES["advise"] = row

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from trainer.config import GuardConfig
from vlamon.protocol.commands import SETTINGS, make

assert GuardConfig(mode="advise").mode == "advise"
assert "advise" in SETTINGS["guard"].range
assert make("set", name="guard", value="advise").args["value"] == "advise"
order = Order("set", {"name": "guard", "value": "advise"})
toy = Toy(once={4 * SPIKE: far_off})
toy.run(SPIKE + 20, {20: [order]})
assert order.result == {"name": "guard", "before": "auto", "value": "advise"}, order.error
assert toy.emitter.kinds("explode") and not toy.emitter.kinds("rollback")
assert toy.emitter.statuses[-1]["guard"] == "advise"
print("added")
"""


def test_a_mode_is_added_in_one_place() -> None:
    run = subprocess.run(
        [sys.executable, "-c", ADDED], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout.split()[-1:] == ["added"], run.stderr[-2000:]


@pytest.mark.parametrize(
    ("name", "detects", "acts"),
    [
        ("auto", True, True),
        ("ask", True, True),
        ("watch", True, False),
        ("off", False, False),
        ("of the future", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_a_monitor_knows_what_a_mode_does(name: str | None, detects: bool, acts: bool) -> None:
    assert mode_detects(name) is detects
    assert mode_acts(name) is acts


def test_the_default_mode_is_the_first() -> None:
    assert next(iter(GUARD_MODES)) == "auto"
