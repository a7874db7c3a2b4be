"""`vlamon prometheus`: a training's state and newest values for Prometheus.

Each scrape is a conversation of its own, as `vlamon status` has: nothing is held between two.
"""

from __future__ import annotations

import os
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from vlamon.commands.listen import Address, Listen, unservable
from vlamon.errors import VlamonError
from vlamon.hardware import GpuSample
from vlamon.records import Record
from vlamon.sources import SourceError
from vlamon.sources.brief_connection import BriefConnection, TimedOut
from vlamon.sources.discovery import NoTrainer
from vlamon.views.prometheus import Scrape, exposition

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GREETING = 3.0
SETTLE = 1.5
"""Seconds for status, newest values and a GPU sample, of which one comes each second."""


@click.command()
@click.option("--socket", metavar="PATH", help="The training's socket; found where there is one.")
@click.option(
    "--listen", type=Address(9435, loopback_only=True), default="127.0.0.1:9435", show_default=True
)
@click.option("--textfile", metavar="PATH", help="Write here for node_exporter instead.")
@click.option(
    "--every",
    type=click.FloatRange(min=1.0),
    default=15.0,
    show_default=True,
    help="Seconds between two writes of the textfile.",
)
@click.option("--once", is_flag=True, help="Print the page, or write the textfile, and end.")
def command(
    socket: str | None, listen: Listen, textfile: str | None, every: float, once: bool
) -> int:
    """Serve a training's state and newest values at http://127.0.0.1:9435/metrics.

    With --textfile they are written for node_exporter's textfile collector. A training that is not
    there, or over, is `vlamon_up 0`.
    """
    if textfile is None and once:
        click.echo(page(socket), nl=False)
        return 0
    if textfile is None:
        serve(socket, listen)
        return 0
    while True:
        write(textfile, page(socket))
        if once:
            return 0
        time.sleep(every)


def page(socket: str | None) -> str:
    """What the training says right now."""
    try:
        return exposition(read(socket))
    except (NoTrainer, TimedOut, SourceError):
        return exposition(Scrape())


def read(socket: str | None) -> Scrape:
    """One conversation."""
    with BriefConnection(socket) as connection:
        info = connection.greet(GREETING)
        samples: list[GpuSample] = []

        def settled(record: Record) -> bool | None:
            if isinstance(record, GpuSample):
                samples.append(record)
            whole = connection.status is not None and connection.source.latest and samples
            return True if whole else None

        connection.wait(settled, SETTLE)
        newest = samples[-1] if samples else None
        return Scrape(info, connection.status, dict(connection.source.latest), newest)


def serve(socket: str | None, listen: Listen) -> None:
    """Answer scrapes until interrupted."""

    class ScrapeHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "the page is /metrics")
                return
            body = page(socket).encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A line for each scrape would fill the terminal."""

    try:
        server = ThreadingHTTPServer(listen, ScrapeHandler)
    except OSError as problem:
        raise unservable(listen, problem) from problem
    with server:
        click.echo(f"vlamon: serving http://{listen[0]}:{server.server_port}/metrics", err=True)
        server.serve_forever(poll_interval=0.1)


def write(path: str, text: str) -> None:
    """Put the page under its name at once: node_exporter must never read half of it."""
    directory = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, partial = tempfile.mkstemp(prefix=".vlamon-", dir=directory)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as problem:
        raise VlamonError(f"{path} cannot be written: {problem.strerror}.") from problem
