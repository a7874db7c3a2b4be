"""What the guard was worth is summed up, in `guard.jsonl` and in the run's `end` event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of
from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off, once_written
from vlamon import Emitter
from vlamon.guard.ledger import Ledger
from vlamon.guard.settings import GuardSettings
from vlamon.guard.worth import Pace, sums_text, worth
from vlamon.records import Event


def lines(run_dir: Path) -> list[dict[str, object]]:
    text = (run_dir / "guard.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_steps_are_lost_to_a_rollback_and_saved_against_the_newest_checkpoint(
    tmp_path: Path,
) -> None:
    written = once_written(tmp_path / "checkpoints" / "step-000000100")
    toy = Toy(tmp_path, once={4 * (SPIKE - 5): written, 4 * SPIKE: far_off})
    toy.run(SPIKE + 30, {100: [Order("checkpoint")]})
    ((_, told),) = toy.emitter.kinds("rollback")
    assert told["lost"] == SPIKE - told["to"]
    assert told["saved"] == told["to"] - 100
    (summary,) = [line for line in lines(tmp_path) if line["kind"] == "summary"]
    assert (summary["explosions"], summary["rollbacks"]) == (1, 1)
    assert (summary["steps_lost"], summary["steps_saved"]) == (told["lost"], told["saved"])
    assert toy.emitter.last_words["guard"]["steps_saved"] == told["saved"]
    assert summary["seconds_per_step"]


def test_without_a_checkpoint_a_restart_would_begin_where_this_process_did() -> None:
    toy = Toy(once={4 * SPIKE: far_off})
    toy.run(SPIKE + 30)
    ((_, told),) = toy.emitter.kinds("rollback")
    assert told["saved"] == told["to"] + 1


def test_a_resume_counts_on(tmp_path: Path) -> None:
    toy = Toy(tmp_path, once={4 * SPIKE: far_off})
    toy.run(SPIKE + 30, {SPIKE + 20: [Order("checkpoint")]})
    again = Toy(tmp_path)
    again.run(SPIKE + 40)
    assert again.emitter.last_words["guard"]["rollbacks"] == 1


def test_a_calm_run_has_no_line_of_zeros(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.run(20)
    audit = tmp_path / "guard.jsonl"
    assert not audit.exists() or all(line["kind"] != "summary" for line in lines(tmp_path))
    assert toy.emitter.last_words["guard"]["explosions"] == 0


def test_the_end_event_of_a_run_holds_the_sums(tmp_path: Path) -> None:
    with Emitter(None, run_dir=str(tmp_path)) as emitter:
        emitter.at_end(guard={"rollbacks": 2, "steps_saved": 1986})
        emitter.log(0, closs=1.0)
    (end,) = [each for each in journal_of(tmp_path) if isinstance(each, Event)]
    assert end.kind == "end"
    assert end.data["guard"] == {"rollbacks": 2, "steps_saved": 1986}


def test_hours_are_steps_at_the_runs_own_speed_on_all_its_gpus() -> None:
    ledger = Ledger(GuardSettings(), explosions=1, rollbacks=2, steps_lost=14, steps_saved=1800)
    sums = worth(ledger, 4.0, 8)
    assert sums["gpu_hours_saved"] == 16.0
    assert sums["gpu_hours_lost"] == pytest.approx(0.124, abs=1e-3)
    assert sums_text(sums) == (
        "1 explosion, 2 rollbacks: 14 steps lost, 1,800 saved against a restart from the newest "
        "checkpoint (16 GPU hours)"
    )
    assert worth(ledger, 4.0, 0)["gpu_hours_saved"] is None
    assert worth(ledger, None, 8)["gpu_hours_saved"] is None


def test_a_pause_is_not_the_speed_of_a_run() -> None:
    pace = Pace()
    assert pace.seconds is None
    for now in (0.0, 2.0, 4.0, 3600.0, 3602.0):
        pace.step(now)
    assert pace.seconds == 2.0
