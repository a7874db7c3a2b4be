"""No output of vlamon obeys a text from elsewhere: names, notes, paths and log lines are shown."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlamon.store.blocks import batches
from tests.vlamon.test_safe_text import OBEYED
from vlamon import Emitter
from vlamon.analysis.compare import compare
from vlamon.analysis.evidence import gather
from vlamon.analysis.settings import Settings
from vlamon.cli import run
from vlamon.commands import status
from vlamon.records import EpochRow, Event, Gap, Interval, Record, RunInfo, Status
from vlamon.report import SourceNote, compile_report
from vlamon.report.body import compose
from vlamon.report.difference import difference_json, difference_text
from vlamon.report.html import html_of
from vlamon.report.json import as_json
from vlamon.report.markdown import markdown_of
from vlamon.report.text import as_text
from vlamon.views.csv_rows import AXES, csv_rows
from vlamon.views.json_lines import json_lines
from vlamon.views.plain_lines import Thinned, plain_lines

ATTACKS = (
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;owned\x1b\\",
    "\x9b2J",
    "\u202egnp",
    "\u2066x",
    "\r\nforged",
    "\u2028",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "|",
    "`",
    "=cmd|'/C calc'!A0",
    "@SUM(A1)",
)
hostile = st.lists(
    st.one_of(st.sampled_from(ATTACKS), st.text(st.characters(exclude_categories=["Cs"]))),
    min_size=1,
    max_size=4,
).map("".join)


def shown(text: str) -> None:
    """Nothing in `text` but newlines is obeyed by a terminal."""
    found = OBEYED.search(text.replace("\n", ""))
    assert found is None, (found, text)


def records(text: str) -> list[Record]:
    """A record of each kind with `text` wherever one can stand."""
    spike = [1.0 + 0.01 * (i % 7) + 90 * (i == 60) for i in range(90)]
    return [
        RunInfo(run_id=text, name=text, boot="b", host=text, pid=1, user=text, source=text),
        batches({text: spike, "closs": spike}, weights={text: 2.0, "closs": 1.0}),
        EpochRow(0.0, text, {text: 2.0}),
        Interval(0, 1, 10, {text: 9.0}, {text: 0.1}, {text: (2.9,)}, not_inverted=(text,)),
        Event("1", text, 3, 0, 2.0, severity="warn", text=text, data={text: text}),
        Event("2", "rollback", 3, 0, 2.0, text="", data={text: text}),
        Gap(3, 1, 2, text),
    ]


@given(hostile)
@settings(max_examples=60, deadline=None)
def test_plain_lines_are_lines_that_a_terminal_shows(text: str) -> None:
    for record in records(text):
        for line in (*plain_lines(record), *Thinned(1.0).lines(record)):
            assert "\n" not in line
            shown(line)


@given(hostile)
@settings(max_examples=60, deadline=None)
def test_json_lines_read_back_exactly_and_show_nothing_hidden(text: str) -> None:
    for record in records(text):
        for line in json_lines(record):
            shown(line.decode())
            read = json.loads(line)
            if isinstance(record, Event) and record.text:
                assert (read["text"], read["data"]) == (text, {text: text})


@given(hostile)
@settings(max_examples=60, deadline=None)
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    held = records(text)
    for kind in AXES.keys() - {"gpu"}:
        written = b"".join(csv_rows(lambda: held, kind, "run")).decode()
        shown(written)
        header, *rows = csv.reader(written.splitlines())
        for cell in (*header, *(cell for row in rows for cell in row)):
            assert cell[:1] not in tuple("=@+")
            assert cell[:1] != "-" or float(cell) < 0


@given(hostile)
@settings(max_examples=30, deadline=None)
def test_a_report_is_text_in_every_form(text: str) -> None:
    evidence = gather(records(text), Settings(weights={text: 1.0}))
    report = compile_report(evidence, [SourceNote(text, text, 1, ((1, text),))])

    body = compose(report)
    in_markdown, in_html = markdown_of(body), html_of(body)
    for written in (as_text(report), as_json(report), in_markdown, in_html):
        shown(written)
    assert not re.search(r"<(?!/?(?:b|h\d|p|code)\b)", in_markdown)
    assert "<script" not in in_html
    assert "<img" not in in_html
    for row in in_markdown.splitlines():
        if row.startswith("| "):
            assert len(re.split(r"(?<!\\)\|", row)) <= 16  # no cell more than the header's


@given(hostile)
@settings(max_examples=30, deadline=None)
def test_a_comparison_is_text(text: str) -> None:
    one, other = (gather([batches({text: [level] * 9})]) for level in (1.0, 2.0))
    comparison = compare(one, other)

    shown(difference_text((text, text), comparison))
    shown(difference_json((text, text), comparison))


@given(hostile)
@settings(max_examples=60, deadline=None)
def test_the_status_is_one_line(text: str) -> None:
    info = RunInfo(run_id="r", name=text, boot="b", host=text)
    said = Status(state=text, phase=text, step=1, guard=text)

    line = status.sentence(info, said, {"closs": 1.0}, 0.0)
    shown(line)
    assert "\n" not in line
    shown(status.as_line(info, said, {text: float("nan")}, None))


EVIL = "\x1b]0;owned\x07\x9b2J\u202egnp\r\n<script>|=1"


@pytest.fixture
def evil_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose names are attacks, as journal and as log, in a directory named likewise."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("VLAMON_HOME", raising=False)
    place = tmp_path / "\x1b[2J\u202e\n<b>"
    with Emitter(None, run=EVIL, run_dir=place / "run", weights={EVIL: 1.0}) as emitter:
        for step in range(80):
            emitter.log(step, **{EVIL: 90.0 if step == 60 else 1.0, "closs": 2.0})
        emitter.event("note", step=3, text=EVIL)
    lines = [json.dumps({"step": i, EVIL: 1.0 + 90 * (i == 50)}) for i in range(80)]
    (place / "log.jsonl").write_text("\n".join([*lines[:9], EVIL, *lines[9:]]) + "\n")
    (place / "vlamon.toml").write_text(f"{json.dumps(EVIL)} = 1\ntheme = {json.dumps(EVIL)}\n")
    monkeypatch.chdir(place)
    return place


def commands(place: Path) -> Iterator[list[str]]:
    journal, log = str(place / "run"), str(place / "log.jsonl")
    for options in (["--plain"], ["--json"]):
        yield ["watch", journal, *options]
        yield ["replay", journal, "--speed", "max", *options]
        yield ["tail", log, "--once", "--unknown", *options]
    for layout in ("text", "md", "html", "json"):
        yield ["analyze", journal, "--format", layout]
        yield ["analyze", log, "--unknown", "--format", layout]
    for form in ("csv", "jsonl"):
        yield ["export", journal, "--as", form]
        yield ["export", log, "--as", form]
    yield ["export", journal, "--rows", "event"]
    yield ["diff", journal, log]
    yield ["diff", journal, log, "--json"]
    yield ["explain", EVIL]
    yield ["status", "--socket", journal + "/no.sock"]
    yield ["ctl", "--socket", journal + "/no.sock", "pause"]
    yield ["watch", log]
    yield ["tail", EVIL, "--once"]
    yield ["analyze", log, "--weight", f"{EVIL}x=1"]
    yield ["doctor", str(place), journal + EVIL]
    yield ["doctor", str(place), "--json"]
    yield ["config"]
    yield ["config", "--json"]
    yield ["runs", "--all"]
    yield ["prometheus", "--once", "--socket", journal + "/no.sock"]
    yield []
    yield [EVIL]
    yield ["--" + EVIL]


def test_no_command_lets_an_escape_sequence_through(evil_run: Path, capfdbinary: Any) -> None:
    for arguments in commands(evil_run):
        run(arguments)
        for stream in capfdbinary.readouterr():
            shown(stream.decode())


def test_what_is_forged_is_not_a_line_of_its_own(evil_run: Path, capfdbinary: Any) -> None:
    forged: Iterable[str] = ()
    for arguments in commands(evil_run):
        run(arguments)
        out, err = capfdbinary.readouterr()
        forged = [*forged, *(out + err).decode().splitlines()]

    assert not [line for line in forged if line.startswith(("<script>", "<b>"))]


def test_numbers_do_not_change_on_their_way(evil_run: Path, capfdbinary: Any) -> None:
    run(["export", str(evil_run / "log.jsonl")])
    rows = list(csv.reader(capfdbinary.readouterr()[0].decode().splitlines()))

    column = next(at for at, name in enumerate(rows[0]) if "script" in name)
    expected = np.array([1.0 + 90 * (i == 50) for i in range(80)])
    assert [float(row[column]) for row in rows[1:]] == expected.tolist()
