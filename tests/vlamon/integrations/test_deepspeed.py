"""DeepSpeed's engine, ZeRO stages 1 to 3 on a CPU: the page's lines, and the guard on the real one.

DeepSpeed compiles for minutes what it does not need here; nothing is skipped but where it lacks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("deepspeed", reason="needs deepspeed (DS_BUILD_OPS=0 pip install deepspeed)")

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import Event

ROOT = Path(__file__).parents[3]
CHECKPOINT = ["checkpoint", {}]
BACK = ["rollback", {"data": "replay"}]
TO_DISK = ["rollback", {"to": 12, "data": "replay"}]
WATCH = {"mode": "watch"}
LADDER = ["clip", "skip", "rollback"]
STAGES = [1, 2, 3]
Results = dict[str, list[dict[str, Any]]]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "LOCAL_RANK": "0",
            "PYTHONPATH": str(ROOT), **more}  # fmt: skip


def ranks(count: int, root: Path, plans: list[dict[str, Any]]) -> Results:
    """Run plans on so many ranks; results by plan and rank."""
    meeting = f"file://{root}/meeting-{uuid.uuid4().hex}"
    command = [sys.executable, "-m", "tests.vlamon.integrations.zero_training", str(root)]
    said = [root / f"rank-{rank}.txt" for rank in range(count)]  # pipes fill up with warnings
    processes = []
    for rank in range(count):
        with open(said[rank], "w") as file:
            place = {"RANK": str(rank), "WORLD_SIZE": str(count), "MEETING": meeting}
            processes.append(
                subprocess.Popen(
                    [*command, json.dumps(plans)],
                    env=environment(**place),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    results: Results = {}
    for process, path in zip(processes, said, strict=True):
        process.wait(timeout=380)
        out = path.read_text()
        assert process.returncode == 0, (process.returncode, out[-3000:])
        for name, result in json.loads(out.split("RESULT")[1].splitlines()[0]).items():
            results.setdefault(name, []).append(result)
    return results


def plans_of(stage: int) -> list[dict[str, Any]]:
    s: dict[str, Any] = {"stage": stage}
    kept = {"settings": {"slots": 0, **WATCH}, "settle_after": [12]}
    plain = {"guard": False, "total": 40, **s}
    return [
        {"name": f"{stage} plain", "dir": f"{stage}", **plain},
        {"name": f"{stage} whole", "dir": f"{stage}w", "total": 40, **s},
        {"name": f"{stage} first", "dir": f"{stage}a", "total": 13,
         "orders": {12: CHECKPOINT}, **s},
        {"name": f"{stage} resumed", "dir": f"{stage}a", "total": 40, "seed": 7, **s},
        {"name": f"{stage} ring", "dir": f"{stage}r", "total": 40, "orders": {20: BACK}, **s},
        {"name": f"{stage} disk", "dir": f"{stage}d", "total": 40,
         "orders": {12: CHECKPOINT, 20: TO_DISK}, **kept, **s},
        {"name": f"{stage} bad", "dir": f"{stage}b", "total": 70, "bad": [50], "on": -1, **s},
        {"name": f"{stage} nan", "dir": f"{stage}n", "total": 45, "nan": [40], **s,
         "settings": {"mode": "off"}},
        {"name": f"{stage} skip", "dir": f"{stage}s", "total": 56, "bad": [50], **s,
         "settings": {"ladder": LADDER}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zero")


@pytest.fixture(scope="module")
def two(root: Path) -> Results:
    plans = [plan for stage in STAGES for plan in plans_of(stage)]
    for plan in plans:
        plan["on"] = 1
    low = [{"stage": 2, "dtype": "bf16", "accumulate": 2}, {"stage": 3, "dtype": "bf16"}]
    for number, options in enumerate(low):
        plans += [
            {"name": f"bf16 {number} whole", "dir": f"q{number}", "total": 30, **options},
            {"name": f"bf16 {number} ring", "dir": f"r{number}", "total": 30,
             "orders": {20: BACK}, **options},
        ]  # fmt: skip
    return ranks(2, root, plans)


@pytest.fixture(scope="module")
def one(root: Path, two: Results) -> Results:
    """One rank: alone, and on what two have written."""
    plans = [{"name": f"of two {s}", "dir": f"{s}a", "total": 13, "stage": s} for s in STAGES]
    for stage in STAGES:
        alone: dict[str, Any] = {"stage": stage, "total": 30}
        plans += [
            {"name": f"{stage} whole", "dir": f"{stage}x", **alone},
            {"name": f"{stage} ring", "dir": f"{stage}y", "orders": {20: BACK}, **alone},
        ]
    return ranks(1, root, plans)


SAME = ("weights", "own", "counters", "skipped", "lr", "cursor", "scale")


def same(first: dict[str, Any], second: dict[str, Any], *names: str) -> None:
    for name in names or SAME:
        assert first[name] == second[name], name


def kinds(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [data for name, _, data in result["events"] if name == kind]


@pytest.mark.parametrize("stage", STAGES)
def test_a_guard_changes_no_bit_of_a_quiet_training(two: Results, stage: int) -> None:
    for with_guard, without in zip(two[f"{stage} whole"], two[f"{stage} plain"], strict=True):
        same(with_guard, without)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["ring", "disk", "resumed"])
def test_a_way_back_ends_bit_for_bit_where_a_quiet_training_does(
    two: Results, stage: int, way: str
) -> None:
    for back, quiet in zip(two[f"{stage} {way}"], two[f"{stage} whole"], strict=True):
        same(back, quiet)
        assert dict(back["losses"])[39] == dict(quiet["losses"])[39]
    if way != "resumed":
        (rolled,) = kinds(two[f"{stage} {way}"][0], "rollback")
        assert rolled["ok"]
        assert rolled["to"] < 20


@pytest.mark.parametrize("number", [0, 1])
def test_half_precision_and_accumulation_go_back_bit_for_bit(two: Results, number: int) -> None:
    for back, quiet in zip(two[f"bf16 {number} ring"], two[f"bf16 {number} whole"], strict=True):
        same(back, quiet)
    assert kinds(two[f"bf16 {number} ring"][0], "rollback")[0]["ok"]


@pytest.mark.parametrize("stage", STAGES)
def test_one_rank_goes_back_too(one: Results, stage: int) -> None:
    same(one[f"{stage} ring"][0], one[f"{stage} whole"][0])
    assert kinds(one[f"{stage} ring"][0], "rollback")[0]["ok"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_bad_batch_on_one_rank_is_rolled_back_on_all(two: Results, stage: int) -> None:
    first, second = two[f"{stage} bad"]
    same(first, second, "weights", "counters", "lr")
    assert [data["ok"] for data in kinds(first, "rollback")] == [True]
    last = [loss for result in (first, second) for _, loss in result["losses"][-10:]]
    assert max(last) < 40


@pytest.mark.parametrize("stage", STAGES)
def test_an_update_that_is_not_finite_is_passed_over(two: Results, stage: int) -> None:
    for result in two[f"{stage} nan"]:
        assert result["skipped"] == 1
        assert result["counters"][:2] == [45, 45]
        assert dict(result["losses"])[44] < 1000


@pytest.mark.parametrize("stage", STAGES)
def test_the_ladder_skips_an_outlier_and_the_engine_counts_it(two: Results, stage: int) -> None:
    for result in two[f"{stage} skip"]:
        assert result["skipped"] == 1
        assert result["gradients left"] == 0
    told = [data["rung"] for data in kinds(two[f"{stage} skip"][0], "warn") if "rung" in data]
    assert told == ["skip"]
    assert kinds(two[f"{stage} skip"][0], "rollback") == []


def test_a_snapshot_holds_what_a_rank_owns(one: Results, two: Results) -> None:
    for stage in STAGES:
        alone, shared = one[f"{stage} whole"][0]["held"], two[f"{stage} whole"][0]["held"]
        trained = 8 * 33 + 33 + 33 + 1
        assert alone - shared >= 3 * trained // 2 - 10


@pytest.mark.parametrize("stage", STAGES)
def test_another_number_of_ranks_is_a_sentence(one: Results, stage: int) -> None:
    said = one[f"of two {stage}"][0]["refused"]
    assert "does not fit this training: ZeRO.s pieces were cut for 2 ranks" in said.replace(
        "'", "."
    )


SCRIPT = """
import json, sys, torch, deepspeed
sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would be compiled
from tests.vlamon.integrations.toy import Policy, Rows
deepspeed.init_distributed("gloo")
policy = Policy()
engine, optimizer, _, _ = deepspeed.initialize(
    model=policy, optimizer=torch.optim.AdamW(policy.parameters(), 1e-3),
    config={"train_batch_size": 4, "zero_optimization": {"stage": 2},
            "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False})
rows = Rows()
batches = ([rows[4 * step % 240 + i] for i in range(4)] for step in range(400))
loader = [{key: torch.stack([row[key] for row in batch]) for key in batch[0]} for batch in batches]
for batch in loader[300:304]:
    batch["labels"] += 500.0
"""


def test_the_lines_of_the_page_show_every_batch_and_roll_an_explosion_back(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "integrations" / "deepspeed.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)[0]
    script = tmp_path / "train.py"
    script.write_text(SCRIPT + code + 'json.dump(policy.seen, open("seen.json", "w"))\n')
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29583"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env=environment(**alone, VLAMON_SOCKET=str(tmp_path / "s.sock")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = journal_of(tmp_path / "runs" / "a")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [values["closs"] for _, values in rows_of(records)] == [row["closs"] for row in seen]
    events = of_type(records, Event)
    assert [event.step for event in events if event.kind == "explode"][:1] == [300]
    (back,) = [event for event in events if event.kind == "rollback"]
    assert back.data["ok"]
    assert 280 < back.data["to"] < 300
    assert max(row["closs"] for row in seen[-60:]) < 100


TRAINER = """
import json, sys, torch, deepspeed
sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would be compiled
from transformers import Trainer, TrainerCallback, TrainingArguments
from tests.vlamon.integrations.toy import Policy, Rows
from vlamon.integrations.transformers import VlamonCallback

class HotSteps(TrainerCallback):
    def on_step_begin(self, args, state, control, **given):
        if state.global_step + 1 in (150, 151):
            for group in given["optimizer"].param_groups:
                group["lr"] = 3.0

policy = Policy()
arguments = TrainingArguments(
    "out", per_device_train_batch_size=4, learning_rate=3e-3, max_steps=300, report_to="none",
    seed=5, use_cpu=True, disable_tqdm=True, save_strategy="no", remove_unused_columns=False,
    deepspeed={
        "zero_optimization": {"stage": int(sys.argv[1])}, "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False,
        "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"})
weights = {"closs": 1.0, "loss_ct": 10.0}
callbacks = [HotSteps(), VlamonCallback(None, "run", weights, guard=sys.argv[2])]
trainer = Trainer(policy, arguments, train_dataset=Rows(), callbacks=callbacks)
trainer.train()
assert type(trainer.optimizer.optimizer).__module__.startswith("deepspeed."), trainer.optimizer
json.dump(policy.seen, open("seen.json", "w"))
"""


@pytest.mark.parametrize("stage", [2, 3])
def test_the_trainer_under_deepspeed_takes_an_explosion_back(stage: int, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra integrations")
    pytest.importorskip("accelerate", reason="needs the extra integrations")
    level, events = {}, {}
    for mode in ("watch", "auto"):
        folder = tmp_path / mode
        folder.mkdir()
        alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29584"}
        done = subprocess.run(
            [sys.executable, "-c", TRAINER, str(stage), mode], capture_output=True, text=True,
            timeout=300, cwd=folder, env=environment(**alone),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        seen = json.loads((folder / "seen.json").read_text())
        level[mode] = sum(row["loss"] for row in seen[-20:]) / 20
        records = journal_of(folder / "run")
        assert [step for step, _ in rows_of(records)] == list(range(1, 301))
        events[mode] = [e for e in of_type(records, Event) if e.kind in ("explode", "rollback")]
    assert [e for e in events["watch"] if e.kind == "explode"]
    backs = [e for e in events["auto"] if e.kind == "rollback"]
    assert backs
    assert all(e.data["ok"] for e in backs)
    assert level["auto"] < 0.8 * level["watch"]


ACCELERATE = """
import json, sys, torch, deepspeed
sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # it would be compiled
import accelerate
from torch.utils.data import DataLoader
from tests.vlamon.guard.toy import Emitter, Order
from tests.vlamon.integrations.toy import Policy, Rows
from vlamon.guard import GuardSettings
from vlamon.integrations.accelerate import guard_for

CONFIG = {"zero_optimization": {"stage": int(sys.argv[1])}, "zero_allow_untested_optimizer": True,
          "zero_force_ds_cpu_optimizer": False, "train_micro_batch_size_per_gpu": 4,
          "gradient_accumulation_steps": 2, "gradient_clipping": 1.0}

def trained(back):
    accelerate.state.AcceleratorState._reset_state(True)
    plugin = accelerate.utils.DeepSpeedPlugin(hf_ds_config=dict(CONFIG))
    accelerator = accelerate.Accelerator(deepspeed_plugin=plugin, gradient_accumulation_steps=2)
    torch.manual_seed(1)
    policy, emitter = Policy(), Emitter()
    optimizer = torch.optim.AdamW(policy.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 60)
    loader = DataLoader(Rows(), 4, shuffle=True)
    model, optimizer, loader, schedule = accelerator.prepare(policy, optimizer, loader, schedule)
    settings = GuardSettings(data="replay", every=5, patience=0)
    guard = guard_for(
        accelerator, model, [optimizer], schedulers=[schedule], emitter=emitter, settings=settings
    )
    torch.manual_seed(3)
    for step, batches in guard.batches(loader, accumulate=2, steps=40):
        if step == 25 and back:
            emitter.orders.append(Order("rollback"))
            back = False
        for batch in batches:
            with accelerator.accumulate(model):
                loss = model(**batch)["loss"]
                accelerator.backward(loss)
                if not accelerator.sync_gradients or guard.check(step, loss=loss.detach()):
                    optimizer.step()
                    schedule.step()
                optimizer.zero_grad()
        guard.after_step(step)
    guard.close()
    with deepspeed.zero.GatheredParameters(list(policy.parameters())):
        weights = [parameter.tolist() for parameter in policy.parameters()]
    rollbacks = [data["ok"] for _, data in emitter.kinds("rollback")]
    return [weights, model.global_steps, model.get_lr()], rollbacks

print("RESULT" + json.dumps([trained(False), trained(True)]), flush=True)
"""


@pytest.mark.parametrize("stage", [2, 3])
def test_accelerate_under_deepspeed_goes_back_bit_for_bit(stage: int, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="needs the extra integrations")
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29585"}
    done = subprocess.run(
        [sys.executable, "-c", ACCELERATE, str(stage)], capture_output=True, text=True,
        timeout=300, cwd=tmp_path, env=environment(**alone, ACCELERATE_USE_DEEPSPEED="true"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (quiet, none), (back, rolled) = json.loads(done.stdout.split("RESULT")[1].splitlines()[0])
    assert (none, rolled) == ([], [True])
    assert quiet == back
