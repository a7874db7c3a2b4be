"""Starts a script on two ranks over gloo, and returns what each printed as its RESULT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def on_two_ranks(script: str, arguments: Sequence[str]) -> list[Any]:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    results = []
    for process in ranks:
        out, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-3000:]
        results.append(json.loads(out.split("RESULT")[1]))
    return results
