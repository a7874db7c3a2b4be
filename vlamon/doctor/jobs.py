"""Checks inside a cluster job."""

from __future__ import annotations

from collections.abc import Iterator

from vlamon.doctor.facts import CheckResult, Facts


def slurm(facts: Facts) -> Iterator[CheckResult]:
    """Which job this is, and what of Slurm can be asked from here."""
    job = facts.environ.get("SLURM_JOB_ID")
    version = facts.ask("squeue", "--version")
    if job is None:
        if version is not None:
            yield CheckResult("slurm", "ok", f"{version}; not inside a job")
        return
    tasks = facts.environ.get("SLURM_NTASKS", "1")
    nodes = facts.environ.get("SLURM_NNODES", facts.environ.get("SLURM_JOB_NUM_NODES", "1"))
    text = f"job {job}, {tasks} tasks on {nodes} nodes"
    if version is None:
        text += "; squeue does not answer here"
        yield CheckResult("slurm", "note", text)
    else:
        yield CheckResult("slurm", "ok", text)
    if not facts.environ.get("XDG_RUNTIME_DIR"):
        text = "this step has no XDG_RUNTIME_DIR: give the training a socket by name"
        yield CheckResult("slurm", "note", text, f"export VLAMON_SOCKET=/tmp/vla-{job}.sock")
