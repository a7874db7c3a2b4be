"""Each format reads its own fixture, is found by looking at it, and survives what is no line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.records import BatchBlock, EpochBlock, EpochRow, Event, IntervalBlock, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.formats import HEAD_BYTES, all_formats, format_named, sniff, unrecognised
from vlamon.sources.logfile import LogFile
from vlamon.sources.read_all import read_log

FIXTURES = Path(__file__).parents[3] / "fixtures"
LOGS = FIXTURES / "logs"
NAMED = {
    "log_train.txt": "reference-epoch",
    "deit_log.txt": "deit",
    "hf_trainer.log": "hf-trainer",
    "trainer_state.json": "hf-trainer-state",
    "lerobot.log": "lerobot",
    "openpi_jax.log": "openpi",
    "openpi_torch.log": "openpi",
    "train_log.jsonl": "json-lines",
    "prismatic.jsonl": "prismatic",
    "metrics.csv": "csv",
    "modded_nanogpt.log": "nanogpt",
    "nanogpt.log": "nanogpt",
    "key_values.log": "key-values",
    "events.out.tfevents.1764000000.node3": "tensorboard",
}


def read(name: str) -> list[Record]:
    path = LOGS / name
    data = path.read_bytes()
    parser = format_named(NAMED[name]).open(str(path))
    return parser.feed(data) + parser.finish()


def batches(records: list[Record]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    blocks = [record for record in records if isinstance(record, BatchBlock)]
    names = blocks[0].columns
    steps = np.concatenate([block.step for block in blocks])
    return steps, {n: np.concatenate([b.columns[n].values for b in blocks]) for n in names}


def evaluations(records: list[Record]) -> list[EpochRow]:
    return [record for record in records if isinstance(record, EpochRow)]


@pytest.mark.parametrize("name", NAMED)
def test_a_log_is_recognised_by_its_first_lines(name: str) -> None:
    found = sniff((LOGS / name).read_bytes()[:HEAD_BYTES], name)
    assert found is not None
    assert found.name == NAMED[name]


@pytest.mark.parametrize("sample", ["sample", "sample_ragged_ranks"])
def test_output_log_is_recognised_among_warnings(sample: str) -> None:
    head = (FIXTURES / "metriclogger" / sample / "output.log").read_bytes()[:HEAD_BYTES]
    found = sniff(head, "output.log")
    assert found is not None
    assert found.name == "reference-output"


def test_a_file_without_a_known_line_says_what_was_expected_and_shows_its_first_line() -> None:
    head = b"\nDear diary,\nnothing happened today.\n"
    assert sniff(head, "diary.txt") is None
    said = str(unrecognised(head, "diary.txt"))
    assert "Dear diary," in said
    assert "lerobot" in said
    assert "--format" in said


def test_a_file_that_resembles_a_format_names_it_and_the_line() -> None:
    head = b"starting\n[x] step 10k smpl 80k ep 1 epch 0.39 loss is 1.3 grdn is 2.3 lr is 5e-5\n"
    where, line, nearest = unrecognised(head, "train.txt").lines
    assert where == "train.txt: no line is in a known format."
    assert "smpl 80k" in line
    assert "nearest format" in nearest
    assert "lerobot" in nearest


@pytest.mark.parametrize("name", NAMED)
def test_fed_line_by_line_a_log_says_the_same(name: str) -> None:
    form = format_named(NAMED[name])
    data = (LOGS / name).read_bytes()
    whole, pieces = form.open(name), form.open(name)
    at_once = whole.feed(data) + whole.finish()
    by_line: list[Record] = []
    for line in data.splitlines(keepends=True) if b"\r" not in data else [data]:
        by_line += pieces.feed(line)
    by_line += pieces.finish()
    assert _flat(by_line) == _flat(at_once)
    assert pieces.unknown.count == whole.unknown.count


def _flat(records: list[Record]) -> list[tuple[object, ...]]:
    flat: list[tuple[object, ...]] = []
    for record in records:
        if isinstance(record, BatchBlock):
            for row in range(record.rows):
                cells = tuple(
                    (n, repr(float(c.values[row])))
                    for n, c in sorted(record.columns.items())
                    if c.present is None or c.present[row]
                )
                flat.append(("batch", int(record.step[row]), record.attempt, cells))
        elif isinstance(record, EpochRow):
            flat.append(("epoch", record.split, repr(record.epoch), tuple(record.metrics.items())))
        elif isinstance(record, EpochBlock):
            for row in range(record.rows):
                cells = tuple(
                    (n, repr(float(c.values[row])))
                    for n, c in sorted(record.columns.items())
                    if c.present is None or c.present[row]
                )
                flat.append(("epoch", record.split, repr(float(record.epoch[row])), cells))
    return flat


def test_lerobot_steps_are_recovered_from_their_rounding() -> None:
    steps, columns = batches(read("lerobot.log"))
    assert steps.tolist() == list(range(200, 4001, 200))
    assert set(columns) == {"loss", "grdn", "lr", "updt_s", "data_s"}


def test_openpi_reads_both_of_its_trainers() -> None:
    steps, jax = batches(read("openpi_jax.log"))
    assert steps.tolist() == list(range(0, 1000, 100))
    assert set(jax) == {"grad_norm", "loss", "param_norm"}
    _, torch = batches(read("openpi_torch.log"))
    assert torch["lr"][-1] == 2.5e-05
    assert torch["time"][0] == 12.3


def test_trainer_lines_take_their_step_from_the_progress_bar() -> None:
    records = read("hf_trainer.log")
    steps, columns = batches(records)
    assert steps.tolist() == list(range(10, 101, 10))
    assert columns["learning_rate"][0] == 4.524e-05
    assert [(row.split, row.step) for row in evaluations(records)] == [("eval", 50), ("eval", 100)]
    assert any(isinstance(record, Event) and "train_runtime" in record.data for record in records)


def test_trainer_state_is_one_document() -> None:
    records = read("trainer_state.json")
    steps, _ = batches(records)
    assert steps.tolist() == list(range(10, 101, 10))
    info = next(record for record in records if isinstance(record, RunInfo))
    assert info.total_steps == 100
    assert [row.metrics["loss"] for row in evaluations(records)] == [1.077, 0.5272]


def test_trainer_state_waits_until_it_is_whole() -> None:
    data = (LOGS / "trainer_state.json").read_bytes()
    parser = format_named("hf-trainer-state").open("trainer_state.json")
    half = data.rfind(b"\n", 0, len(data) // 2) + 1
    assert parser.feed(data[:half]) == []
    assert len(parser.feed(data[half:])) > 1


def test_prismatic_names_lose_their_stage() -> None:
    steps, columns = batches(read("prismatic.jsonl"))
    assert steps.tolist() == list(range(1, 11))
    assert {"loss", "loss_raw", "action_token_accuracy", "bridge_orig/l1_loss"} <= set(columns)


def test_lightning_tells_training_from_validation() -> None:
    records = read("metrics.csv")
    steps, columns = batches(records)
    assert set(columns) == {"train_loss_step"}
    assert steps[0] == 49
    assert [row.split for row in evaluations(records)] == ["val", "train"] * 3


def test_nanogpt_evaluations_are_no_training_steps() -> None:
    steps, columns = batches(read("modded_nanogpt.log"))
    assert steps.tolist() == list(range(125, 1251, 125))
    assert columns["step_avg"][0] == 0.13603
    found = [(row.split, row.step) for row in evaluations(read("nanogpt.log"))]
    assert found == [("eval_train", 0), ("val", 0), ("eval_train", 100), ("val", 100)]


def test_deit_lines_hold_train_and_test() -> None:
    rows = evaluations(read("deit_log.txt"))
    assert [row.split for row in rows[:2]] == ["train", "test"]
    assert rows[1].metrics == {"loss": 6.5, "acc1": 1.4, "acc5": 5.1}


def test_event_files_are_read_without_tensorboard() -> None:
    records = read("events.out.tfevents.1764000000.node3")
    steps, columns = batches(records)
    assert steps.tolist() == list(range(40))
    assert columns["closs"][0] == 13.0
    assert [(row.split, row.step) for row in evaluations(records)] == [("val", 19), ("val", 39)]


def test_event_files_agree_with_tensorboards_own_reader() -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    path = LOGS / "events.out.tfevents.1764000000.node3"
    theirs = [
        (event.step, value.simple_value or float(value.tensor.float_val[0]))
        for event in loader.EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == "train_closs"
    ]
    steps, columns = batches(read(path.name))
    assert theirs == list(zip(steps.tolist(), columns["closs"].tolist(), strict=True))


def test_an_event_file_torn_anywhere_gives_its_whole_records() -> None:
    data = (LOGS / "events.out.tfevents.1764000000.node3").read_bytes()
    for cut in range(0, len(data), 97):
        parser = format_named("tensorboard").open("x")
        first = parser.feed(data[:cut])
        rest = parser.feed(data[cut:]) + parser.finish()
        assert len(batches(first + rest)[0]) == 40


def test_a_step_that_falls_back_begins_a_new_attempt() -> None:
    parser = format_named("json-lines").open("x.jsonl")
    records = parser.feed(b'{"step":1,"loss":2}\n{"step":2,"loss":1}\n{"step":1,"loss":3}\n')
    assert [block.attempt for block in records if isinstance(block, BatchBlock)] == [0, 1]


def test_bare_nan_and_infinity_are_values() -> None:
    parser = format_named("json-lines").open("x.jsonl")
    (block,) = parser.feed(b'{"step": 1, "loss": NaN, "z": -Infinity, "y": "inf"}\n')
    assert isinstance(block, BatchBlock)
    assert np.isnan(block.columns["loss"].values[0])
    assert block.columns["z"].values[0] == -np.inf
    assert block.columns["y"].values[0] == np.inf


@pytest.mark.parametrize("form", all_formats(), ids=lambda form: form.name)
@settings(max_examples=40, deadline=None)
@given(noise=st.binary(max_size=300))
def test_no_bytes_break_a_parser(form, noise) -> None:  # type: ignore[no-untyped-def]
    form.recognises(noise, "x")
    parser = form.open("x")
    for record in parser.feed(noise + b"\n") + parser.finish():
        assert isinstance(record, BatchBlock | EpochBlock | EpochRow | IntervalBlock | Event)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_real_line_breaks_no_parser(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NAMED)))
    raw = bytearray((LOGS / name).read_bytes()[:4000])
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    parser = format_named(NAMED[name]).open(name)
    parser.feed(bytes(raw) + b"\n")
    parser.finish()


def test_a_forced_format_that_knows_no_line_says_what_it_expected() -> None:
    with pytest.raises(SourceError, match=r"key_values.log:1: .*Starting run.*step:200"):
        read_log(str(LOGS / "key_values.log"), "lerobot")


def test_an_event_file_is_followed_without_waiting_for_a_newline(tmp_path: Path) -> None:
    data = (LOGS / "events.out.tfevents.1764000000.node3").read_bytes()
    growing = tmp_path / "events.out.tfevents.1"
    growing.write_bytes(data[:660])
    source = LogFile(str(growing))
    try:
        before = [r for _ in range(3) for r in source.read(0.05) if isinstance(r, BatchBlock)]
        with growing.open("ab") as file:
            file.write(data[660:])
        after = [r for _ in range(3) for r in source.read(0.05) if isinstance(r, BatchBlock)]
    finally:
        source.close()
    # The newest step waits for further scalars of its own.
    assert [step for block in before + after for step in block.step.tolist()] == list(range(39))
