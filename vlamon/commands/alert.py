"""`vlamon alert`: which channels are set up, and whether they deliver."""

from __future__ import annotations

import json
import socket
import time

import click

from vlamon.safe_text import line


@click.group("alert")
def command() -> None:
    """Messages to people who do not watch; docs/alerts.md says how to set them up."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def listed(as_json: bool) -> None:
    """Name the channels in force, and the file that they come from."""
    from vlamon.alerts.settings import alerts_file, load_settings

    settings = load_settings()
    if as_json:
        found = {
            "file": str(alerts_file()),
            "language": settings.language,
            "channels": list(settings.channels),
        }
        click.echo(json.dumps(found))
        return
    names = ", ".join(settings.channels) or "none"
    click.echo(f"channels: {names}   language: {settings.language}   file: {alerts_file()}")


@command.command("test")
@click.option("--on-alert", metavar="CMD", help="Test this command too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def tested(on_alert: str | None, as_json: bool) -> int:
    """Send a test message over every channel and say which took it. Exit 1 where one did not."""
    from vlamon.alerts.alert import Alert
    from vlamon.alerts.channels.http import ChannelError
    from vlamon.alerts.message import message
    from vlamon.alerts.settings import channels_needed, load_settings

    settings = channels_needed(load_settings(on_alert))
    host = socket.gethostname()
    alert = Alert(
        f"test-{time.time_ns()}", "test", "normal", "vlamon", host, None, time.time(),
        "this channel works",
    )  # fmt: skip
    results: dict[str, str] = {}
    for name, channel in settings.channels.items():
        try:
            channel.send(message(alert, settings.language))
            results[name] = ""
        except ChannelError as error:
            results[name] = str(error)
    if as_json:
        click.echo(json.dumps({name: why or "taken" for name, why in results.items()}))
    else:
        for name, why in results.items():
            click.echo(f"{name}: {'taken' if not why else line(f'not taken: {why}')}")
    return 1 if any(results.values()) else 0
