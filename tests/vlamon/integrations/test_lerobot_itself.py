"""LeRobot's own `lerobot_train` on a CPU: ACT on a data set of states, made here, no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lerobot", reason="needs LeRobot, which has an environment (make test-lerobot)")

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import Event, RunInfo

ROOT = Path(__file__).parents[3]
PLUG_IN = ROOT / "packaging" / "lerobot"
STEPS = 200

TRAIN = """
import json, os, sys
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.scripts import lerobot_train
seen, hot = [], range(*json.loads(os.environ.get("HOT", "[0, 0]")))
forward, update = ACTPolicy.forward, lerobot_train.update_policy

def seeing(self, batch):
    loss, parts = forward(self, batch)
    seen.append({**parts, "loss": loss.item()})
    return loss, parts

def heated(tracker, policy, batch, optimizer, *args, **given):
    for group in optimizer.param_groups:
        group["lr"] = 1e-4 * (3000 if tracker.steps + 1 in hot else 1)
    return update(tracker, policy, batch, optimizer, *args, **given)

ACTPolicy.forward, lerobot_train.update_policy = seeing, heated
lerobot_train.main()
json.dump(seen, open("seen.json", "w"))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of a reach in the plane."""
    root = tmp_path_factory.mktemp("data") / "reach"
    state = {"dtype": "float32", "shape": (4,), "names": None}
    features = {
        "observation.state": state,
        "observation.environment_state": state,
        "action": {"dtype": "float32", "shape": (4,), "names": None},
    }
    made = LeRobotDataset.create("vlamon/reach", 10, features, root=root, use_videos=False)
    generator = np.random.default_rng(0)
    for _ in range(3):
        goal = generator.normal(size=4).astype(np.float32)
        at = np.zeros(4, np.float32)
        for _ in range(40):
            move = (0.1 * (goal - at)).astype(np.float32)
            made.add_frame(
                {"observation.state": at, "observation.environment_state": goal, "action": move,
                 "task": "reach"}
            )  # fmt: skip
            at = at + move
        made.save_episode()
    made.finalize()
    return root


def installed(folder: Path) -> Path:
    """The plug-in as pip leaves it behind, in a directory for PYTHONPATH."""
    site = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--target", str(site), str(PLUG_IN)],
        check=True,
    )  # fmt: skip
    return site


def train(folder: Path, data: Path, *before: str, **environment: str) -> list[dict[str, float]]:
    """`lerobot-train`; what the policy returned, batch by batch."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(TRAIN)
    path = [environment.pop("PLUG_IN", ""), str(ROOT)]
    subprocess.run(
        [*before, sys.executable, "train.py", "--dataset.repo_id=vlamon/reach",
         f"--dataset.root={data}", "--output_dir=out", "--policy.type=act", "--policy.device=cpu",
         "--policy.push_to_hub=false", "--policy.dim_model=32", "--policy.n_heads=2",
         "--policy.dim_feedforward=64", "--policy.n_encoder_layers=1", "--policy.chunk_size=8",
         "--policy.n_action_steps=8", "--policy.n_vae_encoder_layers=1", "--policy.latent_dim=4",
         "--policy.optimizer_lr=1e-4", "--batch_size=4", f"--steps={STEPS}", "--num_workers=0",
         "--log_freq=50", f"--save_freq={STEPS}", "--wandb.enable=false", "--seed=1"],
        cwd=folder, check=True, timeout=400,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
             "PYTHONPATH": os.pathsep.join(filter(None, path)),
             "VLAMON_SOCKET": str(folder / "s.sock"), **environment},
    )  # fmt: skip
    return json.loads((folder / "seen.json").read_text())


def weights_of(folder: Path) -> bytes:
    (saved,) = (folder / "out").glob(f"checkpoints/*{STEPS}/pretrained_model/model.safetensors")
    return saved.read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A training that knows nothing of vlamon."""
    folder = tmp_path_factory.mktemp("plain")
    train(folder, data)
    return folder


def test_the_plug_in_shows_every_batch_and_changes_no_bit(
    tmp_path: Path, data: Path, plain: Path
) -> None:
    seen = train(tmp_path, data, PLUG_IN=str(installed(tmp_path)), VLAMON_GUARD="auto")
    records = journal_of(tmp_path / "out")
    rows = rows_of(records)
    assert [step for step, _ in rows] == list(range(1, STEPS + 1))
    for name in ("loss", "l1_loss", "kld_loss"):
        assert [values[name] for _, values in rows] == [batch[name] for batch in seen]
    assert all("grad_norm" in values for _, values in rows)
    assert of_type(records, RunInfo)[-1].total_steps == STEPS
    assert weights_of(tmp_path) == weights_of(plain)


def test_an_explosion_is_taken_back(tmp_path: Path, data: Path, plain: Path) -> None:
    site, hot = str(installed(tmp_path)), {"HOT": "[150, 152]"}
    usual = json.loads((plain / "seen.json").read_text())
    lost = train(tmp_path / "lost", data, **hot)
    saved = train(tmp_path / "saved", data, PLUG_IN=site, VLAMON_GUARD="auto", **hot)

    def level(seen: list[dict[str, float]]) -> float:
        return sum(batch["loss"] for batch in seen[-20:]) / 20

    assert level(lost) > 1.5 * level(usual)
    assert level(saved) < 1.3 * level(usual)
    events = of_type(journal_of(tmp_path / "saved" / "out"), Event)
    (rollback,) = [event for event in events if event.kind == "rollback"]
    assert rollback.data["to"] < 150 <= rollback.step


def test_vlamon_run_shows_it_without_the_plug_in(tmp_path: Path, data: Path, plain: Path) -> None:
    run = [sys.executable, "-m", "vlamon", "run", "--run-dir", str(tmp_path / "run"), "--"]
    seen = train(tmp_path, data, *run)
    rows = rows_of(journal_of(tmp_path / "run"))
    assert [values["loss"] for _, values in rows] == [batch["loss"] for batch in seen]
    assert weights_of(tmp_path) == weights_of(plain)
