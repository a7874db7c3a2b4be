"""Examines what hampers vlamon on a machine; each finding has the command that mends it.

Checks are functions from `Facts` to findings: the machine is only looked at through the facts, so a
test can make up any machine. To add a check, write one and name it in CHECKS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vlamon.doctor import files, graphics, jobs, terminal
from vlamon.doctor.facts import CheckResult, Facts

Check = Callable[[Facts], Iterator[CheckResult]]

CHECKS: Sequence[Check] = (
    terminal.kind,
    terminal.colours,
    terminal.size,
    terminal.unicode,
    terminal.mouse,
    terminal.tmux,
    files.sockets,
    files.inotify,
    files.descriptors,
    files.directories,
    files.settings,
    graphics.nvml,
    graphics.torch,
    jobs.slurm,
)

__all__ = ["CHECKS", "Check", "Facts", "CheckResult", "examine"]


def examine(facts: Facts) -> list[CheckResult]:
    """Every finding, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(facts)]
