"""The guard around anyone's training loop: detect, decide, roll back, explain.

    guard = Guard(model, optimizer, schedulers=[scheduler], sampler=sampler, emitter=emitter)
    step = guard.start()
    while step < total and not guard.stopped:
        batch = next(sampler)
        loss = loss_of(model, batch)
        loss.backward()
        if guard.check(step, closs=loss):        # False: a non-finite number, do not step
            optimizer.step()
            scheduler.step()
        optimizer.zero_grad()
        step = guard.after_step(step, batch=batch)   # the next step, or one to go back to

Everything happens on the training thread at a step boundary, the same on every rank.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.analysis.spikes import ComponentDetectors, Judgement
from vlamon.guard import agreement
from vlamon.guard.audit import Audit
from vlamon.guard.autopsy import Case, Explosion, Finding, Probe, Replay, examine
from vlamon.guard.checkpoints import Checkpoints
from vlamon.guard.forensics import Keeper, Rebuild
from vlamon.guard.gate import finite_step
from vlamon.guard.orders import CHOICES, Desk, Order, OrderCode
from vlamon.guard.policy import MODES, Decision, GuardSettings, Mode, Policy
from vlamon.guard.readings import Reading, Value, read
from vlamon.guard.reporting import QUIET_STEPS, Reporter
from vlamon.guard.ring import Ring, Slot
from vlamon.guard.sampling import Skips
from vlamon.guard.state import Stateful, TrainingState, Tree, capture_rng
from vlamon.records import Snapshot

if TYPE_CHECKING:
    from vlamon import Emitter

POLL = 0.05
"""Seconds between two looks at the orders while the training is paused."""


class Guard:
    """Keeps a training from being lost to an explosion."""

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizer | Sequence[Optimizer],
        *,
        schedulers: Sequence[Stateful] = (),
        sampler: Stateful | None = None,
        emitter: Emitter | None = None,
        run_dir: str | Path | None = None,
        settings: GuardSettings | None = None,
        extras: Mapping[str, Stateful] | None = None,
        generators: Sequence[torch.Generator | np.random.Generator] = (),
        weights: Mapping[str, float] | Callable[[], Mapping[str, float]] | None = None,
        detectors: ComponentDetectors | None = None,
        probe: Probe | None = None,
        replay: Replay | None = None,
        rebuild: Rebuild | None = None,
        settable: Mapping[str, Callable[[float], Any]] | None = None,
        set_lr_scale: Callable[[float], Any] | None = None,
    ) -> None:
        """Only model and optimizers are needed; the rest makes a return exact and explained.

        `extras` are more things with `state_dict` (scaler, EMA, caches). `weights` of the losses
        tell which are trained. `probe` and `replay` are for the autopsy. `settable` adds to what
        `vlamon ctl set` may change. `set_lr_scale` for a schedule of one's own; without it the
        optimizers' and schedulers' rates are scaled.
        """
        self.settings = settings or GuardSettings()
        self.optimizers = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
        self.schedulers = list(schedulers)
        self.sampler = sampler
        self.detectors = detectors or ComponentDetectors()
        self._weights = weights
        parts: dict[str, nn.Module | Optimizer | Stateful] = {"model": model}
        parts |= {f"optimizer.{i}": each for i, each in enumerate(self.optimizers)}
        parts |= {f"scheduler.{i}": each for i, each in enumerate(self.schedulers)}
        parts |= {} if sampler is None else {"sampler": sampler}
        parts |= {**(extras or {}), "detectors": self.detectors}
        self.state = TrainingState(parts, generators)

        self.run_dir = Path(run_dir) if run_dir is not None else None
        leads = agreement.rank() == 0
        self.reporter = Reporter(emitter if leads else None, Audit(self.run_dir if leads else None))
        self.policy = Policy(self.settings, mode=self.settings.mode)
        self.policy.attempt = self.reporter.attempt
        latency = self.detectors.latency
        self.spacing = self.settings.spacing_for(latency)
        self.ring = Ring(self.settings.slots, self.settings.trust_after(latency))
        root = self.run_dir / "checkpoints" if self.run_dir else None
        self.checkpoints = Checkpoints(root, self.settings.keep, self.reporter)
        self.skips = Skips(sampler)
        self.keeper = Keeper(self.run_dir, rebuild)
        self.desk = Desk(settable or {})
        self.probe, self.replay = probe, replay
        self._set_lr_scale = set_lr_scale

        self.stopped = False
        """Whether an order asked the training to end; the loop looks at it."""
        self._history: deque[tuple[int, Mapping[str, float | None]]] = deque(maxlen=64)
        self._readings: deque[Reading] = deque()
        self._judged: dict[int, tuple[Reading, Judgement]] = {}
        self._rng_before: Tree | None = None
        self._returned_to: Slot | None = None
        self._episode: int | None = None
        """Last exploding step of an explosion that goes on without a rollback."""
        self._recovers_at: int | None = None
        self._started = False

    # ---- the loop's four calls ----

    def start(self, resume: bool = True) -> int:
        """The first step to run: 0, or the one after the newest whole checkpoint in `run_dir`."""
        self._started = True
        self._carried = self._take_order()  # asking tells the monitors that orders are served
        loaded = self.checkpoints.load() if resume else None
        step = -1
        if loaded is not None:
            self.state.restore(loaded.state)
            self.policy.load_state_dict(loaded.meta["policy"])
            self.skips.load_state_dict(loaded.meta["skips"])
            self.policy.attempt = max(self.policy.attempt + 1, self.reporter.attempt)
            self.reporter.set_attempt(self.policy.attempt)
            self._scale_lr(self.policy.lr_scale, self.policy.lr_scale)
            step = loaded.step
            self.reporter.event("resumed", step, f"resumed after step {step} from {loaded.path}")
        self._snapshot(step, trusted=True)
        self._rng_before = capture_rng(self.state.generators)
        return step + 1

    def check(self, step: int, **values: Value) -> bool:
        """Judge a step's losses before its update; False if a non-finite number would get in."""
        if not self._started:
            raise RuntimeError("call Guard.start() before the first step")
        self.ring.fence()
        if values:
            self._readings.append(read(step, values))
            self._judge_ready(step)
        return finite_step(self.optimizers, values)

    def ballot(self, step: int, **values: Value) -> torch.Tensor:
        """This rank's part of the decision, to be summed over ranks with whatever is summed anyway.

        Hand the sum to `after_step`. Not needed where the guard may do a reduction of its own.
        """
        if values:
            self._readings.append(read(step, values))
        self._judge_ready(step)
        return self._ballot()

    def after_step(
        self,
        step: int,
        *,
        batch: Any = None,
        samples: Any = None,
        summed: torch.Tensor | None = None,
        **values: Value,
    ) -> int:
        """Close a step: the next one to run, or the one after the snapshot that was returned to."""
        if values:
            self._readings.append(read(step, values))
        self._judge_ready(step)
        for reading in self._readings:
            if reading.step == step:
                reading.batch, reading.samples = batch, samples
        if step in self._judged:
            self._judged[step][0].batch, self._judged[step][0].samples = batch, samples
        if summed is None:
            summed = agreement.reduced(self._ballot())
        outcome = agreement.count(summed)
        order = self._order_of(outcome.order)
        self.policy.tick()
        self.checkpoints.poll()
        nxt = self._answer_levels(step, outcome)
        if order is not None and nxt == step + 1:
            nxt = self._execute(order, step)
        elif order is not None:
            order.refuse("the guard rolled back at this very step")
        if nxt == step + 1:
            self._keep_states(step, quiet=outcome.exploded == 0 and outcome.warned == 0)
        self.skips.pass_over()
        self._rng_before = capture_rng(self.state.generators)
        return nxt

    def checkpoint(self, step: int) -> None:
        """Write a checkpoint behind a finished step, unless there is one; `close` waits for it."""
        self.checkpoints.close()
        if self.checkpoints.begun != step:
            self.checkpoints.save(step, self.state.capture(), self._meta(), None)

    def close(self) -> None:
        """Wait for checkpoints that are being written. Call it when the loop has ended."""
        self.checkpoints.close()
        self.keeper.close()

    @property
    def lr_scale(self) -> float:
        """What the planned lr is multiplied by."""
        return self.policy.lr_scale

    @property
    def mode(self) -> Mode:
        """Mode in force."""
        return self.policy.mode

    # ---- seeing ----

    def _judge_ready(self, step: int) -> None:
        """Judge what is on the host: this step on a CPU, the step before on a GPU."""
        while self._readings:
            reading = self._readings[0]
            if reading.pinned is not None and reading.step == step:
                return
            reading.settle()
            self._readings.popleft()
            judgement = Judgement()
            if self.policy.mode != "off":
                judgement = self.detectors.observe(reading.values, self._weights_now())
            self._judged = {reading.step: (reading, judgement)}
            self._history.append((reading.step, reading.values))
            fresh = judgement.level == "explode" and self._episode is None
            if fresh and self._rng_before is not None:
                self.keeper.note(reading, judgement, self.state, self._rng_before)

    def _weights_now(self) -> Mapping[str, float]:
        weights = self._weights
        if callable(weights):
            return weights()
        return weights or {}

    def _ballot(self) -> torch.Tensor:
        level = max(
            (judgement.level for _, judgement in self._judged.values()),
            key=("ok", "warn", "explode").index,
            default="ok",
        )
        return agreement.cast(level, self._take_order())

    def _answer_levels(self, step: int, outcome: agreement.Outcome) -> int:
        reading, judgement = next(iter(self._judged.values()), (Reading(step), Judgement()))
        self._judged = {}
        if outcome.exploded:
            return self._exploded(step, reading, judgement)
        if outcome.warned:
            self.reporter.warn(reading.step, judgement, reading.values)
        self.ring.quiet_until(step)
        if self._episode is not None and step - self._episode > QUIET_STEPS:
            self._episode = None
            self.reporter.event("recovered", step, f"calm again for {QUIET_STEPS} steps")
        if self._recovers_at is not None and self.policy.ticks >= self._recovers_at:
            self._recovers_at = None
            self._returned_to = None
            self.reporter.event(
                "recovered", step, f"no explosion for {self.settings.cooldown} steps"
            )
        return step + 1

    # ---- deciding ----

    def _exploded(self, step: int, reading: Reading, judgement: Judgement) -> int:
        goes_on = self._episode is not None and step - self._episode <= QUIET_STEPS
        if goes_on:
            self._episode = step
            return step + 1
        ranks = [
            rank
            for rank, level in enumerate(agreement.everyone(judgement.level))
            if level == "explode"
        ]
        self.reporter.explode(reading.step, judgement, reading.values, reading.samples, ranks)
        self.keeper.keep(self.policy.attempt, reading.batch)
        explosion = Explosion(
            reading.step,
            judgement,
            reading.values,
            reading.batch,
            reading.samples,
            tuple(self._history),
        )
        decision = self.policy.decide()
        if decision.action == "ask":
            return self._ask(step, explosion, decision)
        if decision.action == "report":
            return self._leave_it(step)
        return self._roll_back(step, explosion, decision)

    def _leave_it(self, step: int) -> int:
        """Go on without a rollback; states taken since the onset are not to be trusted."""
        self._episode = step
        for slot in self.ring.held():
            if not slot.trusted:
                self.ring.forget(slot)
        return step + 1

    def _ask(self, step: int, explosion: Explosion, decision: Decision) -> int:
        wait = math.inf if decision.waits_for_ever else self.settings.deadline
        order = self._hold(step, f"explosion: {decision.why}; waiting for the operator", wait)
        if order.code.name == "act":
            acting = self.policy.act()
            if acting.action != "rollback":
                return self._leave_it(step)
            return self._roll_back(step, explosion, acting)
        if order.code.name == "rollback":
            return self._rollback_ordered(order, step, explosion)
        if order.code.name == "resume":
            order.done({"step": step})
        return self._leave_it(step)

    def _hold(self, step: int, why: str, wait: float = math.inf) -> Order:
        """Stand still at the step boundary until an order ends it; every rank stands with it."""
        deadline = None if math.isinf(wait) else time.time() + wait
        self.reporter.event("paused", step, why, "warn", deadline=deadline)
        self._tell("paused", deadline=deadline)
        while True:
            late = deadline is not None and time.time() >= deadline
            mine = self._take_order()
            if mine is None and late and agreement.rank() == 0:
                mine = Order(OrderCode("act"))
                self._carried = mine
            code = agreement.count(agreement.reduced(agreement.cast("ok", mine))).order
            order = self._order_of(code)
            self.checkpoints.poll()
            if order is None:
                time.sleep(POLL)
            elif order.code.name in ("resume", "rollback", "stop", "act"):
                if order.code.name == "stop":
                    self._execute(order, step)
                self.reporter.event("resumed", step, f"goes on: {order.code.name}")
                self._tell("training")
                return order
            else:
                self._execute(order, step)

    # ---- going back ----

    def _roll_back(
        self,
        step: int,
        explosion: Explosion | None,
        decision: Decision | None,
        to: int | None = None,
        data: str | None = None,
        event: str | None = None,
    ) -> int:
        """Return to a snapshot; `decision` is None for an operator's order."""
        begun = time.monotonic()
        place = self._place(step, to, older=bool(decision and decision.older))
        if place is None:
            self.reporter.event(
                "rollback", step, "there is no trusted snapshot to return to", "error", ok=False
            )
            self._rolled = None
            return self._leave_it(step)
        where, state, slot_step, note = place
        self._tell("rolling_back")
        self.skips.remember()

        def restore() -> None:
            self.state.restore(state)
            self.skips.pass_over()

        restore()
        finding = None
        examined = time.monotonic()
        if explosion is not None and self._in_doubt(slot_step, step):
            finding = self._explain(explosion, slot_step, restore)
        autopsy = time.monotonic() - examined
        data = data or self.settings.data
        skipped = None
        if data == "skip":
            skipped = self.skips.jump(self.policy.margin if explosion else 0)
        else:
            self.skips.forget()
        self.ring.forget_after(slot_step)
        self.policy.rolled_back(decision)
        self._scale_lr(self.policy.lr_scale, float(note.get("lr_scale", 1.0)))
        self.reporter.set_attempt(self.policy.attempt)
        self._readings.clear()
        self._history.clear()
        self._episode = None
        if explosion is not None:
            self._recovers_at = self.policy.ticks + self.settings.cooldown + 1
        seconds = time.monotonic() - begun - autopsy
        self._rolled = {
            "from": step,
            "step": slot_step,
            "where": where,
            "seconds": round(seconds, 4),
            "autopsy_seconds": round(autopsy, 4),
            "data": data,
            "skipped": skipped,
            "attempt": self.policy.attempt,
            "lr_scale": self.policy.lr_scale,
            "budget": self.policy.budget_left,
            "cause": finding.cause if finding else None,
        }
        why = decision.why if decision else "ordered"
        text = f"back from step {step} to {slot_step} ({where}) in {seconds:.2f} s: {why}"
        told = {**self._rolled, "to": slot_step}
        del told["step"], told["attempt"]  # an event's own are where the training was
        self.reporter.event("rollback", step, text, "warn", ok=True, **told)
        self._tell("training")
        return slot_step + 1

    def _place(
        self, step: int, to: int | None, older: bool
    ) -> tuple[str, Tree, int, dict[str, Any]] | None:
        """Where to return to: a slot of the ring, else the newest durable checkpoint."""
        if older and self._returned_to is not None and self.ring.trusted() is self._returned_to:
            spare = [slot for slot in self.ring.held() if slot.step < self._returned_to.step]
            if spare or self.checkpoints.newest:
                self.ring.forget(self._returned_to)
        slot = self.ring.trusted(to)
        if to is not None:
            named = [slot for slot in self.ring.held() if slot.step <= to]
            slot = named[-1] if named else None
        if slot is not None:
            self._returned_to = slot
            return "ring", slot.state(), slot.step, slot.note
        latest = step - self.ring.trust_after if to is None else to
        loaded = self.checkpoints.load(lambda found: found.step <= latest)
        if loaded is None:
            return None
        return str(loaded.path), loaded.state, loaded.step, dict(loaded.meta["note"])

    def _in_doubt(self, slot_step: int, step: int) -> bool:
        return step > slot_step and (self.probe is not None or self.replay is not None)

    def _explain(
        self, explosion: Explosion, slot_step: int, restore: Callable[[], None]
    ) -> Finding | None:
        """The autopsy; whatever a user's probe or replay does wrong, the rollback goes on."""
        try:
            finding = examine(
                Case(
                    explosion,
                    slot_step,
                    self.detectors,
                    self._weights_now(),
                    restore,
                    self.probe,
                    self._replay_step if self.replay else None,
                    self.settings.autopsy_steps,
                )
            )
        except Exception as error:
            text = f"the autopsy failed: {type(error).__name__}: {error}"
            finding = Finding("unknown", text)
        restore()
        samples = [
            {"step": explosion.step, "attempt": self.policy.attempt, **sample}
            for sample in finding.samples
        ]
        self.reporter.audit.blame(samples)
        self.reporter.event(
            "autopsy",
            explosion.step,
            finding.text,
            "warn",
            verdict=finding.cause,
            slot=slot_step,
            evidence=finding.evidence,
            samples=samples[:64],
        )
        return finding

    def _replay_step(self, step: int) -> Mapping[str, float]:
        """A step once more; where samples were skipped the first time, they are skipped again."""
        assert self.replay is not None
        values = self.replay(step)
        self.skips.pass_over()
        return values

    # ---- orders ----

    _carried: Order | None = None
    """Rank 0: the order that is on its way through the ballot."""
    _rolled: dict[str, Any] | None = None
    """What the last rollback did."""

    def _take_order(self) -> Order | None:
        emitter = self.reporter.emitter
        if emitter is None:
            return None
        commands = emitter.commands()
        if commands:
            self.desk.take_in(commands, self._note)
        if self._carried is None:
            self._carried = self.desk.next()
        return self._carried

    def _note(self, text: str, args: Mapping[str, Any]) -> None:
        step = self._history[-1][0] if self._history else -1
        self.reporter.event("note", step, text)

    def _order_of(self, code: OrderCode | None) -> Order | None:
        """The order that all ranks agreed on; on rank 0 with the command to answer."""
        if code is None:
            return None
        carried, self._carried = self._carried, None
        return carried if carried is not None else Order(code)

    def _execute(self, order: Order, step: int) -> int:
        match order.code.name:
            case "checkpoint":
                self._tell("checkpointing")
                self.checkpoints.save(step, self.state.capture(), self._meta(), order)
                self._tell("training")
            case "rollback":
                return self._rollback_ordered(order, step, None)
            case "pause":
                order.done({"step": step})
                ended = self._hold(step, "paused by the operator")
                if ended.code.name == "rollback":
                    return self._rollback_ordered(ended, step, None)
                ended.done({"step": step})
            case "resume":
                order.refuse("the training is not paused")
            case "stop":
                self.stopped = True
                order.done({"step": step})
            case "set":
                self._set(order)
        return step + 1

    def _rollback_ordered(self, order: Order, step: int, explosion: Explosion | None) -> int:
        to = int(order.code.first)
        data = CHOICES[int(order.code.second)]
        nxt = self._roll_back(
            step, explosion, None, None if to < 0 else to, None if data == "default" else data
        )
        if self._rolled is None:
            order.refuse(self._nowhere(to))
        else:
            order.done(self._rolled)
        return nxt

    def _nowhere(self, to: int) -> str:
        held = [slot.step for slot in self.ring.held() if slot.trusted or to >= 0]
        if to < 0 or not held:
            return "there is no trusted snapshot yet, and no checkpoint on disk"
        return f"there is no snapshot at or before step {to}: the oldest is of step {held[0]}"

    def _set(self, order: Order) -> None:
        name, value = self.desk.names[int(order.code.first)], order.code.second
        before: Any = None
        try:
            if name == "guard":
                before, self.policy.mode = self.policy.mode, MODES[int(value)]
            elif name == "lr_scale":
                before = self.policy.lr_scale
                self.policy.lr_scale = value
                self._scale_lr(value, before)
            else:
                before = self.desk.settable[name](value)
        except Exception as error:
            order.refuse(f"{name} could not be set: {error}")
            return
        if name not in ("guard", "lr_scale"):
            self.detectors.reset()  # another weight or clip: what was usual is usual no more
        order.done(
            {"name": name, "before": before, "value": self.mode if name == "guard" else value}
        )
        self._tell("training")

    # ---- keeping ----

    def _keep_states(self, step: int, quiet: bool) -> None:
        done = step + 1
        if self.settings.slots and done % self.spacing == 0 and quiet:
            self._snapshot(step)
        every = self.settings.durable_every
        if every and done % every == 0 and not self.checkpoints.busy:
            self.checkpoints.save(step, self.state.capture(), self._meta(), None)

    def _snapshot(self, step: int, trusted: bool = False) -> None:
        closs = self._history[-1][1].get("closs") if self._history else None
        note = self._meta()["note"]
        self.ring.take(step, self.state.capture(), trusted=trusted, closs=closs, **note)
        self._tell("training")

    def _meta(self) -> dict[str, Any]:
        return {
            "policy": self.policy.state_dict(),
            "skips": self.skips.state_dict(),
            "note": {"lr_scale": self.policy.lr_scale},
        }

    def _scale_lr(self, now: float, then: float) -> None:
        """Bring rates that were planned under scale `then` under scale `now`."""
        if self._set_lr_scale is not None:
            self._set_lr_scale(now)
            return
        factor = now / then
        if factor == 1.0:
            return
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor
                if "initial_lr" in group:
                    group["initial_lr"] = group["initial_lr"] * factor
        for scheduler in self.schedulers:
            for name in ("base_lrs", "_last_lr"):
                if hasattr(scheduler, name):
                    setattr(scheduler, name, [rate * factor for rate in getattr(scheduler, name)])

    def _tell(self, state: str, deadline: float | None = None) -> None:
        if self.reporter.emitter is None:
            return
        snapshots = [
            Snapshot(slot.step, "ring", slot.trusted, slot.time, slot.closs)
            for slot in self.ring.held()
        ]
        newest = self.checkpoints.newest
        if newest is not None:
            snapshots.insert(0, Snapshot(newest.step, str(newest.path), True))
        self.reporter.status(
            state=state,
            snapshots=tuple(snapshots),
            budget=self.policy.budget_left,
            guard=self.policy.mode,
            deadline=deadline,
        )


def settings_from(values: Mapping[str, Any]) -> GuardSettings:
    """Settings from a table of a configuration file; an unknown key is an error that names it."""
    known = {field.name for field in dataclasses.fields(GuardSettings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"guard.{unknown[0]} is no setting; there are {', '.join(sorted(known))}")
    return GuardSettings(**values)
