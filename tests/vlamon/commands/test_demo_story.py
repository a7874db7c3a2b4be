"""The demo says what is happening, once each, and lets every record through."""

from __future__ import annotations

from collections.abc import Sequence

from tests.vlamon.store.blocks import batches
from vlamon.commands.demo_story import CHAPTERS, NarratedSource, next_steps
from vlamon.protocol.commands import Command
from vlamon.records import BatchBlock, Event, Record


class Played:
    """A source of records that were made up."""

    finished = False

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def read(self, timeout: float) -> Sequence[Record]:
        return self._records

    def send(self, command: Command) -> None: ...

    def close(self) -> None: ...


def story(*records: Record, brief: bool = False) -> list[Record]:
    return list(NarratedSource(Played(records), 130, brief=brief).read(0.1))


def block(step: int) -> BatchBlock:
    return batches({"closs": [8.0], "acc_image_8": [0.1]}, first_step=step, times=[1e9])


def event(kind: str, step: int) -> Event:
    return Event(kind, kind, step, 0, 1e9)


def notes(records: Sequence[Record]) -> list[str]:
    return [r.text for r in records if isinstance(r, Event) and r.kind == "note"]


def test_each_chapter_is_reported_once_in_its_place() -> None:
    kinds = ("explode", "autopsy", "rollback", "recovered", "end")
    told = story(block(0), block(1), event("checkpoint", 64), block(120), block(121), block(130),
                 *(event(kind, 132) for kind in kinds), event("checkpoint", 200))  # fmt: skip

    assert notes(told) == list(CHAPTERS.values())
    places = [i for i, record in enumerate(told) if isinstance(record, Event)]
    assert [told[i].kind for i in places[-4:]] == ["note", "note", "end", "checkpoint"]


def test_every_record_comes_through_and_lines_are_short_where_asked_for() -> None:
    whole = [r for r in story(block(0)) if isinstance(r, BatchBlock)]
    brief = [r for r in story(block(0), brief=True) if isinstance(r, BatchBlock)]

    assert list(whole[0].columns) == ["closs", "acc_image_8"]
    assert list(brief[0].columns) == ["closs"]


def test_a_run_that_was_kept_is_offered_by_its_place() -> None:
    assert any("vlamon watch /tmp/x" in line for line in next_steps("/tmp/x"))
    assert any("vlamon demo --keep" in line for line in next_steps(None))


def test_a_story_that_time_cut_short_is_known() -> None:
    def is_cut(*kinds: str) -> bool:
        source = NarratedSource(Played([event(kind, 132) for kind in kinds]), 130, brief=True)
        source.read(0.1)
        return source.is_cut

    assert is_cut("explode", "rollback", "end")
    assert not is_cut("explode", "rollback", "recovered", "end")
    assert not is_cut("end"), "a demo of a few steps"
