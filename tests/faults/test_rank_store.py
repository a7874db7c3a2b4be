"""A rank's sidecar or the job's store is at fault; `python -m tests.faults.rank_store` runs it."""

from __future__ import annotations

import subprocess
import sys

from tests.faults.rank_store import PATIENCE, SCENARIOS


def test_a_faulty_rank_or_store_changes_no_bit_of_a_loss_and_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.rank_store"],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("as it must be") == len(SCENARIOS)
