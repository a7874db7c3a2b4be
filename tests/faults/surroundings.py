"""Every command in odd surroundings: no home, no locale, no place to write, closed or full streams.

`python -m tests.faults.surroundings [NAME …]` runs every command, and a script that logs, in every
surrounding, or in some. None may end in a traceback, by a signal, or with an exit code that
docs/cli.md does not know; the script ends with 0 wherever it is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.scenarios import report

FIXTURES = Path(__file__).parents[1] / "fixtures" / "run"
ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
CODES = frozenset((0, 1, 2, 3, 4, 10, 20, 30))
"""Exit codes of docs/cli.md."""
TRACES = re.compile(r"Traceback|Exception ignored|Fatal Python error|[a-z]Error: ")

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "alone": (),
    "help": ("--help",),
    "analyze": ("analyze", "{run}/output.log"),
    "report": ("analyze", "{run}", "-o", "{out}/report.html"),
    "tail": ("tail", "{run}", "--once", "--plain"),
    "watch": ("watch", "{run}/run.vlaj", "--plain"),
    "json": ("watch", "{run}/run.vlaj", "--json"),
    "export": ("export", "{run}/run.vlaj", "--format", "csv"),
    "query": ("query", "status", "{run}"),
    "runs": ("runs",),
    "status": ("status",),
    "doctor": ("doctor",),
    "config": ("config",),
    "explain": ("explain", "closs"),
    "alert": ("alert", "list"),
    "slurm": ("slurm",),
    "man": ("man",),
}
SCRIPT = """
import os
from vlamon import Emitter
with Emitter("{out}/v.sock", run_dir="{out}/run", alerts=True) as emitter:
    for step in range(200):
        emitter.log(step, closs=1.0 / (step + 1))
assert step == 199
"""


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What is odd about a place."""

    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Variables that are set, or taken away."""
    shell: str = "exec {command}"
    """How the command is started."""


SURROUNDINGS: Mapping[str, Surrounding] = {
    "c-locale": Surrounding(
        {"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ),
    "no-locale": Surrounding({"LC_ALL": "xx_YY.nothing", "LANG": "-", "PYTHONIOENCODING": None}),
    "latin-1": Surrounding({"PYTHONIOENCODING": "latin-1"}),
    "no-home": Surrounding({"HOME": None}),
    "home-is-nowhere": Surrounding(
        {"HOME": "/proc/none/at/all", "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None}
    ),
    "home-is-a-file": Surrounding(
        {"HOME": "/dev/null", "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None, "VLAMON_HOME": None}
    ),
    "relative-directories": Surrounding({"XDG_STATE_HOME": "a", "VLAMON_HOME": "b", "TMPDIR": "c"}),
    "no-temporary-directory": Surrounding({"TMPDIR": "/proc/none"}),
    "no-working-directory": Surrounding(
        shell="d=$(mktemp -d {out}/gone.XXXX) && cd $d && rmdir $d && exec {command}"
    ),
    "working-directory-of-the-kernel": Surrounding(shell="cd /proc/self && exec {command}"),
    "stdout-closed": Surrounding(shell="exec {command} >&-"),
    "stdout-full": Surrounding(shell="exec {command} >/dev/full"),
    "stdout-read-by-head": Surrounding(shell="{command} | head -c 1 >/dev/null"),
    "stdin-closed": Surrounding(shell="exec {command} <&-"),
    "stderr-closed": Surrounding(shell="exec {command} 2>&-"),
    "all-closed": Surrounding(shell="exec {command} <&- >&- 2>&-"),
    "sixteen-descriptors": Surrounding(shell="ulimit -n 16 && exec {command}"),
    "no-file-may-grow": Surrounding(shell="ulimit -f 0 && exec {command}"),
    "odd-terminal": Surrounding(
        {"TERM": "../../etc/passwd", "COLUMNS": "-3", "LINES": "1" * 5000, "COLORTERM": "\x1b[2J"}
    ),
    "odd-clock": Surrounding({"TZ": "Nowhere/../../x"}),
    "odd-settings": Surrounding(
        {
            "VLAMON_THEME": "../../../etc/passwd",
            "VLAMON_WEIGHTS": "=,a=,=1,b=nan",
            "VLAMON_VOCAB": "9" * 5000,
            "VLAMON_KEYS": "=,quit=,x=y",
            "VLAMON_THRESHOLDS": "warn_ratio=1e999",
            "VLAMON_EVERY": "-inf",
            "VLAMON_SOCKET": "/dev/zero",
            "VLAMON_ALERTS": "/proc/self/mem",
        }
    ),
    "empty-path": Surrounding({"PATH": None}, shell="PATH= ; exec {command}"),
}


def outcome(name: str, command: str) -> str:
    """What is wrong with a command in a surrounding; empty for nothing."""
    place = SURROUNDINGS[name]
    with tempfile.TemporaryDirectory(prefix="vlamon-odd-") as folder:
        words = [sys.executable, "-m", "vlamon", *COMMANDS.get(command, ())]
        if command == "script":
            words = [sys.executable, "-c", SCRIPT]
        named = {"run": str(FIXTURES), "out": folder}
        line = shlex.join(word.format(**named) for word in words)
        script = place.shell.format(command=line, out=folder)
        shell = ["/bin/sh", "-c", script]
        done = subprocess.run(
            shell,
            env=dict(_environment(place, folder)),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
    said = done.stderr.decode("utf-8", "replace")
    trace = TRACES.search(said)
    if trace:
        return f"{trace.group()!r} in:\n{said[-1500:]}"
    if done.returncode not in (CODES if command in COMMANDS else (0,)):
        return f"it ended with {done.returncode}: {said[-500:]}"
    return ""


def _environment(place: Surrounding, folder: str) -> Iterator[tuple[str, str]]:
    found: dict[str, str | None] = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": folder,
        "XDG_STATE_HOME": f"{folder}/state",
        "XDG_CONFIG_HOME": f"{folder}/config",
        "VLAMON_HOME": f"{folder}/vlamon",
        **place.environment,
    }
    yield from ((name, value) for name, value in found.items() if value is not None)


def tried(root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every command in the named surroundings, or in all."""
    for name in SURROUNDINGS:
        for command in (*COMMANDS, "script"):
            if not names or name in names or f"{name}/{command}" in names:
                yield f"{name}/{command}", outcome(name, command)


if __name__ == "__main__":
    sys.exit(report(tried))
