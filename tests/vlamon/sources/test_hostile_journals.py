"""Journals with the right sums and wrong contents: reading ends with a sentence that says where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vlamon.cli import run
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.frames import ProtocolError, pack
from vlamon.protocol.journal import MAGIC, seal
from vlamon.protocol.limits import MOST_NAMES
from vlamon.records import EpochRow, Event, MetricsAnnounced, MetricSpec, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.client import Conversation, Cursor
from vlamon.sources.journal import JournalSource

INFO = RunInfo("r", name="r", boot="b")


def block(seq: int, step: int, names: Sequence[str]) -> dict[str, Any]:
    return blocks.to_message(
        blocks.from_rows(seq, 0, [(step, 0.0, 1.0, dict.fromkeys(names, 1.0))])
    )


def journal(folder: Path, *sent: dict[str, Any]) -> Path:
    path = folder / "run.vlaj"
    frames = [pack(message) for message in (messages.encode(INFO), *sent)]
    path.write_bytes(MAGIC + b"".join(map(seal, frames)))
    return path


def read(path: Path) -> list[Record]:
    source, found = JournalSource(path, follow=False), []
    while not source.finished:
        found += source.read(0.0)
    return found


def many(prefix: str, count: int = 1000) -> list[str]:
    return [f"{prefix}_{number}" for number in range(count)]


WRONG: dict[str, list[dict[str, Any]]] = {
    "a step beyond 53 bits": [block(0, 1 << 60, ["a"])],
    "more than": [block(seq, seq, many(f"n{seq}")) for seq in range(MOST_NAMES // 1000 + 1)],
    "more than ": [
        messages.encode(EpochRow(1.0, f"split_{number}", dict.fromkeys(many("n", 500), 1.0)))
        for number in range(MOST_NAMES // 500 + 1)
    ],
    "more than  ": [
        messages.encode(MetricsAnnounced(tuple(map(MetricSpec, many(f"n{number}", 2000)))))
        for number in range(MOST_NAMES // 2000 + 1)
    ],
    "a wrong `data`": [
        messages.encode(Event("e", "note", 1, 0, 1.0, "info", "x", {}))
        | {"data": {"a": [[{}] * 30_000]}}
    ],
}


@pytest.mark.parametrize("why", WRONG)
def test_what_no_store_can_hold_is_a_sentence_in_every_command(
    why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = journal(tmp_path, *WRONG[why])
    with pytest.raises(SourceError, match=why.strip()):
        read(path)
    assert run(["query", "events", str(path)]) == 2
    assert why.strip() in capsys.readouterr().err


def test_a_server_is_held_to_the_same_limits_over_all_its_connections() -> None:
    cursor = Cursor()
    seq = 0
    with pytest.raises(ProtocolError, match="more than"):  # noqa: PT012 (one of many sent)
        for _ in range(MOST_NAMES // 1000 + 1):
            talk = Conversation(cursor, "s")
            talk.feed(pack(messages.greeting(INFO, messages.Start())))
            talk.feed(pack(block(seq, seq, many(f"n{seq}"))))
            seq += 1


def test_as_many_metrics_as_trainings_may_log_are_read(tmp_path: Path) -> None:
    sent = [block(seq, seq, many(f"boot{seq // 5}")) for seq in range(20)]
    assert len(read(journal(tmp_path, *sent))) >= 2
