"""`vlamon config`: what is set, and where it was set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from vlamon import config
from vlamon.safe_text import line
from vlamon.user_settings import SETTINGS

EXIT_MISTAKES = 2


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, see docs/json.md.")
@click.option("--example", is_flag=True, help="Print a settings file with every key explained.")
def command(as_json: bool, example: bool) -> int:
    """Show the settings in force, and where each was set.

    Settings come from ~/.config/vlamon/config.toml, from the nearest vlamon.toml of the project,
    from VLAMON_… variables, and from the command line, the later over the earlier. Exit code: 2
    where a file or a variable has a mistake.
    """
    if example:
        click.echo("\n".join(example_file()))
        return 0
    settings = config.load()
    settings = replace(settings, complaints=(*settings.complaints, *config.misspelt_variables()))
    if as_json:
        from vlamon.views.json_lines import json_bytes

        click.echo(json_bytes(as_object(settings), indent=True).decode(), nl=False)
    else:
        for shown in table(settings):
            click.echo(line(shown))
    return EXIT_MISTAKES if settings.complaints else 0


def as_object(settings: config.Configuration) -> dict[str, Any]:
    """Settings, files and mistakes for scripts."""
    return {
        "kind": "config",
        "settings": [
            {"name": name, "value": held.value, "source": held.source}
            for name, held in settings.values.items()
        ],
        "files": [{"path": path, "read": path in settings.files} for path in _places()],
        "alerts": {"path": _alerts_file(), "exists": os.path.isfile(_alerts_file())},
        "mistakes": list(settings.complaints),
    }


def table(settings: config.Configuration) -> Iterator[str]:
    """A line for each setting, then the files and what is wrong with them."""
    rows = [
        (name, _toml(held.value), _short(held.source)) for name, held in settings.values.items()
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(2)]
    for name, value, source in rows:
        yield f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}"
    yield ""
    for path in _places():
        yield f"{'read' if path in settings.files else 'none'}  {_short(path)}"
    here = os.path.isfile(_alerts_file())
    hint = "vlamon alert list" if here else "vlamon alert --help"
    yield f"{'have' if here else 'none'}  {_short(_alerts_file())}  (alerts: {hint})"
    for complaint in settings.complaints:
        yield f"wrong  {complaint}"


def example_file() -> Iterator[str]:
    """A file of comments with every setting at its default."""
    yield f"# Settings of vlamon: {_short(config.user_file())}, or vlamon.toml of a project."
    samples = {
        "theme": '"dusk"',
        "weights": "{ loss_ct = 10 }",
        "vocab": "65536",
        "clip_grad": "4",
        "thresholds": "{ warn_ratio = 3 }",
        "keys": '{ quit = "Q" }',
    }
    for setting in SETTINGS:
        choices = f" One of {', '.join(setting.choices)}." if setting.choices else ""
        yield ""
        yield f"# {setting.help}{choices} {setting.variable}"
        yield f"# {setting.name} = {samples.get(setting.name) or _toml(setting.default)}"


def _places() -> list[str]:
    return [config.user_file(), config.project_file() or _here(config.PROJECT_FILE)]


def _here(name: str) -> str:
    try:
        return os.path.abspath(name)
    except FileNotFoundError:
        return name  # the working directory was removed under us


def _alerts_file() -> str:
    """Where the channels of alerts are set up: a file of its own, because it holds secrets."""
    from vlamon.alerts.settings import alerts_file

    return str(alerts_file())


def _short(path: str) -> str:
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if path.startswith(home + os.sep) else path


def _toml(value: Any) -> str:
    """A value as a settings file would hold it."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case float():
            return f"{value:g}"
        case tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict():
            inner = ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case _:
            return str(value)
