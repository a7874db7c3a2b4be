"""Shows a source the way that was asked for: the dashboard, plain lines or JSON Lines."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Literal

from vlamon.detect.rules import SpikeRules
from vlamon.protocol.commands import make
from vlamon.records import Event, Link, Record, Reply, RunInfo
from vlamon.safe_text import line
from vlamon.sources import Source, SourceError
from vlamon.tui.options import Options
from vlamon.tui.terminal import in_browser

Mode = Literal["screen", "plain", "json"]
WAIT = 0.25
SWITCH = 0.001
"""Seconds after which the thread that reads a history gives way to the one that paints. Python's
own 5 ms add up: the first paint of a long journal waits a score of times for its turn."""
LAST_WORDS = 2.0
"""Seconds after the `end` event in which the last rows may still come."""


def mode_for(*, plain: bool, json: bool) -> Mode:
    """What was asked for, the dashboard where nothing was and stdout is a terminal that can show
    one: TERM=dumb says that it cannot move its cursor."""
    if json:
        return "json"
    able = in_browser(os.environ) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")
    return "screen" if able and not plain else "plain"


def present(
    source: Source,
    mode: Mode,
    options: Options,
    others: Sequence[Source] = (),
    baseline: Source | None = None,
    names: Sequence[str] = (),
) -> int:
    """Show the source until it ends or the user does; returns the exit code. The dashboard shows
    `others`, too, by the key R, and `baseline` under its charts; lines of text are of one run.
    `names` are how the user named the runs, the baseline last."""
    try:
        if mode == "screen":
            return _screen([source, *others], options, baseline, names)
        wanted = options.auto_rollback
        auto_rollback = _HeadlessAutoRollback(source, options.rules) if wanted else None
        encode = _json_encoder() if mode == "json" else _plain_encoder(options.every)
        return _lines(source, encode, auto_rollback)
    finally:
        source.close()


def _screen(
    sources: Sequence[Source],
    options: Options,
    under: Source | None = None,
    names: Sequence[str] = (),
) -> int:
    # What start-up makes lives until the end: looking through it for garbage, again and again while
    # it grows, is a seventh of the time to the first curve. The dashboard ends this when it is up.
    gc.disable()
    sys.setswitchinterval(SWITCH)
    from vlamon.sources.feed import Feed
    from vlamon.tui.app import Dashboard

    if not in_browser(os.environ):
        _give_the_screen_a_terminal()
        for frozen in ("COLUMNS", "LINES"):
            # An exported size would be believed before a resized terminal.
            os.environ.pop(frozen, None)
    named = iter(names)
    feed, *others = [Feed(source, named=next(named, "")) for source in sources]
    baseline = None if under is None else Feed(under, named=next(named, ""))
    dashboard = Dashboard(feed, options, others=others, baseline=baseline)
    try:
        dashboard.run(mouse=options.mouse)
    finally:
        gc.enable()
        for one in (feed, *others, baseline):
            if one is not None:
                one.close()
    return dashboard.return_code or 0


class _HeadlessAutoRollback:
    """`--auto-rollback` without a screen: reports each command and its outcome on stderr."""

    def __init__(self, source: Source, rules: SpikeRules) -> None:
        from vlamon.detect.auto_rollback import AutoRollback

        self._source = source
        self._monitor = AutoRollback(rules)
        self._sent: set[str] = set()

    def observe(self, record: Record) -> None:
        """Answer a live explosion; report the reply to a command of ours."""
        request = self._monitor.observe(record)
        if request is not None:
            command = make("rollback", event=request.event)
            try:
                self._source.send(command)
            except SourceError as error:
                _say(f"explosion at step {request.step} ({request.text}), no rollback: {error}")
                return
            self._sent.add(command.id)
            _say(f"explosion at step {request.step} ({request.text}): rollback requested")
        if isinstance(record, Reply) and record.id in self._sent:
            self._sent.discard(record.id)
            done = ", ".join(f"{name} {value}" for name, value in record.result.items())
            _say(f"rollback done: {done}" if record.ok else f"rollback refused: {record.error}")


def _say(text: str) -> None:
    print(line(f"vlamon: {text}"), file=sys.stderr, flush=True)


def _lines(
    source: Source,
    encode: Callable[[Record], Iterable[bytes]],
    auto_rollback: _HeadlessAutoRollback | None = None,
) -> int:
    out: IO[bytes] = sys.stdout.buffer
    leave_by = math.inf
    while not source.finished and time.monotonic() < leave_by:
        records = source.read(WAIT)
        for record in records:
            _tell(record)
            if auto_rollback is not None:
                auto_rollback.observe(record)
            for encoded in encode(record):
                out.write(encoded)
        if records:
            out.flush()
        if any(isinstance(record, Link) and record.state == "ended" for record in records):
            break
        if any(isinstance(record, Event) and record.kind == "end" for record in records):
            leave_by = time.monotonic() + LAST_WORDS
    return 0


def _tell(record: Record) -> None:
    """News of the link go to stderr, so that stdout holds records alone."""
    if isinstance(record, Link):
        if record.state == "failed":
            raise SourceError(record.text)
        if record.state in ("waiting", "reconnecting") or (record.state == "live" and record.text):
            _say(record.text)


def _json_encoder() -> Callable[[Record], Iterable[bytes]]:
    from vlamon.views.json_lines import json_lines

    return json_lines


def _plain_encoder(every: float) -> Callable[[Record], Iterable[bytes]]:
    from vlamon.views.plain_lines import Thinned

    thinned = Thinned(every)
    shown: tuple[str, str] | None = None

    def encode(record: Record) -> Iterable[bytes]:
        nonlocal shown
        if isinstance(record, Link):
            return ()
        if isinstance(record, RunInfo):
            # It comes again with each newly announced metric; a person needs it once a boot.
            if shown == (record.boot, record.run_id):
                return ()
            shown = record.boot, record.run_id
        return (f"{text}\n".encode() for text in thinned.lines(record))

    return encode


def _give_the_screen_a_terminal() -> None:
    """Textual reads keys from stdin and paints on stderr: put the terminal there.

    Stdin is a pipe in `train.py | vlamon tail -`, stderr a file in `vlamon watch 2> errors`. The
    pipe stays open under another number, which `sources.bytestream` reads from.
    """
    if not os.isatty(0):
        from vlamon.sources import bytestream

        try:
            terminal = os.open("/dev/tty", os.O_RDWR)
        except OSError as error:
            raise SourceError(
                "there is no terminal to read keys from; use --plain or --json."
            ) from error
        bytestream.STDIN.number = os.dup(0)
        os.dup2(terminal, 0)
        os.close(terminal)
    if not os.isatty(2):
        sys.__stderr__ = os.fdopen(os.dup(1), "w", encoding="utf-8")  # type: ignore[misc]
