"""Every command on a page can be typed: the program, its subcommand and its options exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from tests.docs.pages import ROOT, Written, console, links, pages, spans
from vlamon.cli import vlamon

TYPED = [command for page in pages() for command in console(page)]
NAMED = [command for page in pages() for command in spans(page)]
FOREIGN = {
    *("accelerate", "cd", "chmod", "curl", "deepspeed", "docker", "export", "git", "kill"),
    *("lerobot-train", "pip", "pipx", "sbatch", "squeue", "ssh"),
}
"""Programs that are not ours: nothing of them is checked but that they are these."""


def check_vlamon(words: Sequence[str]) -> None:
    """Parse a command line of vlamon as click does, without running it."""
    command: click.Command = vlamon
    context = click.Context(command)
    rest = list(words)
    while isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(rest)
        if not rest:
            assert command.invoke_without_command, f"{context.command_path} needs a command"
            return
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"there is no command {name!r}"
        command, context = found, click.Context(found, context, name)
    check_click(command, context, rest)


def check_click(command: click.Command, context: click.Context, words: Sequence[str]) -> None:
    """Options exist, and no argument is missing or one too many."""
    given, extra, _ = command.make_parser(context).parse_args(list(words))
    assert not extra or context.allow_extra_args, f"{context.command_path}: {extra}"
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    missing = [each.name for each in arguments if each.required and not given.get(each.name or "")]
    assert not missing, f"{context.command_path} needs {missing}"


def check_module(words: Sequence[str]) -> None:
    """`python -m MODULE` names a module of this repository, with options that it has."""
    module, *rest = words
    assert module.split(".")[0] in ("tests", "trainer", "vlamon")
    assert find_spec(module) is not None, f"there is no module {module}"
    if module == "tests.bench":
        assert all(find_spec(f"tests.bench.{name}") for name in rest)
    if module in ("trainer", "trainer.export"):
        entry = import_module("trainer.__main__" if module == "trainer" else module)
        check_click(entry.main, click.Context(entry.main), rest)


def check_make(words: Sequence[str]) -> None:
    """The Makefile has the target."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(words) <= set(targets)


def check_extras(words: Sequence[str]) -> None:
    """`vlamon[extra]` names an extra of this project."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = document["project"]["optional-dependencies"]
    for word in words:
        for extras in re.findall(r"^vlamon\[([\w,-]+)\]$", word):
            assert set(extras.split(",")) <= set(known)


def check(words: Sequence[str]) -> None:
    """Check one command line, whatever starts it."""
    match words:
        case ["vlamon", "serve", ("watch" | "tail" | "replay") as shown, *rest]:
            check_vlamon([shown, *rest])
        case ["vlamon", *rest] | ["uvx", "vlamon", *rest]:
            check_vlamon(rest)
        case ["uvx", "--from", extra, *rest]:
            check_extras([extra])
            check(rest)
        case ["python", "-m", *rest]:
            check_module(rest)
        case ["torchrun" | "srun", *rest]:
            if "-m" in rest:
                check_module(rest[rest.index("-m") + 1 :])
        case ["make", *rest]:
            check_make(rest)
        case [program, *rest]:
            if "=" in program:  # an environment variable in front
                check(rest)
                return
            assert program in FOREIGN, f"{program} is no program that this test knows"
            check_extras(rest)


@pytest.mark.parametrize("command", TYPED, ids=lambda command: f"{command.page}: {command.text}")
def test_a_command_of_a_page_can_be_typed(command: Written) -> None:
    check(command.words)


def options_of(command: click.Command) -> set[str]:
    """Its options; those of a group's commands too, for `ctl COMMAND --reason`."""
    own = {each for param in command.params for each in (*param.opts, *param.secondary_opts)}
    if isinstance(command, click.Group) and command is not vlamon:
        own |= {each for inner in command.commands.values() for each in options_of(inner)}
    return own


def test_a_command_within_a_sentence_exists_with_its_options() -> None:
    for command in NAMED:
        words = re.split(r"[\s\[\]|]+", command.text.partition(" -- ")[0])[1:]
        found: click.Command = vlamon
        known = {"--help"} | options_of(vlamon)
        for word in words:
            if not isinstance(found, click.Group) or not word.isalpha() or not word.islower():
                continue
            _, subcommand, _ = found.resolve_command(click.Context(found), [word])
            assert subcommand is not None, command
            found = subcommand
            known |= options_of(found)
        assert {word.split("=")[0] for word in words if word.startswith("-")} <= known, command


def test_every_command_of_the_program_is_on_the_page_of_commands() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()

    missing = [name for name in vlamon.list_commands(click.Context(vlamon)) if name not in text]
    assert missing == []


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        check(["vlamon", "watch", "--sockets", "/tmp/vla.sock"])
    with pytest.raises((click.UsageError, AssertionError)):
        check(["vlamon", "wacht"])
    with pytest.raises(AssertionError):
        check(["make", "nothing"])


def test_pages_link_to_files_that_exist() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in links(page.read_text())
        if "://" not in target
        and not target.startswith("#")
        and not Path(page.parent, target.split("#")[0]).exists()
    ]
    assert broken == []
