"""A training on a compute node without logins, through `srun --overlap … vlamon relay`."""

from __future__ import annotations

import os
import shlex

from vlamon.sources import SourceError
from vlamon.sources.ssh import ENTRY, PipeStream
from vlamon.sources.stream import StreamSource

VARIABLE = "VLAMON_JOBS"
"""`srun` in it reaches the nodes of jobs by srun; else by ssh."""


def chosen() -> bool:
    """Whether the user has chosen srun."""
    via = os.environ.get(VARIABLE, "ssh")
    if via not in ("ssh", "srun"):
        raise SourceError(f"${VARIABLE} is {via!r}; it must be ssh or srun")
    return via == "srun"


class SrunSource(StreamSource):
    """Records of the training of `job` that serves `path` on `node`, as a step of that job.

    The step shares what the job has (`--overlap`), so it neither waits for a free core nor takes
    one from the training's.
    """

    retry = 2.0

    def __init__(self, job: str, node: str, path: str, rows: bool = True) -> None:
        super().__init__(f"{node}:{path}", rows)
        entry = os.environ.get("VLAMON_REMOTE", ENTRY)
        self._node = node
        self._command = [
            "srun", f"--jobid={job}", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}",
            "--quiet", "--unbuffered", "--job-name=vlamon",
            "sh", "-c", f"{entry} --socket {shlex.quote(path)}",
        ]  # fmt: skip

    def _open(self) -> PipeStream:
        try:
            return PipeStream(self._command, self._node, "srun")
        except OSError as error:
            raise SourceError(f"cannot run srun: {error.strerror}") from error
