"""A slow divergence is seen late: the guard goes back to before it began, not to its last slot."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from torch.optim import SGD

from tests.bench import traces
from tests.vlamon.guard.toy import Emitter, Order
from vlamon.detect.components import Judgement
from vlamon.detect.detector import Verdict
from vlamon.guard import Guard, GuardSettings, collectives
from vlamon.guard.ring import Ring


def guard_over(emitter: Emitter, run_dir: Path | None = None, **settings: object) -> Guard:
    model = nn.Linear(1, 1)
    chosen = GuardSettings(**settings)  # type: ignore[arg-type]
    return Guard(
        model,
        SGD(model.parameters(), 0.1),
        emitter=emitter,  # type: ignore[arg-type]
        run_dir=run_dir,
        settings=chosen,
    )


def level_at_return(seed: int) -> float:
    """What the loss was at the place of return, divided by the curve without the divergence."""
    trace = traces.make(traces.slow, seed)
    clean = np.exp(traces.base(np.random.default_rng([seed, zlib.crc32(b"slow")])))
    onset, guard = trace.events[0][0], guard_over(Emitter())
    guard.start()
    for step, loss in enumerate(trace.values.tolist()):
        place = guard.after_step(step, closs=loss) - 1
        if place != step and step >= onset:
            return float(trace.values[place] / clean[place]) if place >= onset else 1.0
    raise AssertionError("nobody went back")


def test_a_slow_divergence_goes_back_to_before_it_began() -> None:
    levels = [level_at_return(seed) for seed in range(3_330_000, 3_330_025)]
    assert np.quantile(levels, 0.9) < 1.05
    assert max(levels) < 1.3


@pytest.mark.parametrize(("slots", "spacing"), [(4, 76), (5, 50), (8, 50)])
def test_a_ring_always_holds_a_trusted_state_that_is_old_and_one_that_is_young(
    slots: int, spacing: int
) -> None:
    ring = Ring(slots, trust_after=76, reach=288)
    ring.take(-1, {}, trusted=True)
    for step in range(4000):
        ring.quiet_until(step)
        if (step + 1) % spacing == 0:
            ring.take(step, {})
        ages = [step - slot.step for slot in ring.held() if slot.trusted]
        assert min(ages) < 76 + spacing + 1 or step < 76 + spacing
        if step >= 288:
            assert any(288 <= age <= 2 * 288 + spacing for age in ages)


def test_three_slots_forget_an_old_state_in_the_end() -> None:
    ring = Ring(3, trust_after=76, reach=288)
    ring.take(-1, {}, trusted=True)
    for step in range(4000):
        ring.quiet_until(step)
        if (step + 1) % 76 == 0:
            ring.take(step, {})
        assert all(step - slot.step <= 3 * 288 for slot in ring.held())


def climb_in_watch_mode(emitter: Emitter, guard: Guard) -> tuple[int, int]:
    """Step at which a slow rise began, and at which it was told."""
    step = guard.start()
    while not emitter.kinds("explode"):
        rise = max(0, step - 1000) / 250
        step = guard.after_step(step, closs=float(np.exp(rise + 0.05 * np.sin(7.0 * step))))
    return 1000, step


def test_states_of_a_slow_rise_are_not_offered_after_its_report() -> None:
    emitter = Emitter()
    guard = guard_over(emitter, mode="watch")
    onset, step = climb_in_watch_mode(emitter, guard)
    assert step - onset > guard.snapshots.ring.trust_after, "else this shows nothing"
    order = Order("rollback")
    emitter.orders.append(order)
    guard.after_step(step, closs=3.0)
    assert order.result is not None
    assert order.result["step"] <= onset + 16


def test_where_all_states_are_from_the_rise_the_oldest_is_better_than_none() -> None:
    emitter = Emitter()
    guard = guard_over(emitter, mode="watch")
    step = guard.start()
    while not emitter.kinds("explode"):
        for slot in guard.snapshots.ring.held():
            if slot.step < 1050:
                guard.snapshots.ring.forget(slot)
        rise = max(0, step - 1000) / 250
        step = guard.after_step(step, closs=float(np.exp(rise + 0.05 * np.sin(7.0 * step))))
    held = guard.snapshots.ring.held()
    assert [slot.trusted for slot in held] == [True]


def test_the_rank_that_saw_the_rise_tells_all_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    emitter = Emitter()
    guard = guard_over(emitter, data="replay")
    rise = Judgement(
        {"closs": Verdict("explode", 9.0, 2.0, "up 1.8× over 200 batches", age=200)}, "closs"
    )
    seen = (rise, {"closs": 2.0}, [], "")

    def everyone(mine: object) -> list[object]:
        """What ranks 0 and 1 say; rank 0 saw nothing."""
        return [mine, seen if mine is None else mine]

    monkeypatch.setattr(collectives, "everyone", everyone)
    step = guard.start()
    while step < 700:
        step = guard.after_step(step, closs=1.0)
    step = guard.after_step(step, closs=1.0, summed=collectives.cast("explode", None))
    assert step - 1 <= 500
    assert emitter.kinds("explode")[0][1]["ranks"] == [1]


def test_in_watch_mode_a_level_that_stays_is_one_event_and_a_further_rise_another() -> None:
    emitter = Emitter()
    guard = guard_over(emitter, mode="watch")
    step = guard.start()
    for level, until in ((1.0, 400), (30.0, 1200), (120.0, 1250)):
        while step < until:
            step = guard.after_step(step, closs=level * float(np.exp(0.05 * np.sin(7.0 * step))))
    told = [(kind, at) for kind, at, _ in emitter.events if kind in ("explode", "recovered")]
    assert [kind for kind, _ in told] == ["explode", "explode"], "30 times the level is no recovery"
    assert told[0][1] == 400
    assert 1200 <= told[1][1] < 1212
    (steady,) = (data["text"] for _, data in emitter.kinds("warn") if "stays at" in data["text"])
    assert "the level before" in steady
