"""A training on a compute node without logins, through `srun --overlap … vlamon relay`."""

from __future__ import annotations

import os
import shlex

from vlamon.sources import SourceError
from vlamon.sources.ssh import ENTRY, CarriedEndpoint
from vlamon.sources.stream import StreamSource

VARIABLE = "VLAMON_JOBS"
"""`srun` in it reaches the nodes of jobs by srun; else by ssh."""


def chosen() -> bool:
    """Whether the user has chosen srun."""
    via = os.environ.get(VARIABLE, "ssh")
    if via not in ("ssh", "srun"):
        raise SourceError(f"${VARIABLE} is {via!r}; it must be ssh or srun")
    return via == "srun"


def srun_source(job: str, node: str, path: str, rows: bool = True, newest: int = 0) -> StreamSource:
    """Records of the training of `job` that serves `path` on `node`, read by a step of that job.

    The step shares what the job has (`--overlap`), so it neither waits for a free core nor takes
    one from the training's.
    """
    entry = os.environ.get("VLAMON_REMOTE", ENTRY)
    command = (
        "srun", f"--jobid={job}", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}",
        "--quiet", "--unbuffered", "--job-name=vlamon",
        "sh", "-c", f"{entry} --socket {shlex.quote(path)}",
    )  # fmt: skip
    return StreamSource(CarriedEndpoint(f"{node}:{path}", node, command), rows, newest)
