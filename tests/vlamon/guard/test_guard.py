"""The guard around a real training loop: what it sees, where it goes back to, what it says."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off, identical


def huge_lr(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    for group in toy.optimizer.param_groups:
        group["lr"] = 3.0
    return y


def broken_weight(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        toy.model[3].weight.view(-1)[3] = 3e5  # type: ignore[union-attr, operator]
    return y


def test_a_guarded_run_is_bit_identical_to_an_unguarded_one() -> None:
    guarded, off = Toy(), Toy(mode="off", slots=0)
    guarded.run(150)
    off.run(150)
    assert identical(guarded.weights(), off.weights())
    assert guarded.losses == off.losses


def test_a_commanded_rollback_with_replay_ends_bit_identical_to_a_run_without() -> None:
    plain, rolled = Toy(), Toy()
    plain.run(200)
    order = Order("rollback", {"data": "replay"})
    rolled.run(200, {150: [order]})
    assert order.result is not None
    assert order.result["step"] < 150
    assert order.result["seconds"] >= 0
    assert len(rolled.trained) > 200
    assert identical(plain.weights(), rolled.weights())
    assert plain.losses == rolled.losses
    assert rolled.guard.ledger.steps_lost == 150 - order.result["step"]
    assert rolled.guard.ledger.steps_saved == order.result["step"] + 1, "a restart begins at 0"


def test_a_command_names_the_snapshot_at_or_before_the_step_asked_for() -> None:
    toy = Toy(slots=12)
    order, impossible = Order("rollback", {"to": 80}), Order("rollback", {"to": -7})
    toy.run(160, {130: [order], 150: [impossible]})
    assert order.result is not None
    assert 60 < order.result["step"] <= 80
    assert "steps count from 0" in impossible.error


def test_a_command_to_before_the_oldest_snapshot_is_refused_with_what_there_is() -> None:
    order = Order("rollback", {"to": 3})
    Toy(slots=2).run(200, {190: [order]})
    assert "no snapshot at or before step 3: the oldest is of step" in order.error


def test_an_explosion_is_rolled_back_and_its_samples_are_skipped() -> None:
    toy = Toy(faults={4 * SPIKE: far_off})
    toy.run(260)
    ((step, data),) = toy.emitter.kinds("rollback")
    assert step == SPIKE
    assert data["to"] < SPIKE
    assert toy.emitter.attempt == 1
    assert toy.trained.count(SPIKE) == 2
    assert all(math.isfinite(loss) and loss < 50 for loss in toy.losses.values())
    assert toy.sampler.cursor > 4 * 260


def test_bad_data_is_blamed_by_name(tmp_path: Path) -> None:
    toy = Toy(tmp_path, faults={4 * SPIKE: far_off})
    toy.run(200)
    ((_, data),) = toy.emitter.kinds("autopsy")
    assert data["verdict"] == "data"
    lines = [json.loads(line) for line in (tmp_path / "bad_batches.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [640, 641, 642, 643]
    assert lines[0]["source"] == "file640"


def test_one_bad_sample_of_a_batch_is_told_from_the_good_ones(tmp_path: Path) -> None:
    def one_off(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        y[2] += 500.0
        return y

    toy = Toy(tmp_path, faults={4 * SPIKE: one_off})
    toy.run(200)
    lines = [json.loads(line) for line in (tmp_path / "bad_batches.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [642]


def test_weights_that_were_driven_away_are_dynamics() -> None:
    toy = Toy(faults={4 * SPIKE: huge_lr})
    toy.run(260)
    ((_, data),) = toy.emitter.kinds("autopsy")
    assert data["verdict"] == "dynamics"
    assert data["evidence"]["replay"]["exploded_at"] is not None


def test_a_fault_that_does_not_repeat_is_transient() -> None:
    toy = Toy(once={4 * SPIKE: broken_weight})
    toy.run(260)
    ((_, data),) = toy.emitter.kinds("autopsy")
    assert data["verdict"] == "transient"
    assert "rank 0 on" in data["text"]


def test_the_autopsy_leaves_no_trace_in_the_run() -> None:
    """With and without an autopsy, the branch after the rollback is the same to the bit."""
    explained, silent = (Toy(faults={4 * SPIKE: far_off}) for _ in range(2))
    silent.guard.rollback.explainer.probe = silent.guard.rollback.explainer.replay = None
    explained.run(230)
    silent.run(230)
    assert identical(explained.weights(), silent.weights())


def test_the_same_trouble_again_goes_a_snapshot_older() -> None:
    toy = Toy(data="replay", cooldown=150, faults={4 * SPIKE: huge_lr})
    toy.emitter.answers["paused"] = [Order("stop")]
    toy.run(300)
    places = [data["to"] for _, data in toy.emitter.kinds("rollback") if data["ok"]]
    assert places[1] < places[0]


def test_a_spent_budget_lowers_the_lr_and_then_asks_the_operator() -> None:
    toy = Toy(data="replay", budget=2, deadline=0.0, faults={4 * SPIKE: huge_lr})
    toy.emitter.answers["paused"] = [Order("stop")]
    toy.run(400)
    rollbacks = [data for _, data in toy.emitter.kinds("rollback") if data["ok"]]
    assert [data["budget"] for data in rollbacks] == [1, 0, 0]
    assert [data["lr_scale"] for data in rollbacks] == [1.0, 1.0, 0.5]
    ((_, paused),) = toy.emitter.kinds("paused")
    assert "budget and lr back-off are spent" in paused["text"]
    assert toy.guard.stopped


def test_a_training_without_an_operator_stops_instead_of_waiting_for_ever() -> None:
    toy = Toy(data="replay", budget=0, backoffs=0, faults={4 * SPIKE: huge_lr})
    toy.guard.reporter.emitter = None
    assert toy.run(400) < 170
    assert toy.guard.stopped


def test_a_lower_lr_outlives_the_rollback_that_brought_it() -> None:
    rates: dict[int, list[float]] = {}

    def look(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        seen = rates.setdefault(id(toy), [])
        # After the guard's own hook, so these are the rates that the weights are changed with.
        toy.optimizer.register_step_pre_hook(
            lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
        )
        return y

    toy, plain = Toy(once={4 * 101: look}), Toy(once={4 * 101: look})
    toy.run(
        160, {100: [Order("set", {"name": "lr_scale", "value": 0.5})], 150: [Order("rollback")]}
    )
    plain.run(160)
    assert rates[id(toy)][-1] == 0.5 * rates[id(plain)][-1]


def test_watch_mode_only_reports_and_says_it_once_an_episode() -> None:
    toy = Toy(mode="watch", faults={4 * step: far_off for step in range(SPIKE, SPIKE + 5)})
    toy.run(230)
    assert [step for step, _ in toy.emitter.kinds("explode")] == [SPIKE]
    assert toy.emitter.kinds("rollback") == []
    assert len(toy.emitter.kinds("recovered")) == 1


def test_off_mode_sees_nothing_and_still_takes_commands() -> None:
    toy = Toy(mode="off", faults={4 * SPIKE: far_off})
    order = Order("rollback", {"event": "boot-7"})
    toy.run(200, {SPIKE: [order]})
    assert toy.emitter.kinds("explode") == []
    assert order.result is not None
    assert order.result["step"] < SPIKE


def test_ask_mode_waits_for_the_operators_command() -> None:
    toy = Toy(mode="ask", deadline=60.0, faults={4 * SPIKE: far_off})
    order = Order("rollback")
    toy.emitter.answers["paused"] = [order]
    toy.run(200)
    assert order.result is not None
    assert order.result["cause"] == "data"
    assert [kind for kind, _, _ in toy.emitter.events if kind in ("paused", "rollback")] == [
        "paused",
        "rollback",
    ]
    (until,) = {status["deadline"] for status in toy.emitter.statuses if status.get("deadline")}
    assert abs(until - time.time()) < 120, "seconds since the epoch"


def test_ask_mode_acts_by_itself_without_an_answer() -> None:
    toy = Toy(mode="ask", deadline=0.2, faults={4 * SPIKE: far_off})
    toy.run(200)
    ((_, data),) = toy.emitter.kinds("rollback")
    assert data["ok"]


def test_resume_in_ask_mode_accepts_the_explosion() -> None:
    toy = Toy(mode="ask", deadline=60.0, faults={4 * SPIKE: far_off})
    toy.emitter.answers["paused"] = [Order("resume")]
    toy.run(200)
    assert toy.emitter.kinds("rollback") == []
    assert toy.trained == list(range(200))


def test_pause_stands_still_until_resume() -> None:
    toy = Toy()
    pause, resume = Order("pause"), Order("resume")
    note = Order("note", {"text": "a look at the data"})
    toy.emitter.answers = {"paused": [note], "note": [resume]}
    assert toy.run(30, {10: [pause]}) == 30
    assert [kind for kind, _, _ in toy.emitter.events] == ["paused", "note", "resumed"]
    assert pause.result == {"step": 10}
    assert resume.result == {"step": 10}


def test_stop_ends_the_loop_at_a_step_boundary() -> None:
    toy = Toy()
    assert toy.run(100, {20: [Order("stop")]}) == 21
    assert toy.guard.stopped


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Order("explode"), "there is no command 'explode'; there are checkpoint"),
        (Order("rollback", {"to": "soon"}), "a step is a whole number"),
        (Order("rollback", {"data": "eat"}), "choose skip or replay"),
        (Order("set", {"name": "depth", "value": 2}), "nothing called 'depth' can be set"),
        (Order("set", {"name": "lr_scale", "value": "nan"}), "must be a number from 1e-06 to 100"),
        (Order("set", {"name": "guard", "value": "maybe"}), "choose one of auto, ask, watch, off"),
        (Order("resume"), "is not paused"),
        (Order("checkpoint"), "no run directory"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_with_a_sentence(
    order: Order, reason: str
) -> None:
    Toy().run(5, {2: [order]})
    assert reason in order.error


def test_an_explosion_before_any_trusted_snapshot_goes_back_to_the_start() -> None:
    toy = Toy(once={4 * 3: broken_weight})
    toy.run(60)
    nan = Toy(once={0: lambda toy, y: y * math.nan})
    nan.run(30)
    assert nan.emitter.kinds("rollback")[0][1]["to"] == -1
    assert all(map(math.isfinite, nan.losses.values()))


def test_without_ring_and_checkpoint_the_explosion_is_reported_and_the_training_goes_on() -> None:
    toy = Toy(slots=0, faults={4 * SPIKE: far_off})
    order = Order("rollback")
    assert toy.run(200, {100: [order]}) == 200
    assert "no trusted snapshot" in order.error
    failed = [data for _, data in toy.emitter.kinds("rollback") if not data["ok"]]
    assert len(failed) == 2


def test_a_later_return_to_before_a_skipped_stretch_skips_it_again() -> None:
    toy = Toy(faults={4 * SPIKE: far_off}, slots=12)
    toy.run(200, {180: [Order("rollback", {"to": 22, "data": "replay"})]})
    assert [step for step, _ in toy.emitter.kinds("explode")] == [SPIKE]


def test_a_failing_probe_does_not_stop_the_rollback() -> None:
    toy = Toy(faults={4 * SPIKE: far_off})

    def broken(batch: object) -> None:
        raise RuntimeError("no such file")

    toy.guard.rollback.explainer.probe = broken  # type: ignore[assignment]
    toy.run(200)
    ((_, autopsy),) = toy.emitter.kinds("autopsy")
    assert autopsy["verdict"] == "unknown"
    assert "no such file" in autopsy["text"]
    assert toy.emitter.kinds("rollback")[0][1]["ok"]


def test_the_audit_file_has_every_decision(tmp_path: Path) -> None:
    Toy(tmp_path, faults={4 * SPIKE: far_off}).run(300)
    lines = [json.loads(line) for line in (tmp_path / "guard.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines if line["kind"] != "warn"]
    assert kinds == ["explode", "autopsy", "rollback", "recovered", "summary"]


def test_check_keeps_a_non_finite_number_from_the_weights() -> None:
    toy = Toy()
    toy.guard.start()
    good, bad = torch.tensor(1.0), torch.tensor(math.nan)
    assert toy.guard.check(0, closs=good)
    assert not toy.guard.check(0, closs=bad)
    assert not toy.guard.check(0, closs=good, grad_norm=bad)
    for parameter in toy.model.parameters():
        parameter.grad = torch.full_like(parameter, math.inf)
    assert not toy.guard.check(0, closs=good)


def test_check_before_start_is_a_mistake_that_is_said() -> None:
    with pytest.raises(RuntimeError, match=r"call Guard.start\(\)"):
        Toy().guard.check(0)
