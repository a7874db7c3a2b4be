"""What a terminal, an encoding or a launcher adds to a log changes no value that is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlamon.records import BatchBlock, Record
from vlamon.sources.logfile import LogFile
from vlamon.sources.plain_text import Decoder, PlainText

LINES = [
    f"step: {step} loss: {5 / (step + 1):.5f} grad_norm: {step % 7 + 0.5:.4f}"
    for step in range(1, 40)
]


def rows(path: Path) -> list[tuple[int, float, float]]:
    source = LogFile(str(path), follow=False)
    records: list[Record] = []
    while not source.finished:
        records += source.read(0.0)
    return [
        (
            step,
            float(block.columns["loss"].values[at]),
            float(block.columns["grad_norm"].values[at]),
        )
        for block in records
        if isinstance(block, BatchBlock)
        for at, step in enumerate(block.step.tolist())
    ]


def coloured(line: str) -> str:
    words = line.split(" ")
    return "".join(f"\x1b[3{at % 8}m{word} \x1b[39m" for at, word in enumerate(words)).rstrip()


DRESSED = {
    "colours": lambda line: coloured(line),
    "rgb and title": lambda line: f"\x1b]0;train\x07\x1b[38;2;180;60;0m{line}\x1b[0m",
    "rank": lambda line: f"[rank0]: {line}",
    "logger": lambda line: f"[rank0]:[titan] 2026-04-18 22:15:40,200 - root - INFO - {line}",
    "rank of a role": lambda line: f"[default0]:{line}",
    "label of a task": lambda line: f" 0: {line}",
    "ray": lambda line: f"\x1b[36m(TaskRunner pid=625502)\x1b[0m {line}",
    "ray with address": lambda line: f"(WorkerDict pid=7, ip=10.0.0.2) {line}",
    "windows": lambda line: line + "\r",
}


@pytest.mark.parametrize("dress", DRESSED)
def test_what_a_line_is_dressed_in_changes_no_value(tmp_path: Path, dress: str) -> None:
    plain, dressed = tmp_path / "plain.log", tmp_path / "dressed.log"
    plain.write_text("\n".join(LINES) + "\n")
    dressed.write_bytes(("\n".join(map(DRESSED[dress], LINES)) + "\n").encode())
    assert len(rows(plain)) == len(LINES)
    assert rows(dressed) == rows(plain)


@pytest.mark.parametrize("mark", ["[rank{}]: ", "[default{}]:", "{}: "])
def test_the_lines_of_other_tasks_count_once(tmp_path: Path, mark: str) -> None:
    plain, both = tmp_path / "plain.log", tmp_path / "both.log"
    plain.write_text("\n".join(LINES) + "\n")
    both.write_text("".join(f"{mark.format(n)}{s}\n" for s in LINES for n in (0, 1)))
    assert rows(both) == rows(plain)


def test_a_metric_that_another_rank_calls_an_error_or_a_signal_is_repeated_too() -> None:
    said = b"[rank1]: | reward signal mean | 0.5 |\n[rank1]: Error: 0.25\n[rank1]: KeyError: 3\n"
    assert PlainText().lines(b"[rank0]: x\n" + said) == b"x\n\n\nKeyError: 3\n"


def test_a_bar_that_another_rank_draws_on_one_line_is_repeated_whole() -> None:
    drawn = b"\r".join(b"%d%%|##| %d/9 [00:01, loss=0.5]" % (n * 10, n) for n in range(9))
    lines = b"[rank0]:" + drawn + b"\n[rank1]:" + drawn + b"\n"
    assert PlainText().lines(lines) == drawn + b"\n\n"


def test_a_number_in_front_that_counts_is_no_task() -> None:
    epochs = b"".join(b"%d: batch %d loss 0.5\n" % (n // 10, n % 10) for n in range(40))
    assert PlainText().lines(epochs) == epochs
    first = PlainText()
    first.lines(epochs[: epochs.index(b"1: batch 0")])
    rest = epochs[epochs.index(b"1: batch 0") :]
    assert first.lines(rest) == rest


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_another_encoding_changes_no_value(tmp_path: Path, encoding: str) -> None:
    plain, encoded = tmp_path / "plain.log", tmp_path / "encoded.log"
    text = "训练 begins\n" + "\n".join(LINES) + "\n"
    plain.write_text(text)
    encoded.write_bytes(text.encode(encoding))
    assert rows(encoded) == rows(plain) != []


def test_lines_that_another_rank_repeats_count_once_but_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "ranks.log"
    log.write_text("".join(f"[rank{r}]: {line}\n" for line in LINES for r in (0, 1, 2)))
    assert [step for step, _, _ in rows(log)] == list(range(1, 40))
    text = PlainText().lines(b"[rank0]: step: 1\n[rank3]: RuntimeError: NCCL timeout\n")
    assert text == b"step: 1\nRuntimeError: NCCL timeout\n"


def test_a_bar_that_is_redrawn_counts_once_a_step_in_its_last_state(tmp_path: Path) -> None:
    log = tmp_path / "bars.log"
    drawn = "\r".join(f"step={n} loss={value} grad_norm=1.0" for n in (1, 2, 3) for value in (9, n))
    log.write_text(drawn + "\n")
    assert rows(log) == [(1, 1.0, 1.0), (2, 2.0, 1.0), (3, 3.0, 1.0)]


@given(st.lists(st.integers(1, 40), max_size=6))
def test_wherever_utf_16_is_cut_its_text_is_the_same(cuts: list[int]) -> None:
    text = "loss 0.5 损失 \U0001f600\n"
    data, decoder, found = text.encode("utf-16"), Decoder(), b""
    for cut in cuts:
        found += decoder.bytes_of(data[:cut])
        data = data[cut:]
    assert (found + decoder.bytes_of(data, end=True)).decode() == text


def test_a_plain_log_passes_untouched() -> None:
    text = "\n".join(LINES).encode() + b"\n"
    assert PlainText().lines(text) is text
