"""`vlamon analyze FILE…`: the written report on a run."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from vlamon.commands.assignments import THRESHOLD, assignments
from vlamon.errors import VlamonError, unwritable
from vlamon.safe_text import line

if TYPE_CHECKING:
    from vlamon.analysis.evidence import Evidence
    from vlamon.analysis.settings import Settings
    from vlamon.detect.rules import SpikeRules
    from vlamon.report import Report
    from vlamon.report.body import Body
    from vlamon.sources.read_all import FileContents
    from vlamon.sources.run_directory import FoundLogs

EXIT_CODES = "Exit code: 0 healthy, 10 warnings, 20 explosion, 30 not judged, 2 usage error."


class NotJudgedError(VlamonError):
    """No line of the logs could be read."""

    exit_code = 30


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
@THRESHOLD
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
    thresholds: SpikeRules,
    log_format: str | None,
    lang: str,
    unknown: bool,
) -> int:
    """Report on a run from its logs: epochs, anomalies, shares, convergence, likely causes.

    Several files are one run; a run's directory or its journal works too. Several directories or
    journals are several runs, and are compared in a table. The exit code makes it usable in
    scripts.
    """
    from vlamon.analysis.settings import Settings
    from vlamon.sources.formats import UnrecognisedError
    from vlamon.sources.runs import run_files

    settings = Settings(weights=weights, vocab=vocab, rules=thresholds, clip=clip_grad)
    # A settings file speaks of every run; what is typed, of this one.
    typed = ctx.get_parameter_source("weights") is ParameterSource.COMMANDLINE
    reading = _Reading(settings, log_format, lang, unknown, typed)
    if len(files) > 1 and all(map(_is_run, files)):
        reports = _reports(files, reading)
        text, code = _formatted_runs(reports, layout or _by_name(output), lang)
        _write(text, output)
        return code
    found = [(given, run_files(given)) for given in files]
    try:
        report = reading.report(found)
    except UnrecognisedError as error:
        raise NotJudgedError(f"NOT JUDGED · {error.lines[0]}", *error.lines[1:]) from None
    chosen = layout or _by_name(output)
    _write(_formatted(report, chosen), output)
    if output is None and chosen == "text" and sys.stdout.isatty():
        click.echo(f"\n{_verdict(report)}")  # its first lines have scrolled away
    return report.exit_code


@dataclass(frozen=True, slots=True)
class _Reading:
    """How logs are read and judged."""

    settings: Settings
    log_format: str | None
    lang: str
    show_unknown: bool
    typed_weights: bool
    """Whether a weight without its metric is a mistake."""

    def report(self, found: Sequence[tuple[str, FoundLogs]]) -> Report:
        """The report on one run; what was taken, left out and not understood goes to stderr."""
        from vlamon.report import SourceNote, compile_report
        from vlamon.sources.formats import ANY_MAKE
        from vlamon.sources.read_all import read_files
        from vlamon.sources.runs import each_once

        for given, files in found:
            if files.why:
                _tell(files.sentence(given))
        paths = each_once(path for _, files in found for path in files.paths)
        logs, problems = read_files(paths, self.log_format)
        for problem in problems:
            _tell(f"left out: {problem.lines[0]}")
        notes = [
            SourceNote(
                log.path,
                log.format,
                log.unknown.count,
                tuple(log.unknown.samples),
                log.unknown.with_loss,
                log.format in ANY_MAKE,
            )
            for log in logs
        ]
        for note in notes if self.show_unknown else ():
            for number, sample in note.samples:
                click.echo(line(f"{note.path}:{number}: {sample}"), err=True)
        return compile_report(self._evidence(logs), notes, self.lang)

    def _evidence(self, logs: Sequence[FileContents]) -> Evidence:
        from vlamon.analysis.evidence import gather
        from vlamon.sources.read_all import records_of

        evidence = gather(
            records_of(logs),
            self.settings,
            [order for log in logs for order in log.orders],
            next((log.end for log in logs if log.end is not None), None),
            [setting for log in logs for setting in log.printed],
        )
        absent = [name for name in self.settings.weights if name not in evidence.names]
        if absent and self.typed_weights:
            known = ", ".join(evidence.names)
            raise VlamonError(f"--weight {absent[0]}: the logs hold no such metric ({known}).")
        return evidence


def _verdict(report: Report) -> str:
    """The verdict and what it rests on."""
    from vlamon.report.headline import headline
    from vlamon.report.words import say

    return line(f"{say(report, f'verdict-{report.verdict}')} · {headline(report)}")


def _is_run(given: str) -> bool:
    """Whether an argument is a run of its own: a directory or a journal."""
    return os.path.isdir(given) or given.endswith(".vlaj")


def _reports(files: Sequence[str], reading: _Reading) -> dict[str, Report]:
    """The report on each run, by its name; a run that cannot be read is left out."""
    from vlamon.sources.runs import each_once, run_files

    reports: dict[str, Report] = {}
    problem: VlamonError | None = None
    for given in each_once(files):
        try:
            reports[given] = reading.report([(given, run_files(given))])
        except VlamonError as error:
            problem = problem or error
            _tell(f"left out: {error.lines[0]}")
    if problem is not None and not reports:
        raise problem
    return reports


def _tell(text: str) -> None:
    click.echo(line(f"vlamon: {text}"), err=True)


def _by_name(output: str | None) -> str:
    """The layout that a file's name asks for."""
    ending = Path(output or "").suffix.lower().lstrip(".")
    return {"htm": "html", "markdown": "md"}.get(
        ending, ending if ending in ("md", "html", "json") else "text"
    )


def _formatted(report: Report, layout: str) -> str:
    if layout == "json":
        from vlamon.report.json import as_json

        return as_json(report)
    from vlamon.report.body import compose
    from vlamon.report.text import as_text

    return as_text(report) if layout == "text" else _formatted_body(compose(report), layout)


def _formatted_runs(reports: Mapping[str, Report], layout: str, lang: str) -> tuple[str, int]:
    from vlamon.report.runs import runs_body, runs_json, worst

    code = worst(reports)
    if layout == "json":
        return runs_json(reports), code
    return _formatted_body(runs_body(reports, lang), layout), code


def _formatted_body(body: Body, layout: str) -> str:
    if layout == "md":
        from vlamon.report.markdown import markdown_of

        return markdown_of(body)
    if layout == "html":
        from vlamon.report.html import html_of

        return html_of(body)
    from vlamon.report.text import text_of

    return text_of(body)


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(output, error) from error
