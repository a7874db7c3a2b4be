"""`vlamon diff RUN_A RUN_B`: where two runs diverge, and which term first."""

from __future__ import annotations

import sys

import click

from vlamon.safe_text import line

EXIT_CODES = """Exit code: 0 identical, 1 they diverge, 2 nothing in common or a usage error."""


@click.command(epilog=EXIT_CODES)
@click.argument("run_a")
@click.argument("run_b")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--plain", is_flag=True, help="A table; the default.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-9,
    show_default=True,
    help="Relative difference up to which two values count as equal.",
)
@click.option("--log-format", metavar="NAME", help="Force the format of the logs.")
def command(
    run_a: str,
    run_b: str,
    as_json: bool,
    plain: bool,
    tolerance: float,
    log_format: str | None,
) -> int:
    """Align two runs by step (or epoch) and find where they diverge, and which term first.

    A run is a log, several logs joined by commas, a journal (run.vlaj), or a run's directory.
    """
    from vlamon.analysis.compare import compare
    from vlamon.analysis.evidence import gather
    from vlamon.report.difference import difference_json, difference_text
    from vlamon.sources.read_all import read_files, records_of
    from vlamon.sources.runs import run_files

    runs = []
    for given in (run_a, run_b):
        found = run_files(given)
        if found.why:
            click.echo(line(f"vlamon: {found.sentence(given)}"), err=True)
        runs.append(gather(records_of(read_files(found.paths, log_format)[0])))
    comparison = compare(runs[0], runs[1], tolerance)
    text = (difference_json if as_json and not plain else difference_text)(
        (run_a, run_b), comparison
    )
    sys.stdout.write(text)
    if not comparison.comparable:
        return 2
    return 0 if comparison.same else 1
