"""The lines that docs/integrations gives for loops of other repositories, run in loops of their
shape: every batch arrives, and an explosion is taken back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from tests.vlamon.integrations.toy import Policy, Rows
from vlamon import Emitter
from vlamon.guard import Guard, GuardSettings
from vlamon.records import Event

PAGES = Path(__file__).parents[3] / "docs" / "integrations"
STEPS = 220
HOT = range(150, 152)
"""Steps that are trained with a thousand times the planned rate."""


def patched(page: str) -> list[str]:
    """The hunks of a page as they are once applied."""
    hunks = re.findall(r"^```diff\n(.*?)^```", (PAGES / page).read_text(), re.M | re.S)
    return [
        textwrap.dedent(re.sub(r"^[ +]", "", re.sub(r"^-.*\n", "", hunk, flags=re.M), flags=re.M))
        for hunk in hunks
    ]


class Loop:
    """A loop of someone's: the names that it has, a step of it, and what a hunk does in it."""

    def __init__(self, folder: Path, **names: Any) -> None:
        self.policy = Policy().train()
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), 3e-3)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: 1 - step / STEPS
        )
        self.folder = folder
        self.rows = Rows()
        self.names: dict[str, Any] = {
            "Emitter": lambda path, **given: Emitter(None, **given),
            "Guard": Guard,
            "GuardSettings": GuardSettings,
            "time": time,
            **names,
        }

    def forward(self, step: int) -> dict[str, torch.Tensor]:
        """The losses of a step, whose gradients are there; a hot step has the rate of one."""
        chosen = [(4 * step + i) % len(self.rows) for i in range(4)]
        batch = {key: torch.stack([self.rows[i][key] for i in chosen]) for key in ("x", "labels")}
        if step in HOT:
            self.optimizer.param_groups[0]["lr"] *= 1000
        return self.policy(**batch)

    def run(self, code: str) -> None:
        exec(code, self.names)

    def ended(self) -> tuple[list[tuple[int, dict[str, float]]], list[Event]]:
        """The rows and events of the journal."""
        me = self.names.get("self")
        (me.emitter if hasattr(me, "emitter") else self.names["emitter"]).close()
        records = journal_of(self.folder)
        return rows_of(records), of_type(records, Event)

    def assert_all_is_seen_and_the_explosion_taken_back(self, **named: str) -> None:
        """`named`: what the page logs, and which of the policy's losses it is."""
        rows, events = self.ended()
        assert [step for step, _ in rows] == list(range(STEPS))
        for name, seen in named.items():
            assert [values[name] for _, values in rows] == [b[seen] for b in self.policy.seen]
        (rollback,) = [event for event in events if event.kind == "rollback"]
        assert rollback.data["to"] < HOT.start <= rollback.step
        usual = sum(batch["loss"] for batch in self.policy.seen[140:150]) / 10
        assert sum(batch["loss"] for batch in self.policy.seen[-10:]) / 10 < 1.5 * usual


def test_openvla_oft(tmp_path: Path) -> None:
    setup, update = patched("openvla.md")
    loop = Loop(tmp_path, run_id="goal", run_dir=tmp_path)
    cfg = SimpleNamespace(grad_accumulation_steps=1, max_steps=STEPS, resume=False)
    loop.names |= {"cfg": cfg, "vla": loop.policy.trunk[:1], "optimizer": loop.optimizer}
    loop.names["scheduler"] = loop.scheduler  # the optimizer has more than `vla`, as there
    loop.run(setup)
    for batch_idx in range(STEPS):
        output = loop.forward(batch_idx)
        output["loss"].backward()
        metrics = {"curr_action_l1_loss": output["loss_ct"].item()}
        given = {"loss": output["loss"], "metrics": metrics, "log_step": batch_idx}
        loop.names |= {"batch_idx": batch_idx, **given}
        loop.run(update)
    loop.assert_all_is_seen_and_the_explosion_taken_back(loss="loss", curr_action_l1_loss="loss_ct")


def test_cogact(tmp_path: Path) -> None:
    setup, update = patched("cogact.md")
    metrics = SimpleNamespace(run_id="goal", run_dir=tmp_path, global_step=0, get_status=str)
    loop = Loop(tmp_path, metrics=metrics)
    me = SimpleNamespace(vlm=loop.policy, optimizer=loop.optimizer, max_steps=STEPS)
    me.lr_scheduler = loop.scheduler
    loop.names["self"] = me
    loop.run(setup)
    for step in range(STEPS):
        loss = loop.forward(step)["loss"]
        loss.backward()
        loop.names["loss"] = loss
        loop.run(update)
        metrics.global_step += 1
    loop.assert_all_is_seen_and_the_explosion_taken_back(loss="loss")


def test_openpi_in_pytorch(tmp_path: Path) -> None:
    setup, update, *_ = patched("openpi.md")
    config = SimpleNamespace(exp_name="goal", checkpoint_dir=tmp_path, num_train_steps=STEPS)
    loop = Loop(tmp_path, config=config, global_step=0)
    loop.names |= {"model": loop.policy, "optim": loop.optimizer}
    loop.run(setup)
    for step in range(STEPS):
        loop.optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / STEPS)
        loss = loop.forward(step)["loss"]
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(loop.policy.parameters(), 1e9)
        loop.names |= {"loss": loss, "grad_norm": norm, "global_step": step}
        loop.run(update)
    loop.assert_all_is_seen_and_the_explosion_taken_back(loss="loss")


class Accelerated:
    """As much of starVLA's and RDT's loop as is Accelerate's."""

    def __init__(self, folder: Path) -> None:
        self.accelerate = pytest.importorskip("accelerate", reason="needs the extra accelerate")
        self.loop = Loop(folder)
        self.accelerator = self.accelerate.Accelerator(cpu=True)
        self.model, self.optimizer = self.accelerator.prepare(self.loop.policy, self.loop.optimizer)
        guard_for = self._guard_for()
        self.loop.names |= {"guard_for": guard_for, "accelerator": self.accelerator}

    def _guard_for(self) -> Callable[..., Guard]:
        from vlamon.integrations.accelerate import guard_for

        return guard_for


def test_starvla(tmp_path: Path) -> None:
    watching, logging, setup, update = patched("starvla.md")
    made = Accelerated(tmp_path)
    loop = made.loop
    config = SimpleNamespace(run_id="goal", output_dir=tmp_path)
    me = SimpleNamespace(
        config=config, model=made.model, optimizer=made.optimizer, lr_scheduler=loop.scheduler,
        accelerator=made.accelerator, completed_steps=0, _init_wandb=lambda: None,
    )  # fmt: skip
    loop.names["self"] = me
    loop.run(watching.replace(", watch=True", ""))
    loop.run(setup)
    log = logging.replace("self.optimizer.step()", "pass")
    for step in range(STEPS):
        output = loop.forward(step)
        made.accelerator.backward(output["closs"], retain_graph=True)
        made.accelerator.backward(10 * output["loss_ct"])
        loop.names |= {"action_loss": output["closs"], "vlm_loss": output["loss_ct"]}
        loop.run(log)
        loop.run(update)
        me.optimizer.zero_grad()
        me.completed_steps += 1
    loop.assert_all_is_seen_and_the_explosion_taken_back(
        action_dit_loss="closs", vlm_loss="loss_ct"
    )


def test_rdt(tmp_path: Path) -> None:
    setup, update = patched("rdt.md")
    made = Accelerated(tmp_path)
    loop = made.loop
    emitter = Emitter(None, run_dir=tmp_path)  # there it is the tap's
    loop.names |= {
        "rdt": made.model, "optimizer": made.optimizer, "lr_scheduler": loop.scheduler,
        "ema_rdt": torch.nn.Linear(2, 2), "weight_dtype": torch.float32, "emitter": emitter,
        "ema_model": SimpleNamespace(step=lambda model: None),
        "args": SimpleNamespace(max_grad_norm=1e9, set_grads_to_none=True),
    }  # fmt: skip
    loop.run(setup.replace("extras=", "emitter=emitter, extras="))
    for step in range(STEPS):
        loop.names |= {"loss": loop.forward(step)["loss"], "global_step": step}
        emitter.log(step, loss=loop.names["loss"])
        loop.run(update)
    loop.assert_all_is_seen_and_the_explosion_taken_back(loss="loss")


def jax_training() -> Any:
    """A jitted step that returns what octo's and openpi's do, and a first state."""
    jax = pytest.importorskip("jax", reason="needs the extra jax")
    jnp = jax.numpy
    x = jax.random.normal(jax.random.key(0), (64, 4))
    y = x @ jnp.ones((4, 2))

    @jax.jit
    def step(w: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda w: jnp.square(x @ w - y).mean())(w)
        info = {"loss": loss, "grad_norm": jnp.linalg.norm(gradient)}
        return w - 0.05 * gradient, info

    return step, jnp.zeros((4, 2))


def assert_rows(rows: list[tuple[int, dict[str, float]]], infos: list[Any]) -> None:
    assert [step for step, _ in rows] == list(range(60))
    for (_, values), info in zip(rows, infos, strict=True):
        assert values == {name: float(value) for name, value in info.items()}


def test_openpi_in_jax(tmp_path: Path) -> None:
    *_, setup, update = patched("openpi.md")
    train_step, state = jax_training()
    config = SimpleNamespace(exp_name="goal", checkpoint_dir=tmp_path, num_train_steps=60)
    loop = Loop(tmp_path, config=config, train_state=state, train_rng=None, batch=None)
    loop.names["ptrain_step"] = lambda rng, state, batch: train_step(state)
    loop.names["mesh"] = None
    loop.names["sharding"] = SimpleNamespace(set_mesh=lambda mesh: nullcontext())
    loop.run(setup)
    for step in range(60):
        loop.names["step"] = step
        loop.run(update)
    rows, _ = loop.ended()
    assert_rows(rows, loop.names["infos"])


def test_octo(tmp_path: Path) -> None:
    setup, update = patched("octo.md")
    train_step, state = jax_training()
    flags = SimpleNamespace(name="goal", config=SimpleNamespace(num_steps=60))
    loop = Loop(tmp_path, FLAGS=flags, save_dir=tmp_path, train_state=state, batch=None)
    loop.names |= {
        "Timer": lambda: lambda name: nullcontext(),
        "flatten_dict": lambda tree, sep: {f"action{sep}{k}": v for k, v in tree["action"].items()},
    }
    infos: list[Any] = []

    def nested(state: Any, batch: Any) -> Any:
        state, info = train_step(state)
        infos.append({f"action/{name}": value for name, value in info.items()})
        return state, {"action": info}

    loop.names["train_step"] = nested
    loop.run(setup)
    for step in range(60):
        loop.names["i"] = step
        loop.run(update)
    rows, _ = loop.ended()
    assert_rows(rows, infos)


TORCHRUN = """
import sys, torch, torch.distributed
sys.path.insert(0, {root!r})
from tests.vlamon.integrations.toy import Policy, Rows
torch.distributed.init_process_group("gloo")
policy = Policy().train()
model = torch.nn.parallel.DistributedDataParallel(policy)
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 1000)
rows, taken = Rows(), [0]
sampler = torch.utils.data.DistributedSampler(rows)
loader = torch.utils.data.DataLoader(rows, 4, sampler=sampler)
once = [150]

def heat(*_):
    if once and scheduler.last_epoch == once[0]:
        once.pop(0)
        optimizer.param_groups[0]["lr"] *= 1000

optimizer.register_step_pre_hook(heat)
{code}
torch.distributed.destroy_process_group()
before, after = policy.seen[120:140], policy.seen[-20:]
print("level", sum(row["loss"] for row in after) / sum(row["loss"] for row in before))
"""


def test_a_loop_under_torchrun(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (PAGES / "pytorch.md").read_text(), re.M | re.S)
    script = tmp_path / "train.py"
    code = code.replace("steps=1000", "steps=300")
    script.write_text(TORCHRUN.format(root=str(PAGES.parents[1]), code=code))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env={**os.environ, "VLAMON_SOCKET": str(tmp_path / "s.sock")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    levels = [float(level) for level in re.findall(r"level (\S+)", done.stdout)]
    assert len(levels) == 2
    assert max(levels) < 1.3
    records = journal_of(tmp_path / "runs" / "a")
    first = next(event for event in of_type(records, Event) if event.kind == "rollback")
    assert first.data["to"] < 150 <= first.step
    assert rows_of(records)[-1][0] == 299


def test_the_hunks_are_those_of_a_file_and_no_more_than_a_few_lines() -> None:
    for page in ("openvla", "cogact", "openpi", "octo", "starvla", "rdt"):
        added = sum(line.startswith("+") for line in (PAGES / f"{page}.md").read_text().split("\n"))
        assert 2 <= added <= 9
