"""`python -m trainer.heldout RUN_DIR`: compares held-out losses with what needs no model.

Each kind of token is compared with its unigram entropy (what a table of frequencies scores) and,
for image codes, with that of their own cell; actions with the best constant one.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.dataset import TabletopData
from trainer.model import tokens
from trainer.model.batch import Batch
from trainer.model.vla import VLA
from trainer.trained_run import Untrained, load_run
from trainer.validation import held_out
from vlamon.guard import DurableError

KINDS = ("action bins", "image codes", "structure")


@dataclass
class Tally:
    """What the held-out batches showed."""

    loss: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Cross-entropy of every labelled token by kind."""
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The tokens themselves."""
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    """[rows, horizon, 7] labels."""
    head: list[NDArray[np.float32]] = field(default_factory=list)
    """[rows, horizon, 7] what the ActionHead says."""
    token_error: list[NDArray[np.float32]] = field(default_factory=list)
    """Absolute errors of the argmax tokens, decoded."""


def kind_of(ids: NDArray[np.int64]) -> NDArray[np.str_]:
    """The kind of each token."""
    first, codes = tokens.IMAGE_CODE_FIRST, tokens.IMAGE_CODES
    bins = (ids >= tokens.ACTION_BIN_FIRST) & (ids < tokens.ACTION_BIN_FIRST + tokens.BINS)
    image = (ids >= first) & (ids < first + codes)
    return np.where(bins, KINDS[0], np.where(image, KINDS[1], KINDS[2]))


@torch.no_grad()
def add(tally: Tally, model: VLA, batch: Batch) -> None:
    """Take a batch into the tally."""
    outputs = model(batch)
    found = outputs.tokens
    loss = (found.logsumexp - found.target_logit).float().numpy()
    targets = found.targets.numpy()
    kinds = kind_of(targets)
    for kind in KINDS:
        tally.loss[kind] += loss[kinds == kind].tolist()
        tally.seen[kind] += targets[kinds == kind].tolist()
    bins = torch.from_numpy(kinds == KINDS[0])
    decoded = [tokens.decode_action_ids(ids[bins]) for ids in (found.argmax, found.targets)]
    tally.token_error.append((decoded[0] - decoded[1]).abs().numpy())
    if outputs.actions is not None:
        tally.actions.append(batch.layout.actions.numpy())
        tally.head.append(outputs.actions.float().numpy())


def entropy(ids: list[int]) -> float:
    """Unigram entropy in nats."""
    _, counts = np.unique(ids, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def report(tally: Tally, centroids: int) -> list[str]:
    """The table as lines of Markdown."""
    lines = ["| held-out | model | without a model | ratio |", "|---|---|---|---|"]

    def row(what: str, model: float, other: float) -> None:
        lines.append(f"| {what} | {model:.4f} | {other:.4f} | {model / max(other, 1e-9):.2f} |")

    for kind in KINDS:
        if tally.loss[kind]:
            row(
                f"closs of {kind}, unigram entropy",
                float(np.mean(tally.loss[kind])),
                entropy(tally.seen[kind]),
            )
    codes = np.asarray(tally.seen[KINDS[1]]) - tokens.IMAGE_CODE_FIRST
    if len(codes):
        cells = codes // centroids
        within = [entropy(codes[cells == c].tolist()) * (cells == c).sum() for c in set(cells)]
        row(
            "closs of image codes, unigram entropy of the cell",
            float(np.mean(tally.loss[KINDS[1]])),
            float(np.sum(within) / len(codes)),
        )
    actions, head = np.concatenate(tally.actions), np.concatenate(tally.head)
    # The best constant under an L1 is the median, one for each place in the chunk and dimension.
    constant = float(np.abs(actions - np.median(actions, axis=0)).mean())
    row(
        "L1 of decoded tokens, best constant",
        float(np.concatenate(tally.token_error).mean()),
        constant,
    )
    row("loss_ct, best constant", float(np.abs(actions - head).mean()), constant)
    return lines


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--samples", default=512, show_default=True, type=click.IntRange(min=8))
@click.option("--split", type=click.Choice(["val_ind", "val_ood"]), default="val_ind")
def main(run_dir: Path, samples: int, split: str) -> None:
    """Compare a run's newest checkpoint with what needs no model, on held-out episodes."""
    try:
        config, model, book = load_run(run_dir)
    except (Untrained, DurableError) as error:
        click.echo(f"trainer.heldout: {error}", err=True)
        sys.exit(2)
    data = TabletopData(config.data.with_validation(max(32, samples // 6)), book, split)
    tally = Tally()
    for batch in held_out(data, samples, 16):
        add(tally, model, batch)
    click.echo("\n".join(report(tally, book.centroids.shape[1])))


if __name__ == "__main__":
    main()
