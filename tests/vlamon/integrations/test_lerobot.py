"""The hooks around LeRobot's `update_policy`, on a script of its shape; no LeRobot is needed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from tests.vlamon.integrations.toy import Policy, Rows, digest
from vlamon.integrations.hooked_guard import HookedGuard
from vlamon.integrations.lerobot import SCRIPT, watch_lerobot, watch_updates
from vlamon.records import Event, RunInfo
from vlamon.sources import SourceError
from vlamon.taps.collector import Collector
from vlamon.taps.imports import install
from vlamon.taps.options import TapOptions
from vlamon.taps.patches import PATCHES, patch_meters

STEPS = 240
HOT = range(150, 152)


@dataclass
class Meter:
    val: float = 0.0


@dataclass
class Tracker:
    """What LeRobot's MetricsTracker shows of itself."""

    steps: int = 0
    loss: Meter = field(default_factory=Meter)
    grad_norm: Meter = field(default_factory=Meter)
    lr: Meter = field(default_factory=Meter)


def script(name: str = SCRIPT) -> ModuleType:
    """A module with the two functions of `lerobot_train.py` that matter here."""
    module = ModuleType(name)

    def make_optimizer_and_scheduler(cfg: Any, policy: Any) -> Any:
        optimizer = torch.optim.AdamW(policy.parameters(), 3e-3)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / cfg.steps)
        return optimizer, falling

    def update_policy(
        train_metrics: Any, policy: Any, batch: Any, optimizer: Any, grad_clip_norm: float,
        accelerator: Any = None, lr_scheduler: Any = None,
    ) -> Any:  # fmt: skip
        output = policy(**batch)
        output["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), grad_clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        lr_scheduler.step()
        train_metrics.loss = Meter(output["loss"].item())
        train_metrics.grad_norm = Meter(norm.item())
        train_metrics.lr = Meter(optimizer.param_groups[0]["lr"])
        parts = {name: output[name].item() for name in ("closs", "loss_ct")}
        return train_metrics, {**parts, "loss_per_dim": [parts["closs"], parts["loss_ct"]]}

    module.make_optimizer_and_scheduler = make_optimizer_and_scheduler  # type: ignore[attr-defined]
    module.update_policy = update_policy  # type: ignore[attr-defined]
    return module


def train(
    module: ModuleType,
    folder: Path,
    *,
    hot: range = range(0),
    nan: int = -1,
    first: int = 0,
    steps: int = STEPS,
) -> Policy:
    """LeRobot's loop; `hot` steps are trained at a thousand times the planned rate."""
    cfg = SimpleNamespace(steps=STEPS, output_dir=folder, job_name="act")
    policy = Policy().train()
    optimizer, schedule = module.make_optimizer_and_scheduler(cfg, policy)
    rows, tracker = Rows(), Tracker(first)
    for step in range(first + 1, steps + 1):
        chosen = [(4 * step + i) % len(rows) for i in range(4)]
        batch = {name: torch.stack([rows[i][name] for i in chosen]) for name in ("x", "labels")}
        if step == nan:
            batch["x"] = batch["x"] * float("nan")
        planned = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = planned * (1000 if step in hot else 1)
        tracker, _ = module.update_policy(
            tracker, policy, batch, optimizer, 1e9, lr_scheduler=schedule
        )
        tracker.steps += 1
    return policy


def told(folder: Path, *kinds: str) -> list[Event]:
    return [e for e in of_type(journal_of(folder), Event) if e.kind in kinds]


def watched(folder: Path, guard: str = "off", **faults: Any) -> Policy:
    module = script()
    watch_updates(module, path=None, guard=guard)
    return train(module, folder, **faults)


def level(policy: Policy) -> float:
    return sum(row["loss"] for row in policy.seen[-20:]) / 20


def settled(folder: Path, count: int) -> list[tuple[int, dict[str, float]]]:
    """The journal's rows, once the sidecar has written them all."""
    rows: list[tuple[int, dict[str, float]]] = []
    for _ in range(200):
        with contextlib.suppress(SourceError):  # nothing is written yet
            rows = rows_of(journal_of(folder))
        if len(rows) >= count:
            return rows
        time.sleep(0.05)
    raise AssertionError(f"{len(rows)} of {count} rows")


def test_every_batch_is_a_row_with_the_lists_of_the_output_in_the_output_directory(
    tmp_path: Path,
) -> None:
    policy = watched(tmp_path, steps=60)
    rows = settled(tmp_path, 60)
    assert [step for step, _ in rows] == list(range(1, 61))
    same = {"closs": "closs", "loss_ct": "loss_ct", "loss": "loss", "loss_per_dim_1": "loss_ct"}
    for name, seen in same.items():
        assert [values[name] for _, values in rows] == [batch[seen] for batch in policy.seen]


def test_watching_changes_no_bit_of_the_training(tmp_path: Path) -> None:
    plain = train(script(), tmp_path / "plain", steps=60)
    assert digest(watched(tmp_path / "run", steps=60)) == digest(plain)
    assert digest(watched(tmp_path / "guarded", "auto", steps=60)) == digest(plain)


def test_an_explosion_is_taken_back_and_counter_and_schedule_go_on(tmp_path: Path) -> None:
    usual = train(script(), tmp_path / "usual")
    lost = train(script(), tmp_path / "lost", hot=HOT)
    saved = watched(tmp_path / "run", "auto", hot=HOT)
    assert level(lost) > 1.5 * level(usual)
    assert level(saved) < 1.3 * level(usual)
    rows = settled(tmp_path / "run", STEPS)
    assert [step for step, _ in rows] == list(range(1, STEPS + 1))
    planned = [3e-3 * (1 - step / STEPS) for step in range(1, STEPS + 1) if step not in HOT]
    assert [v["lr"] for s, v in rows if s not in HOT] == pytest.approx(planned, abs=1e-12)
    (rollback,) = told(tmp_path / "run", "rollback")
    assert rollback.data["to"] < HOT.start <= rollback.step


def test_a_nan_reaches_no_weight(tmp_path: Path) -> None:
    assert all(p.isfinite().all() for p in watched(tmp_path, "auto", nan=170).parameters())


def test_a_training_that_lerobot_resumed_goes_on_counting_from_there(tmp_path: Path) -> None:
    watched(tmp_path, "auto", first=100, steps=140)
    assert [step for step, _ in settled(tmp_path, 40)] == list(range(101, 141))


def test_an_operator_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HookedGuard, "stopped", property(lambda self: True))
    with pytest.raises(SystemExit) as ended:
        watched(tmp_path, "watch", steps=3)
    assert ended.value.code == 0


def test_an_output_that_cannot_be_read_ends_no_training(tmp_path: Path) -> None:
    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    module = script()
    update = module.update_policy
    module.update_policy = lambda *a, **k: (update(*a, **k)[0], Odd(loss=1))  # type: ignore[attr-defined]
    watch_updates(module, path=None)
    assert len(train(module, tmp_path, steps=4).seen) == 4


@pytest.fixture
def started_as(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes a module the script that runs, as `python -m` and `lerobot-train` do."""

    def become(name: str) -> ModuleType:
        module = script(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return become


@pytest.mark.parametrize("name", [SCRIPT, "__main__"])
def test_the_plug_in_takes_guard_and_weights_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_as: Any, name: str
) -> None:
    monkeypatch.setenv("VLAMON_SOCKET", str(tmp_path / "s.sock"))
    monkeypatch.setenv("VLAMON_GUARD", "auto")
    monkeypatch.setenv("VLAMON_WEIGHTS", "closs=1,loss_ct=10")
    module = started_as(name)
    watch_lerobot()
    watch_lerobot()  # a second time changes nothing
    train(module, tmp_path, hot=HOT)
    settled(tmp_path, STEPS)
    assert len(told(tmp_path, "rollback")) == 1
    info = of_type(journal_of(tmp_path), RunInfo)[-1]
    assert (info.name, info.total_steps) == ("act", STEPS)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("VLAMON_GUARD", "yes", "$VLAMON_GUARD is 'yes'"),
        ("VLAMON_WEIGHTS", "closs", "which is not NAME=NUMBER"),
    ],
)
def test_a_setting_that_makes_no_sense_is_said_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_as: Any,
    capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("VLAMON_SOCKET", str(tmp_path / "s.sock"))
    monkeypatch.setenv(variable, value)
    module = started_as(SCRIPT)
    watch_lerobot()
    assert len(train(module, tmp_path, steps=3).seen) == 3
    assert said in capsys.readouterr().err


def test_the_tap_sees_a_script_that_runs_as_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_as: Any
) -> None:
    loads = tmp_path / "lerobot" / "utils" / "import_utils.py"
    loads.parent.mkdir(parents=True)
    loads.write_text("def register_third_party_plugins(): return None\n")
    for folder in (loads.parent, loads.parent.parent):
        (folder / "__init__.py").write_text("")
    for name in [name for name in sys.modules if name.split(".")[0] == "lerobot"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    module = started_as("__main__")
    collector = Collector(TapOptions(None, run_dir=str(tmp_path / "run")))
    install(PATCHES, patch_meters, collector)
    from lerobot.utils.import_utils import register_third_party_plugins  # type: ignore

    register_third_party_plugins()
    policy = train(module, tmp_path, steps=20)
    collector.end("")
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [values["loss_per_dim_0"] for _, values in rows] == [b["closs"] for b in policy.seen]
    for name in [name for name in sys.modules if name.split(".")[0] == "lerobot"]:
        monkeypatch.delitem(sys.modules, name)
