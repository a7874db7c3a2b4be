"""`vlamon man`: manual pages, made from the same table, options and settings as `--help`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from vlamon import __version__
from vlamon.errors import unwritable


@click.command()
@click.option("-o", "--output", metavar="DIRECTORY", help="Write a page for each command here.")
@click.pass_context
def command(ctx: click.Context, output: str | None) -> int:
    """Print the manual page, or write one for each command: `vlamon man | man -l -`."""
    root = ctx.find_root().command
    commands = _commands(root)
    if output is None:
        click.echo("\n".join(main_page(root, commands)))
        return 0
    pages = {"vlamon": main_page(root, commands)}
    for name, found in commands.items():
        pages[f"vlamon-{name}"] = command_page(name, found)
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name, lines in pages.items():
            text = "\n".join(lines) + "\n"
            Path(output, f"{name}.1").write_text(text, encoding="utf-8")
    except OSError as problem:
        raise unwritable(output, problem) from problem
    return 0


def _commands(group: click.Command) -> dict[str, click.Command]:
    if not isinstance(group, click.Group):
        return {}
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def main_page(root: click.Command, commands: Mapping[str, click.Command]) -> Iterator[str]:
    """The page of `vlamon` itself: commands, settings, exit codes."""
    from vlamon.user_settings import SETTINGS

    yield from _head("vlamon", "watch a vision-language-action training from a terminal")
    yield from (".B vlamon", "[\\fICOMMAND\\fR] [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...")
    yield from _section("DESCRIPTION")
    yield from _paragraphs(root.help or "")
    yield from _section("COMMANDS")
    for name, command in commands.items():
        yield from _entry(f"vlamon {name}", command.get_short_help_str(200))
    yield from _section("SETTINGS")
    yield _roff(
        "In ~/.config/vlamon/config.toml, in the nearest vlamon.toml of a project, and in the "
        "environment; the later overrules the earlier, and the command line has the last word."
    )
    for setting in SETTINGS:
        yield from _entry(f"{setting.name}, {setting.variable}", setting.help)
    yield from _section("EXIT STATUS")
    for code, meaning in EXIT_CODES.items():
        yield from _entry(code, meaning)
    yield from _section("SEE ALSO")
    yield ", ".join(f"\\fBvlamon\\-{_roff(name)}\\fR(1)" for name in commands)


EXIT_CODES = {
    "0": "Done; the training ended.",
    "1": "The command was refused; two runs diverge (diff).",
    "2": "A usage error, or a file that cannot be read.",
    "3": "No training was found.",
    "4": "The training did not answer in time.",
    "10": "Warnings (analyze), or something to fix (doctor).",
    "20": "An explosion (analyze).",
    "30": "Not judged (analyze).",
    "127": "The training's command does not exist (run, which else exits as the training does).",
    "130": "Interrupted with Ctrl-C.",
}


def command_page(name: str, command: click.Command) -> Iterator[str]:
    """The page of one command."""
    context = click.Context(command, info_name=f"vlamon {name}")
    about = command.get_short_help_str(200).rstrip(".")
    yield from _head(f"vlamon-{name}", about)
    yield f".B vlamon {name}"
    yield _roff(" ".join(command.collect_usage_pieces(context)))
    yield from _section("DESCRIPTION")
    yield from _paragraphs(command.help or "")
    options = [p.get_help_record(context) for p in command.get_params(context)]
    if any(options):
        yield from _section("OPTIONS")
        for record in filter(None, options):
            yield from _entry(*record)
    if inner := _commands(command):
        yield from _section("COMMANDS")
        for its_name, found in inner.items():
            yield from _entry(_usage(found, its_name), found.get_short_help_str(200))
    if command.epilog:
        yield from _section("NOTES")
        yield from _paragraphs(command.epilog)
    yield from _section("SEE ALSO")
    yield "\\fBvlamon\\fR(1)"


def _usage(command: click.Command, name: str) -> str:
    pieces = command.collect_usage_pieces(click.Context(command, info_name=name))
    return " ".join([name, *(piece for piece in pieces if piece != "[OPTIONS]")])


def _head(name: str, about: str) -> Iterator[str]:
    yield f'.TH "{name.upper()}" "1" "" "vlamon {__version__}" "vlamon"'
    yield from _section("NAME")
    yield f"{_roff(name)} \\- {_roff(about)}"
    yield from _section("SYNOPSIS")


def _section(title: str) -> Iterator[str]:
    yield f".SH {title}"


def _entry(term: str, text: Any) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_roff(term)}\\fR"
    yield _roff(str(text))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield _roff(" ".join(paragraph.split()))


def _roff(text: str) -> str:
    """Text that troff takes for text: no escapes, no request at the start of a line."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain
