"""`vlamon otlp`: a training's state and newest values to an OpenTelemetry collector."""

from __future__ import annotations

import os
import time
import urllib.parse
from collections.abc import Mapping

import click

from vlamon.alerts.channels.http import ChannelError, post_json
from vlamon.commands.prometheus import read
from vlamon.errors import VlamonError
from vlamon.sources import SourceError
from vlamon.sources.brief_connection import TimedOut
from vlamon.sources.discovery import NoTrainer
from vlamon.views.otlp import request
from vlamon.views.prometheus import Scrape

DEFAULT = "http://127.0.0.1:4318"
PATH = "/v1/metrics"


class NotExported(VlamonError):
    """The collector did not take it."""

    exit_code = 1


@click.command()
@click.option("--socket", metavar="PATH", help="The training's socket; found where there is one.")
@click.option(
    "--endpoint",
    metavar="URL",
    help=f"The collector; else $OTEL_EXPORTER_OTLP_ENDPOINT, else {DEFAULT}.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=1.0),
    default=15.0,
    show_default=True,
    help="Seconds between two exports.",
)
@click.option("--once", is_flag=True, help="Export once; exit 1 where it is not taken.")
def command(socket: str | None, endpoint: str | None, every: float, once: bool) -> int:
    """Export a training's state and newest values to an OpenTelemetry collector over OTLP/HTTP.

    $OTEL_EXPORTER_OTLP_HEADERS holds tokens, as `authorization=Bearer%20…`: they do not belong on a
    command line. A training that is not there, or over, is `vlamon.up` 0.
    """
    url, headers = target(endpoint, os.environ), headers_of(os.environ)
    refused = ""
    while True:
        try:
            post_json(url, request(reading(socket)), headers)
            refused = ""
        except ChannelError as error:
            if once:
                raise NotExported(f"nothing was exported: {error}.") from None
            if str(error) != refused:  # a collector that is away for an hour is one line
                refused = str(error)
                click.echo(f"vlamon: nothing is exported: {error}; trying on.", err=True)
        if once:
            return 0
        time.sleep(every)


def reading(socket: str | None) -> Scrape:
    """What the training says right now."""
    try:
        return read(socket)
    except (NoTrainer, TimedOut, SourceError):
        return Scrape()


def target(endpoint: str | None, environ: Mapping[str, str]) -> str:
    """The URL of metrics: a general endpoint gets the path that OTLP/HTTP defines."""
    metrics = environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
    if endpoint is None and metrics:
        return metrics
    general = endpoint or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or DEFAULT
    return general if general.endswith(PATH) else general.rstrip("/") + PATH


def headers_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The headers that OpenTelemetry's variable holds: `name=value,name=value`, percent-encoded."""
    given = environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = [part.partition("=") for part in given.split(",") if "=" in part]
    found = {name.strip(): urllib.parse.unquote(value.strip()) for name, _, value in pairs}
    if any(not name or {"\r", "\n"} & set(name + value) for name, value in found.items()):
        raise VlamonError("$OTEL_EXPORTER_OTLP_HEADERS is not name=value,name=value.")
    return found
