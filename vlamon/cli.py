"""The command line: a table of commands, each imported when it is used.

`vlamon --help` and `vlamon status` must cost little more than click itself, so nothing here
imports NumPy, Textual or a command's module.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from vlamon import __version__
from vlamon.errors import VlamonError
from vlamon.safe_text import line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: dict[str, tuple[str, str]] = {
    "watch": ("vlamon.commands.watch", "Watch a running training, or open a journal."),
    "demo": ("vlamon.commands.demo", "Watch a small training here explode and recover."),
    "run": ("vlamon.commands.run", "Run a training and watch it through its own trackers."),
    "tail": ("vlamon.commands.tail", "Watch a training through its log files."),
    "analyze": ("vlamon.commands.analyze", "Write a report on a run from its logs."),
    "diff": ("vlamon.commands.diff", "Find where two runs diverge, and which term first."),
    "runs": ("vlamon.commands.runs", "List your runs, here and on the cluster."),
    "status": ("vlamon.commands.status", "Print in one line what a training is doing."),
    "query": ("vlamon.commands.query", "Ask about a run and get JSON, within a budget."),
    "mcp": ("vlamon.commands.mcp", "Serve runs to an agent over MCP, on stdin and stdout."),
    "ctl": ("vlamon.commands.ctl", "Request a checkpoint, a rollback, a pause and more."),
    "alert": ("vlamon.commands.alert", "Name and test the channels that alerts are sent over."),
    "watchdog": ("vlamon.commands.watchdog", "Send a message when a training is gone or silent."),
    "relay": ("vlamon.commands.relay", "Forward a training's socket over stdin and stdout."),
    "replay": ("vlamon.commands.replay", "Play a journal back, at any speed."),
    "serve": ("vlamon.commands.serve", "Show the dashboard in a browser."),
    "prometheus": ("vlamon.commands.prometheus", "Serve the newest values to Prometheus."),
    "otlp": ("vlamon.commands.otlp", "Export the newest values to an OpenTelemetry collector."),
    "export": ("vlamon.commands.export", "Write a run as CSV, JSON, Parquet or TensorBoard."),
    "explain": ("vlamon.commands.explain", "Explain a metric: formula, range, what to do."),
    "slurm": ("vlamon.commands.slurm", "Print a batch script for a Slurm cluster."),
    "doctor": ("vlamon.commands.doctor", "Check this machine, and show how to fix what it finds."),
    "config": ("vlamon.commands.config", "Show the settings and where each was set."),
    "completion": ("vlamon.commands.completion", "Print the completion script of a shell."),
    "man": ("vlamon.commands.man", "Print or write the manual pages."),
}
"""Name to (module with a click command called `command`, one line of help)."""

INTERRUPTED = 130

_REQUIRED = {
    "files": "a log, or the directory of a run, is missing, as in `{path} output.log`",
    "file": "a journal or a log is missing, as in `{path} runs/a`",
    "journal": "a journal, or the directory of a run, is missing, as in `{path} runs/a`",
    "run_a": "two runs are compared, as in `{path} runs/a runs/b`",
    "run_b": "a second run is missing, as in `{path} runs/a runs/b`",
    "argv": "the training's command is missing, as in `{path} -- python train.py`",
}
"""What a command cannot do without, by the name of its argument."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's own module, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was named; the settings in force are its defaults."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}{_suggestion(args[0])}")
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and not ctx.resilient_parsing:
            from vlamon import config

            settings = config.load()
            ctx.default_map = {name: settings.parameters}
            if name != "config":  # which lists them itself
                for complaint in settings.complaints:
                    _complain("vlamon", line(complaint), 0)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a reader that has read enough, such as `head`, is no error."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            return 0
        return code

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands of the table, without importing anything, and the options."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=help_line)
            for name, (_, help_line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of the place that is written to, which is the user's to mend."""


def _discard_output() -> None:
    """Python would flush into what takes nothing once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _suggestion(word: str) -> str:
    """What was probably meant: a file is not a command, nor is a command with a typing error."""
    from vlamon.errors import nearest

    if os.path.exists(word):
        journal = os.path.basename(word) == "run.vlaj" or os.path.exists(f"{word}/run.vlaj")
        return f"; to open it: `vlamon {'watch' if journal else 'tail'} {word}`"
    return nearest(word, COMMANDS)


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="vlamon")
@click.pass_context
def vlamon(ctx: click.Context) -> int:
    """See what a vision-language-action training does, and act on it, from a terminal.

    Without a command it lists the trainings that run here, the logs in this directory, and the run
    that was opened last.
    """
    if ctx.invoked_subcommand is not None or not isinstance(ctx.command, click.Group):
        return 0
    from vlamon.commands.look_around import look_around

    return look_around(ctx.command)


def main(args: Sequence[str] | None = None) -> None:
    """Run a command and exit; a user's mistake is one sentence and exit code 2."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal in Latin-1 shows ? for ×, no traceback
    try:
        code = run(args)
    except BaseException as error:
        if not _was_interrupted(error):
            raise
        code = INTERRUPTED
    if code == INTERRUPTED:
        _exit_interrupted()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Started with `>&-`, Python has no stdout, and the next file that is opened becomes it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        with contextlib.suppress(OSError):
            os.fstat(number)
            number = nowhere  # somebody else's by now
        if number != nowhere:
            os.dup2(nowhere, number)
            os.close(nowhere)
        mode = "r" if name == "stdin" else "w"
        stream = open(number, mode, encoding="utf-8", errors="replace")  # noqa: SIM115 (kept)
        setattr(sys, name, stream)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt is behind it: one that comes while a module is imported is wrapped."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _exit_interrupted() -> None:
    """Exit with 130: after an interrupt during an import, an ordinary exit may be by SIGINT."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)


def run(args: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    try:
        code = vlamon.main(args, prog_name="vlamon", standalone_mode=False)
        sys.stdout.flush()
    except VlamonError as error:
        return _complain("vlamon", "\n".join(map(line, error.lines)), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "vlamon"
        message = error.format_message().rstrip(".")
        if isinstance(error, click.MissingParameter) and error.param is not None:
            wanted = _REQUIRED.get(error.param.name or "", message)
            message = wanted.replace("{path}", path)
        return _complain(path, line(f"{message}; see `{path} --help`."), 2)
    except click.ClickException as error:
        return _complain("vlamon", line(error.format_message()), 2)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        _discard_output()
        where = error.filename or "what is printed"
        return _complain("vlamon", line(f"{where} cannot be written: {error.strerror}."), 2)
    return code if isinstance(code, int) else 0


def _complain(who: str, shown: str, code: int) -> int:
    click.echo(f"{who}: {shown}", err=True)
    return code
