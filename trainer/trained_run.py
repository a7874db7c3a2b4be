"""Reads what a run left in its directory: configuration, model, codebook."""

from __future__ import annotations

from pathlib import Path

from trainer.config import ConfigError, TrainConfig, build
from trainer.data.codebook import Codebook
from trainer.model.vla import VLA
from trainer.run_json import read_description
from trainer.seeding import seed_everything
from vlamon.guard import Durable


class Untrained(Exception):
    """There is nothing to roll out; the sentence is for the user."""


def load_run(run_dir: Path, trained: bool = True) -> tuple[TrainConfig, VLA, Codebook]:
    """Configuration, model and codebook of a run; `trained` false for the weights it began with."""
    description = run_dir / "run.json"
    if not description.is_file():
        raise Untrained(f"{run_dir} is no run directory: it has no run.json")
    try:
        said = read_description(description)
        model_table = {**said["config"].get("model", {}), "size": "micro"}
        config = build({**said["config"], "model": model_table}, str(description))
    except ConfigError as error:
        raise Untrained(str(error)) from None
    book = Codebook.load(run_dir / "codebook.npz")
    seed = said.get("seed")
    if type(seed) is not int:
        raise Untrained(f"{description} names no seed")
    seed_everything(seed)
    model = VLA(config.model)
    if trained:
        loaded = Durable(run_dir / "checkpoints").load()
        if loaded is None:
            raise Untrained(f"{run_dir / 'checkpoints'} holds no checkpoint yet")
        try:
            model.load_state_dict(loaded.state["parts"]["model"])
        except (KeyError, RuntimeError) as error:
            last = str(error).split("\n")[-1].strip()
            raise Untrained(f"{loaded.path} does not fit {description}: {last}") from error
    return config, model.eval(), book
