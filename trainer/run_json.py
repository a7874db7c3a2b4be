"""`run.json`: the configuration in force, and what a resume may not change of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config import ConfigError, TrainConfig, as_tables, difference
from trainer.objectives import Objectives
from trainer.optimisation import Clipping
from vlamon.whole_file import put_whole


def read_description(path: Path) -> dict[str, Any]:
    """What `write_description` wrote; ConfigError where somebody or a disk changed it."""
    try:
        description: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}; choose another --run-dir") from None
    tables = description.get("config") if isinstance(description, dict) else None
    if not isinstance(tables, dict) or not all(isinstance(part, dict) for part in tables.values()):
        raise ConfigError(f"{path} is no description of a run; choose another --run-dir")
    return description


def refuse_another_run(config: TrainConfig, run_dir: Path) -> None:
    """A resumed run must have been asked for the same model, data and optimizer."""
    path = run_dir / "run.json"
    if not path.exists():
        return
    before = read_description(path)["config"]
    for section in ("model", "data"):
        changed = difference(getattr(config, section), before.get(section, {}), section)
        if changed:
            raise ConfigError(
                f"{path} was written with another [{section}] ({changed}): resume with the same"
                " preset and --set, or choose another --run-dir"
            )
    name = before.get("optim", {}).get("name", config.optim.name)
    if name != config.optim.name:
        raise ConfigError(
            f"{path} was written with optim.name={name}, and {config.optim.name} cannot go on with"
            " its moments: resume with the same optimizer, or choose another --run-dir"
        )


def in_force(config: TrainConfig, objectives: Objectives, clipping: Clipping) -> TrainConfig:
    """The configuration with the weights and the clipping that a checkpoint brought."""
    return replace(
        config,
        weights=objectives.differing(),
        optim=replace(config.optim, clip_grad=clipping.limit),
    )


def write_description(config: TrainConfig, run_dir: Path, seed: int, ranks: int) -> None:
    """Write `run.json`; where the disk refuses, the one before it stays whole."""
    description = {"config": as_tables(config), "seed": seed, "ranks": ranks}
    document = json.dumps(description, indent=1) + "\n"
    put_whole(run_dir / "run.json", document.encode(), run_dir / ".run.json.new")
