"""Loops that own their counter, as frameworks do: the state goes back, the loop does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.vlamon.guard.toy import SPIKE, Order, Toy
from vlamon.guard.ring import Ring

TOTAL = 280


class OwnCounter(Toy):
    """Counts steps itself, as a framework does, and never looks at what the guard returns."""

    def run_on(self, total: int, at: dict[int, list[Order]] | None = None) -> list[int]:
        waiting = dict(at or {})
        torch.manual_seed(self.seed)
        self.guard.start()
        said = []
        for step in range(total):
            batch, loss = self.train_step()
            self.losses[step] = float(loss)
            self.emitter.orders += waiting.pop(step, [])
            self.rates.append(self.optimizer.param_groups[0]["lr"])
            said.append(self.guard.after_step(step, batch=batch, closs=loss, goes_back=False))
        self.guard.close()
        return said

    @property
    def rates(self) -> list[float]:
        return self.__dict__.setdefault("_rates", [])  # type: ignore[no-any-return]


def wreck(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        for parameter in toy.model.parameters():
            parameter.mul_(50.0)
    return y


def test_the_counter_and_the_schedule_run_on_and_the_weights_go_back() -> None:
    calm, hurt = OwnCounter(), OwnCounter(once={4 * SPIKE: wreck})
    calm.run_on(TOTAL)
    assert hurt.run_on(TOTAL) == list(range(1, TOTAL + 1))
    ((step, told),) = hurt.emitter.kinds("rollback")
    assert step == SPIKE
    assert told["to"] < SPIKE
    assert told["text"].endswith(f"the loop counts on from {SPIKE + 1}")
    assert hurt.rates == calm.rates
    assert hurt.scheduler.get_last_lr() == calm.scheduler.get_last_lr()
    assert hurt.losses[SPIKE] > 20 * hurt.losses[SPIKE + 1]
    assert hurt.emitter.kinds("recovered")


def test_moments_and_their_step_counters_go_back() -> None:
    toy = OwnCounter(once={4 * SPIKE: wreck})
    toy.run_on(SPIKE + 1)
    ((_, told),) = toy.emitter.kinds("rollback")
    steps = {int(each["step"]) for each in toy.optimizer.state.values()}
    assert steps == {told["to"] + 1}


def test_a_rate_in_a_tensor_stays_that_tensor() -> None:
    toy = OwnCounter(once={4 * SPIKE: wreck})
    rate = torch.tensor(3e-3)
    toy.optimizer.param_groups[0]["lr"] = rate
    toy.run_on(SPIKE + 20)
    assert toy.emitter.kinds("rollback")
    assert toy.optimizer.param_groups[0]["lr"] is rate
    assert math.isclose(float(rate), toy.scheduler.get_last_lr()[0], rel_tol=1e-6)


def test_a_commanded_rollback_counts_on_too() -> None:
    order = Order("rollback", {"to": 100})
    toy = OwnCounter()
    assert toy.run_on(150, {120: [order]}) == list(range(1, 151))
    assert order.result is not None
    assert order.result["step"] <= 100


def test_a_second_explosion_is_answered_by_a_state_of_the_new_branch_and_not_replayed() -> None:
    toy = OwnCounter(once={4 * SPIKE: wreck, 4 * (SPIKE + 60): wreck})
    toy.run_on(TOTAL)
    first, second = (told for _, told in toy.emitter.kinds("rollback"))
    assert second["to"] > first["to"]
    found = [told["verdict"] for _, told in toy.emitter.kinds("autopsy")]
    assert found[0] in ("transient", "dynamics")


def test_a_state_that_was_returned_to_is_no_older_for_the_steps_that_were_left() -> None:
    ring = Ring(2, trust_after=20, near=1)
    state: dict[str, Any] = {"w": torch.zeros(2)}
    ring.take(0, state, trusted=True)
    ring.take_near(90, state)
    ring.forget_after(90)
    ring.count_on(15)  # an explosion at step 105
    ring.quiet_until(115)
    assert ring.trusted().step == 0  # type: ignore[union-attr]
    ring.quiet_until(125)
    assert ring.trusted().step == 90  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
def test_gradients_set_to_none_block_a_step_that_a_framework_takes(kind: Any) -> None:
    """What a callback can do where the framework calls `optimizer.step()` whatever happens."""
    toy = Toy()
    toy.optimizer = kind(toy.model.parameters(), lr=1e-3)
    toy.guard = type(toy.guard)(toy.model, toy.optimizer)
    toy.guard.start()
    for step in range(3):
        loss = toy.loss(toy.data([step] * 4))
        (loss * (math.nan if step == 1 else 1.0)).backward()
        before = [p.detach().clone() for p in toy.model.parameters()]
        moments = _moments(toy.optimizer)
        if blocked := not toy.guard.check(step, loss=loss):
            toy.optimizer.zero_grad(set_to_none=True)
        toy.optimizer.step()
        assert blocked == (step == 1)
        same = all(torch.equal(a, b) for a, b in zip(before, toy.model.parameters(), strict=True))
        assert same == blocked
        if blocked:
            after = _moments(toy.optimizer)
            assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))
        toy.optimizer.zero_grad()
        toy.guard.after_step(step, goes_back=False)


def _moments(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [
        value.clone()
        for each in optimizer.state.values()
        for value in each.values()
        if isinstance(value, torch.Tensor)
    ]
