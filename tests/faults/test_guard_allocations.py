"""Every tensor that the guard makes fails in turn: the training goes on, and its numbers stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.vlamon.guard.toy import Order, Toy, far_off, identical
from vlamon.guard import ring
from vlamon.guard.checkpoint.writer import Durable, DurableError
from vlamon.guard.gate import may_step
from vlamon.guard.out_of_memory import NoMemory, is_lack, memory_for

LACKS: tuple[Callable[[], Exception], ...] = (
    lambda: MemoryError(),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"
                         " memory: you tried to allocate 4096 bytes. Error code 12"),
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB."),
)  # fmt: skip
"""What a lack of memory raises."""
ENOUGH = (0, 0, MemoryError())
"""A step that lacks nothing."""


class Scarce(TorchDispatchMode):
    """Memory that is not there for the tensors `first` to `last` that are made meanwhile."""

    def __init__(self, first: int, last: int, error: Exception) -> None:
        super().__init__()
        self.first, self.last, self.error = first, last, error
        self.made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        new = any(each.alias_info is None for each in func._schema.returns)
        if new and not func._schema.is_mutable and isinstance(result, torch.Tensor | list | tuple):
            self.made += 1
            if self.first <= self.made <= self.last:
                raise self.error
        return result


@contextmanager
def scarce(guard: Any, plan: dict[int, tuple[int, int, Exception]]) -> Iterator[dict[int, int]]:
    """Let the guard's calls of some steps lack memory; how many tensors they made in each."""
    made: dict[int, int] = {}
    check, after = guard.check, guard.after_step

    def with_less(call: Callable[..., Any], step: int, *args: Any, **kwargs: Any) -> Any:
        if step not in plan:
            return call(step, *args, **kwargs)
        first, last, error = plan[step]
        already = made.get(step, 0)
        with Scarce(first - already, last - already, error) as memory:
            try:
                return call(step, *args, **kwargs)
            finally:
                made[step] = already + memory.made

    guard.check = lambda step, **values: with_less(check, step, **values)
    guard.after_step = lambda step, **rest: with_less(after, step, **rest)
    try:
        yield made
    finally:
        guard.check, guard.after_step = check, after


def quiet_weights(steps: int, **settings: Any) -> tuple[list[torch.Tensor], dict[int, float]]:
    toy = Toy(checked=True, **settings)
    toy.run(steps)
    return toy.weights(), toy.losses


def notes(toy: Toy) -> list[str]:
    return [data["text"] for _, data in toy.emitter.kinds("note")]


LADDER = ("clip", "skip", "lr", "rollback")


@pytest.mark.parametrize(
    ("ladder", "most"), [(("rollback",), 16), (LADDER, 80)], ids=["plain", "ladder"]
)
def test_calm_steps_go_on_whichever_tensor_of_the_guard_cannot_be_made(
    tmp_path: Path, ladder: Any, most: int
) -> None:
    """Each of a step's tensors in turn, in steps with a snapshot and with a checkpoint too."""
    settings: dict[str, Any] = {"every": 2, "ladder": ladder, "durable_every": 30}
    toy = Toy(tmp_path, checked=True, **settings)
    numbers = {step: 1 + step // 2 % most for step in range(240)}
    plan = {step: (each, each, LACKS[step % 3]()) for step, each in numbers.items()}
    plan |= dict.fromkeys(range(250, 290), ENOUGH)
    with scarce(toy.guard, plan) as made:
        assert toy.run(300) == 300
    failed = {each for step, each in numbers.items() if made[step] >= each}
    assert failed >= set(range(1, max(made[step] for step in range(250, 290)) + 1))
    weights, losses = quiet_weights(300, every=2, ladder=ladder)
    assert toy.losses == losses
    assert identical(toy.weights(), weights)
    assert "updates are examined again" in notes(toy)
    assert toy.guard.snapshots.ring.trusted() is not None


def test_an_update_that_cannot_be_examined_is_made_and_said() -> None:
    toy = Toy(checked=True)
    with scarce(toy.guard, {7: (1, 99, MemoryError()), 8: (1, 99, MemoryError())}):
        toy.run(20)
    said = [each for each in notes(toy) if "examined" in each]
    assert said == [
        "the update was not examined: no memory for a look at the gradients (MemoryError)",
        "updates are examined again",
    ]
    assert identical(toy.weights(), quiet_weights(20)[0])


class Cache:
    """Something of a user's with tensors, which only its own code can put back."""

    def __init__(self) -> None:
        self.kept = torch.zeros(8)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.kept = state["kept"].clone()


def exploding() -> Toy:
    """Explodes at step 70, and once more some steps later."""
    toy = Toy(checked=True, data="skip")
    toy.guard._state.add("cache", Cache())
    toy.once = {4 * 70: far_off, 4 * 92: far_off}
    return toy


def spread(many: int) -> range:
    """Some of so many tensors; the step's own come first, then the autopsy's."""
    return range(1, many + 1, max(1, many // 3))


def test_a_rollback_that_lacks_memory_once_is_made_all_the_same() -> None:
    """Whichever tensor of its way back cannot be made: it is tried again, or the next snapshot."""
    twin = exploding()
    with scarce(twin.guard, {70: ENOUGH}) as made:
        twin.run(105)
    (_, first), _ = twin.emitter.kinds("rollback")
    for at in spread(made[70]):
        toy = exploding()
        plan = {70: (at, at, LACKS[at % 3]())}
        with scarce(toy.guard, plan):
            assert toy.run(105) == 105
        done = toy.emitter.kinds("rollback")
        assert [data["ok"] for _, data in done] == [True, True], f"tensor {at}"
        assert all(map(torch.isfinite, map(torch.sum, toy.weights())))
        if done[0][1]["to"] == first["to"]:
            assert toy.losses == twin.losses, f"tensor {at}"


def around(toy: Toy, at: int) -> list[list[torch.Tensor]]:
    """The weights before and behind the guard's end of a step."""
    seen: list[list[torch.Tensor]] = []
    after_step = toy.guard.after_step

    def noting(step: int, **rest: Any) -> int:
        first = step == at and not seen
        before = toy.weights()
        following = after_step(step, **rest)
        if first:
            seen.extend((before, toy.weights()))
        return following

    toy.guard.after_step = noting  # type: ignore[method-assign]
    return seen


def test_a_rollback_that_memory_lacks_for_changes_nothing_and_the_next_one_works() -> None:
    """From each tensor on there is no more: the weights stay, it is said, and later it returns."""
    twin = exploding()
    with scarce(twin.guard, {70: ENOUGH}) as made:
        twin.run(71)
    refused = 0
    for at in spread(made[70]):
        toy = exploding()
        with scarce(toy.guard, {70: (at, 10**6, LACKS[at % 3]())}):
            seen = around(toy, 70)
            assert toy.run(105) == 105
        first = toy.emitter.kinds("rollback")[0]
        if not first[1]["ok"]:
            refused += 1
            assert "no memory" in first[1]["text"]
            changed = not identical(*seen)
            assert changed == ("that the autopsy left" in first[1]["text"]), f"tensor {at}"
        assert toy.emitter.kinds("rollback")[-1][1]["ok"], f"tensor {at}"
    assert refused


def test_a_checkpoint_that_memory_lacks_for_is_refused_and_the_next_one_written(
    tmp_path: Path,
) -> None:
    toy, first, second = Toy(tmp_path, checked=True), Order("checkpoint"), Order("checkpoint")
    with scarce(toy.guard, {30: (1, 10**6, LACKS[1]())}):
        toy.run(60, {30: [first], 40: [second]})
    assert "checkpoint of step 30 was not written: no memory for a copy of the state" in first.error
    assert second.result is not None
    assert identical(toy.weights(), quiet_weights(60)[0])


def test_a_lack_of_memory_is_no_other_error() -> None:
    assert all(is_lack(make()) for make in LACKS)
    assert not is_lack(RuntimeError("CUDA error: device-side assert triggered"))
    with (
        pytest.raises(NoMemory, match="no memory for a copy of"),
        memory_for("a copy of the state"),
    ):
        raise MemoryError
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory_for("a copy"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_the_host_waits_where_a_fused_optimizer_cannot_skip_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnDevice:
        device = torch.device("cuda")

        def __invert__(self) -> None:
            raise LACKS[2]()

        def __bool__(self) -> bool:
            return False

    weight = torch.nn.Parameter(torch.ones(2))
    fused: Any = torch.optim.AdamW([weight], fused=True)
    verdict: Any = OnDevice()
    assert not may_step([fused], verdict)


def test_random_streams_and_places_for_snapshots_may_lack_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the very start on; once there is memory, snapshots are taken and returned to."""
    streams, place, calls = torch.get_rng_state, ring._place_for, iter(range(10**6))

    def lacking(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if toy.guard.detection.last_step < 60 and next(calls) % 3:
                raise LACKS[1]()
            return real(*args)

        return call

    toy = Toy(tmp_path, checked=True, every=2, durable_every=20)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_rng_state", lacking(streams))
        patched.setattr(ring, "_place_for", lacking(place))
        toy.faults = {4 * 160: far_off}
        assert toy.run(170) == 170
    said = notes(toy)
    assert any(each.startswith("no snapshot: no memory for a copy") for each in said)
    assert "snapshots are taken again" in said
    ((_, back),) = toy.emitter.kinds("rollback")
    assert back["ok"]
    _, losses = quiet_weights(160)
    assert {step: toy.losses[step] for step in range(back["to"] + 1)} == {
        step: losses[step] for step in range(back["to"] + 1)
    }


def test_a_checkpoint_that_no_memory_is_left_to_read_stays_one_to_return_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Order("rollback", {"to": 29}), Order("rollback", {"to": 29})
    toy = Toy(tmp_path, slots=0, durable_every=30)
    load = Durable.load

    def scarcely(self: Durable, *args: Any) -> Any:
        if not first.error:
            raise MemoryError
        return load(self, *args)

    monkeypatch.setattr(Durable, "load", scarcely)
    toy.run(60, {40: [first], 50: [second]}, resume=False)
    assert "there is no snapshot" in first.error or "no memory" in first.error
    assert second.result is not None
    assert second.result["step"] == 29
    texts = [data["text"] for _, data in toy.emitter.kinds("checkpoint")]
    assert any("cannot be returned to: no memory for the content of" in each for each in texts)


def test_a_resume_that_memory_lacks_for_takes_no_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Toy(tmp_path, durable_every=20).run(60)

    def scarcely(self: Durable, *args: Any) -> Any:
        raise LACKS[1]()

    monkeypatch.setattr(Durable, "load", scarcely)
    newest = (tmp_path / "checkpoints" / "latest").read_text().strip()
    with pytest.raises(DurableError, match=f"{newest} cannot be loaded: no memory for"):
        Toy(tmp_path, durable_every=20).guard.start()


def test_a_thread_that_cannot_be_started_is_a_checkpoint_that_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path, durable_every=20)

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def lack(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        return y

    def back(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        monkeypatch.undo()
        return y

    toy.once = {4 * 15: lack, 4 * 25: back}
    toy.run(50)
    ends = [(data.get("ok"), data["text"]) for _, data in toy.emitter.kinds("checkpoint")]
    assert ends[0] == (False, "checkpoint of step 19 was not written: can't start new thread")
    assert ends[1][0]
