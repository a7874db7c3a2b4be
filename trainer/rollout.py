"""`python -m trainer.rollout RUN_DIR`: let the policy act on the tabletop and count its arrivals.

Episodes are the held-out ones. The policy sees what a training row shows (question, state, two
images), gives a chunk of actions by one of its two ways, executes the first few, and looks again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from trainer.data import tabletop
from trainer.data.dataset import TabletopData
from trainer.data.dialogue import policy_prompt
from trainer.data.tabletop import EPISODE_STEPS, SUCCESS_RADIUS, Scene
from trainer.model import tokens
from trainer.model.batch import Batch, Sample, collate
from trainer.trained_run import Untrained, load_run
from vlamon.guard import DurableError

Act = Callable[[Batch], Tensor]
PATHS = ("head", "tokens")
BATCH = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How rollouts of one task went."""

    episodes: int
    """Rollouts made."""
    reached: int
    """Those that came within the success radius at some step."""
    distance: float
    """Median distance at the end, in table units."""


def roll_out(act: Act, data: TabletopData, starts: Sequence[Scene], execute: int) -> Outcome:
    """Act from each start until it is reached or the task's time is over."""
    reached, distances = 0, []
    for begin in range(0, len(starts), BATCH):
        histories = [[scene] for scene in starts[begin : begin + BATCH]]
        done = [scene.done() for scene in starts[begin : begin + BATCH]]
        steps = EPISODE_STEPS[starts[begin].task]
        for _ in range(-(-steps // execute)):
            live = [i for i, finished in enumerate(done) if not finished]
            if not live:
                break
            batch = _prompts(data, [histories[i] for i in live])
            actions = act(batch).float().cpu().numpy()
            for i, chunk in zip(live, actions, strict=True):
                for action in chunk[:execute]:
                    if len(histories[i]) <= steps and not done[i]:
                        histories[i].append(tabletop.apply(histories[i][-1], action.tolist()))
                        done[i] = histories[i][-1].done()
        reached += sum(done)
        distances += [history[-1].distance() for history in histories]
    return Outcome(len(starts), reached, float(np.median(distances)))


def _prompts(data: TabletopData, histories: Sequence[Sequence[Scene]]) -> Batch:
    rows = []
    for history in histories:
        scene = history[-1]
        prompt = policy_prompt(scene.instruction, scene.state(), data.observe(history))
        rows.append(Sample(prompt, [tokens.IGNORE] * len(prompt), sample_id=0))
    return collate(rows)


def starts_of(data: TabletopData, task: str, episodes: int) -> list[Scene]:
    """The first scenes of held-out episodes of one task."""
    return [e.scenes[0] for e in data.episodes if e.scenes[0].task == task][:episodes]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--episodes", default=100, show_default=True, type=click.IntRange(min=1))
@click.option("--path", "paths", type=click.Choice(PATHS), multiple=True, default=PATHS)
@click.option("--task", "tasks", type=click.Choice(list(EPISODE_STEPS)), multiple=True)
@click.option("--split", type=click.Choice(["val_ind", "val_ood"]), default="val_ind")
@click.option("--execute", type=click.IntRange(min=1), help="Actions of a chunk that are executed.")
@click.option("--untrained/--trained-only", default=True, help="Also roll out the first weights.")
def main(
    run_dir: Path,
    episodes: int,
    paths: tuple[str, ...],
    tasks: tuple[str, ...],
    split: str,
    execute: int | None,
    untrained: bool,
) -> None:
    """Roll a trained policy out in the tabletop and print how often it arrives."""
    try:
        config, model, book = load_run(run_dir)
        _, fresh, _ = load_run(run_dir, trained=False)
    except (Untrained, DurableError) as error:
        click.echo(f"trainer.rollout: {error}", err=True)
        sys.exit(2)
    # Enough held-out episodes for both tasks.
    wanted = int(episodes / max(0.05, min(config.data.push_share, 1 - config.data.push_share)) * 2)
    data = TabletopData(config.data.with_validation(wanted), book, split)
    execute = min(execute or 2, config.data.horizon)
    click.echo(f"success: within {SUCCESS_RADIUS} table units; {execute} actions a look; {split}")
    click.echo("| task | path | weights | reached | of | median final distance |")
    click.echo("|---|---|---|---|---|---|")
    for task in tasks or tuple(EPISODE_STEPS):
        starts = starts_of(data, task, episodes)
        if not starts:
            continue
        for path in paths:
            for name, weights in (("trained", model), ("untrained", fresh))[: 1 + untrained]:
                act: Act = weights.act_head if path == "head" else weights.act_tokens
                with torch.no_grad():
                    outcome = roll_out(act, data, starts, execute)
                # Token by token this takes minutes: show each row as soon as it is known.
                click.echo(
                    f"| {task} | {path} | {name} | {outcome.reached} | {outcome.episodes} |"
                    f" {outcome.distance:.3f} |"
                )


if __name__ == "__main__":
    main()
