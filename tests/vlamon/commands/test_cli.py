"""The command line itself: a table, lazily loaded."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from tests.vlamon.commands.training import environment, vlamon
from vlamon.cli import COMMANDS, run


def imported_by(*arguments: str) -> set[str]:
    """Modules that a command imported."""
    script = (
        "import sys\nfrom vlamon.cli import run\nrun(sys.argv[1:])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    return set(done.stderr.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["status", "--socket", "/nowhere"], ["explain", "closs"]],
)
def test_quick_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & {"numpy", "textual", "rich", "torch", "asyncio"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_in_the_table_has_its_module_and_help(name: str) -> None:
    module, line = COMMANDS[name]

    command = import_module(module).command

    assert isinstance(command, click.Command)
    assert line.endswith(".")
    assert command.help


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0

    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["analyse", "x"],
            "No such command 'analyse' (did you mean 'analyze'?); see `vlamon --help`.",
        ),
        (["a.log"], "No such command 'a.log'; to open it: `vlamon tail a.log`"),
        (["run.vlaj"], "No such command 'run.vlaj'; to open it: `vlamon watch run.vlaj`"),
        (["runs/a"], "No such command 'runs/a'; to open it: `vlamon watch runs/a`"),
        (["analyze", "b.log"], "b.log does not exist (did you mean 'a.log'?); `vlamon` alone"),
        (["ctl", "chekpoint"], "No such command 'chekpoint'"),
        (["analyze", "b.log", "a.log"], "`vlamon` alone lists what is here."),
        (["man", "-o", "run.vlaj/x"], "run.vlaj/x cannot be written: Not a directory; name"),
        (["export", "a.log", "-o", "no/x.csv"], "make the directory first: mkdir -p no."),
        (["export", "a.log", "-o", "x.xyz"], ".xyz is not written here; name a .csv"),
        (
            ["tail", "--once", "b.log"],
            "b.log does not exist (did you mean 'a.log'?); without --once",
        ),
        (["watch", "run.vlai"], "run.vlai does not exist (did you mean 'run.vlaj'?); a live"),
    ],
)
def test_what_was_probably_meant_is_named(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    for name in ("a.log", "run.vlaj", "runs/a/run.vlaj"):
        (tmp_path / name).write_text("")

    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_an_unknown_command_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["wach"]) == 2

    assert capsys.readouterr().err.startswith("vlamon: No such command 'wach'")


def test_the_module_is_the_program() -> None:
    done = vlamon(["--version"])

    assert done.stdout.startswith("vlamon, version ")


def test_a_terminal_without_unicode_is_no_traceback() -> None:
    done = vlamon(["explain", "closs", "--lang", "zh"], PYTHONIOENCODING="latin-1")

    assert (done.returncode, done.stderr) == (0, "")
    assert "?" in done.stdout


def test_a_bad_timeout_is_no_traceback() -> None:
    assert vlamon(["status", "--timeout", "soon"]).returncode == 2


def test_every_command_is_in_the_manual() -> None:
    manual = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()

    assert all(f"`vlamon {name}" in manual for name in COMMANDS)


def test_an_interrupt_wrapped_by_an_import_ends_with_130_and_no_traceback() -> None:
    script = (
        "import vlamon.cli as cli\n"
        "def run(args=None):\n"
        "    try:\n"
        "        raise KeyboardInterrupt\n"
        "    except KeyboardInterrupt as error:\n"
        "        raise RuntimeError('Error calling __set_name__') from error\n"
        "cli.run = run\n"
        "cli.main([])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("analyze", "vlamon analyze: a log, or the directory of a run, is missing, as in"),
        ("diff", "vlamon diff: two runs are compared, as in `vlamon diff runs/a runs/b`; see"),
        ("run", "vlamon run: the training's command is missing, as in `vlamon run -- python"),
    ],
)
def test_what_a_command_cannot_do_without_is_said_with_an_example(
    command: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command]) == 2
    assert capsys.readouterr().err.startswith(sentence)
