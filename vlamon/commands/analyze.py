"""`vlamon analyze FILE…`: the written report on a run."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from vlamon.errors import VlamonError
from vlamon.safe_text import line

EXIT_CODES = "Exit code: 0 healthy, 10 warnings, 20 explosion, 30 not judged, 2 usage error."


def assignments(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    """Parse `NAME=NUMBER`, split at the last `=`."""
    found = {}
    for value in values:
        name, equals, number = value.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not math.isfinite(found[name.strip()]):
            raise click.BadParameter(
                f"{value!r} is not NAME=NUMBER, such as loss_ct=10", ctx, param
            )
    return found


def limit(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A finite number, at least 0."""
    if value is not None and not 0 <= value < math.inf:
        raise click.BadParameter(f"{value:g} is not a gradient norm", ctx, param)
    return value


@click.command(epilog=EXIT_CODES)
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format",
    "layout",
    type=click.Choice(["text", "md", "html", "json"]),
    help="Format of the report; the default follows the output's name, else text.",
)
@click.option("-o", "--output", type=click.Path(), help="Write here instead of to stdout.")
@click.option(
    "--weight",
    "weights",
    metavar="NAME=NUMBER",
    callback=assignments,
    multiple=True,
    help="Weight of a term of the total, such as loss_ct=10; may be repeated.",
)
@click.option(
    "--vocab",
    type=click.IntRange(min=2),
    help="Vocabulary that closs is measured against; default: the run's own, else 65536.",
)
@click.option(
    "--clip-grad",
    type=float,
    callback=limit,
    metavar="NUMBER",
    help="Gradient clipping of the run.",
)
@click.option("--log-format", metavar="NAME", help="Force the format of the logs.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--unknown", is_flag=True, help="Show the lines that were not understood.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    layout: str | None,
    output: str | None,
    weights: dict[str, float],
    vocab: int | None,
    clip_grad: float | None,
    log_format: str | None,
    lang: str,
    unknown: bool,
) -> int:
    """Report on a run from its logs: epochs, anomalies, shares, convergence, likely causes.

    Several files are one run; a run's directory or its journal works too. The exit code makes it
    usable in scripts.
    """
    from vlamon.analysis.evidence import gather
    from vlamon.analysis.settings import Settings
    from vlamon.report import SourceNote, compile_report
    from vlamon.sources.read_all import records_of
    from vlamon.sources.runs import drained_file, each_once, run_files

    paths = each_once(path for given in files for path in run_files(given))
    logs = [drained_file(path, log_format) for path in paths]
    evidence = gather(
        records_of(logs),
        Settings(weights=weights, vocab=vocab, clip=clip_grad),
        [order for log in logs for order in log.orders],
        next((log.end for log in logs if log.end is not None), None),
        [setting for log in logs for setting in log.printed],
    )
    unknown_names = [name for name in weights if name not in evidence.names]
    # A settings file speaks of every run; what is typed, of this one.
    if unknown_names and ctx.get_parameter_source("weights") is ParameterSource.COMMANDLINE:
        known = ", ".join(evidence.names)
        raise VlamonError(f"--weight {unknown_names[0]}: the logs hold no such metric ({known}).")
    notes = [
        SourceNote(log.path, log.format, log.unknown.count, tuple(log.unknown.samples))
        for log in logs
    ]
    report = compile_report(evidence, notes, lang)
    if unknown:
        for note in notes:
            for number, sample in note.samples:
                click.echo(line(f"{note.path}:{number}: {sample}"), err=True)
    _write(_set(report, layout or _by_name(output)), output)
    return report.exit_code


def _by_name(output: str | None) -> str:
    """The layout that a file's name asks for."""
    ending = Path(output or "").suffix.lower().lstrip(".")
    return {"htm": "html", "markdown": "md"}.get(
        ending, ending if ending in ("md", "html", "json") else "text"
    )


def _set(report: object, layout: str) -> str:
    from vlamon.report import Report

    assert isinstance(report, Report)
    if layout == "md":
        from vlamon.report.markdown import as_markdown

        return as_markdown(report)
    if layout == "html":
        from vlamon.report.html import as_html

        return as_html(report)
    if layout == "json":
        from vlamon.report.json import as_json

        return as_json(report)
    from vlamon.report.text import as_text

    return as_text(report)


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise VlamonError(f"{output}: cannot be written: {error.strerror}.") from error
