"""A log's format is found however much stands in front of its first known line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from vlamon.records import BatchBlock, EpochBlock, EpochRow, Link, Record
from vlamon.sources import recognition
from vlamon.sources.formats import HEAD_BYTES, Format, scored
from vlamon.sources.logfile import LogFile
from vlamon.sources.read_all import read_log
from vlamon.sources.recognition import Recognition

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
NAMED = {
    "lerobot.log": "lerobot",
    "openpi_jax.log": "openpi",
    "openpi_torch.log": "openpi",
    "modded_nanogpt.log": "nanogpt",
    "nanogpt.log": "nanogpt",
    "prismatic.jsonl": "prismatic",
    "train_log.jsonl": "json-lines",
    "key_values.log": "key-values",
    "deit_log.txt": "deit",
    "hf_trainer.log": "hf-trainer",
    "log_train.txt": "reference-epoch",
    "metrics.csv": "csv",
}
WARNINGS = b"".join(b"WARNING something weird happened %d\n" % n for n in range(250))
SETTINGS = b"hidden_size: 4096\nlr: 1e-4\nclip_grad: 4.0\n" * 80
SOURCE = b"optimizer = Adam(head, lr=0.008)\nprint(f'step:{step} loss:{loss}')\nlr=0.3\nlr=4\n" * 60
LONG = WARNINGS * (3 * HEAD_BYTES // len(WARNINGS))


def rows_in(records: Iterable[Record]) -> int:
    blocks = sum(r.rows for r in records if isinstance(r, BatchBlock | EpochBlock))
    return blocks + sum(isinstance(r, EpochRow) for r in records)


@pytest.mark.parametrize("before", [WARNINGS, SETTINGS, SOURCE, LONG], ids=len)
@pytest.mark.parametrize("name", NAMED)
def test_what_stands_in_front_hides_no_log(name: str, before: bytes, tmp_path: Path) -> None:
    log = tmp_path / name
    log.write_bytes(before + (LOGS / name).read_bytes())
    plain = read_log(str(LOGS / name))
    found = read_log(str(log))
    assert found.format == NAMED[name]
    assert rows_in(found.records) == rows_in(plain.records) > 0
    assert found.unknown.count == plain.unknown.count + before.count(b"\n")


def test_a_summary_in_another_format_does_not_decide_about_a_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    lines = [f"step:{n} - train/loss:0.{n:03} - train/lr(1e-3):0.5" for n in range(1, 40)]
    log.write_text("\n".join([*lines, "Final validation metrics: {'val/loss': 0.25}"]) + "\n")
    found = read_log(str(log))
    assert found.format == "verl"
    assert rows_in(found.records) == 39


def test_lines_of_any_make_are_looked_through_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def counting(head: bytes, path: str) -> tuple[int, Format | None]:
        seen.append(len(head))
        return scored(head, path)

    monkeypatch.setattr(recognition, "scored", counting)
    lines = b"".join(b"Epoch %d, Loss: 0.%03d, Acc: 0.5\n" % (n, n % 999) for n in range(60_000))
    found = Recognition("train.log").look(lines)
    assert found is not None
    assert found.name == "key-values"
    assert sum(seen) < 10 * HEAD_BYTES < len(lines)


def read_on(source: LogFile, times: int = 3) -> list[Record]:
    return [record for _ in range(times) for record in source.read(0.02)]


def test_a_log_that_grows_is_looked_at_until_a_line_is_known(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(LONG)
    source = LogFile(str(log))
    try:
        said = read_on(source)
        with log.open("ab") as file:
            file.write(SETTINGS)
        assert read_on(source) == []
        with log.open("ab") as file:
            file.write((LOGS / "lerobot.log").read_bytes())
        records = read_on(source)
    finally:
        source.close()
    (link,) = said
    assert isinstance(link, Link)
    assert link.state == "waiting"
    assert "no line of" in link.text
    assert sum(record.rows for record in records if isinstance(record, BatchBlock)) == 20
    assert any(isinstance(record, Link) and record.state == "live" for record in records)


def test_settings_wait_for_something_better_until_the_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"loss: 3.5\n")
    assert read_log(str(log)).format == "key-values"
    source = LogFile(str(log))
    try:
        assert [record for record in read_on(source) if not isinstance(record, Link)] == []
        with log.open("ab") as file:
            file.write(b"loss: 3.0\nloss: 2.5\n")
        blocks = [record for record in read_on(source) if isinstance(record, BatchBlock)]
    finally:
        source.close()
    assert [value for b in blocks for value in b.columns["loss"].values] == [3.5, 3.0, 2.5]


def test_a_line_longer_than_a_piece_is_looked_at_whole() -> None:
    line = b'{"step": 1, ' + b" " * HEAD_BYTES + b'"loss": 1}\n'
    recognition = Recognition("x")
    for at in range(0, len(line), 10_000):
        found = recognition.look(line[at : at + 10_000])
    found = found or recognition.look(b"")
    assert found is not None
    assert found.name == "json-lines"


def test_a_growing_piece_is_not_looked_at_for_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(
        "vlamon.sources.recognition.scored",
        lambda piece, path: looked.append(len(piece)) or (0, None),
    )
    recognition = Recognition("x")
    for _ in range(20_000):
        recognition.look(b"noise that says nothing\n")
    assert sum(looked) < 20 * len(recognition.lines)


def test_a_stray_line_of_any_make_does_not_hide_the_log_behind_it(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"epoch=1 loss=0.5\n" + LONG + (LOGS / "lerobot.log").read_bytes())
    assert read_log(str(log)).format == "lerobot"
