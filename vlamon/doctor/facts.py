"""The facts of a machine that checks look at, and the results that they return."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "note", "warn"]

_TIMEOUT = 3.0
"""Seconds for a program that is asked; a hanging tmux server must not hang the doctor."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was looked at."""

    check: str
    """One word for the table."""
    level: Level
    """`ok`, `note` (nothing to mend, but good to know) or `warn`."""
    text: str
    """What was found, and what follows from it."""
    fix: str = ""
    """The command that mends it."""


@dataclass(frozen=True)
class Facts:
    """This machine, as far as the checks ask; a test overrides what it makes up."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    directories: Sequence[str] = (".",)
    """Where runs are written."""

    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def read(self, path: str) -> str:
        """A small file's text, empty where it cannot be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(1 << 16)
        except OSError:
            return ""

    def ask(self, *command: str) -> str | None:
        """What a program prints; None where it is missing, fails or hangs."""
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError, UnicodeError):
            return None
        return done.stdout.strip()
