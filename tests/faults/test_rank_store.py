"""A rank's sidecar or the job's store is at fault; `make ranks` tries every scenario."""

from __future__ import annotations

import subprocess
import sys

from tests.faults.rank_store import PATIENCE, SCENARIOS

SHORT = ("rank-killed", "rank-floods", "store-hangs", "store-garbage")


def test_a_faulty_rank_or_store_changes_no_bit_of_a_loss_and_is_said() -> None:
    assert {*SHORT} <= SCENARIOS.keys()
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.rank_store", *SHORT],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("as it must be") == len(SHORT)
