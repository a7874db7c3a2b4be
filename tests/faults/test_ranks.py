"""One of several ranks is stopped or killed; `python -m tests.faults.ranks` tries every phase."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.ranks import PATIENCE, scenarios

SHORT = ("stopped-rollback-1-of-2", "killed-ballot-1-of-2")


@pytest.mark.slow
def test_a_stopped_rank_changes_no_number_and_a_killed_one_is_gone_on_without() -> None:
    assert {*SHORT} <= {scenario.name for scenario in scenarios()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.ranks", *SHORT],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("as it must be") == len(SHORT)
