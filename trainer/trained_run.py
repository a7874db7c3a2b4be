"""Reads what a run left in its directory: configuration, model, codebook."""

from __future__ import annotations

import json
from pathlib import Path

from trainer.config import TrainConfig, build
from trainer.data.codebook import Codebook
from trainer.model.vla import VLA
from trainer.seeding import seed_everything
from vlamon.guard import Durable


class Untrained(Exception):
    """There is nothing to roll out; the sentence is for the user."""


def load_run(run_dir: Path, trained: bool = True) -> tuple[TrainConfig, VLA, Codebook]:
    """Configuration, model and codebook of a run; `trained` false for the weights it began with."""
    description = run_dir / "run.json"
    if not description.is_file():
        raise Untrained(f"{run_dir} is no run directory: it has no run.json")
    said = json.loads(description.read_text())
    tables = said["config"]
    config = build({**tables, "model": {**tables["model"], "size": "micro"}}, str(description))
    book = Codebook.load(run_dir / "codebook.npz")
    seed_everything(said["seed"])
    model = VLA(config.model)
    if trained:
        loaded = Durable(run_dir / "checkpoints").load()
        if loaded is None:
            raise Untrained(f"{run_dir / 'checkpoints'} holds no checkpoint yet")
        try:
            model.load_state_dict(loaded.state["parts"]["model"])
        except (KeyError, RuntimeError) as error:
            said = str(error).split("\n")[-1].strip()
            raise Untrained(f"{loaded.path} does not fit {description}: {said}") from error
    return config, model.eval(), book
