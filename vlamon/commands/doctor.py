"""`vlamon doctor`: what hampers vlamon here, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon.doctor import CheckResult

HEALTHY, HAMPERED = 0, 10
MARKS = {"ok": "ok  ", "note": "note", "warn": "WARN"}


@click.command()
@click.argument("directories", nargs=-1, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object, see docs/json.md.")
def command(directories: tuple[str, ...], as_json: bool) -> int:
    """Check terminal, sockets, disks, GPUs and Slurm; DIRECTORIES are where runs are written.

    Each finding names the command that mends it; nothing is changed. Exit code: 0 where nothing
    hampers vlamon, 10 where something does.
    """
    from vlamon.doctor import Facts, examine

    findings = examine(Facts(directories=directories or (".",)))
    if as_json:
        from vlamon.views.json_lines import json_bytes

        whole = {"kind": "doctor", "findings": [asdict(finding) for finding in findings]}
        click.echo(json_bytes(whole, indent=True).decode(), nl=False)
    else:
        for shown in table(findings):
            click.echo(line(shown))
    hampered = any(finding.level == "warn" for finding in findings)
    return HAMPERED if hampered else HEALTHY


def table(findings: Sequence[CheckResult]) -> Iterator[str]:
    """A line for each finding, and below it the command that mends it."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        yield f"{MARKS[finding.level]}  {finding.check:<{width}}  {finding.text}"
        if finding.fix:
            yield f"      {'':<{width}}  → {finding.fix}"
