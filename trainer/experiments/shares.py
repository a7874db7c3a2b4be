"""Share of the total by value against share of the pull on the trunk, in a short training."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainer.config import load
from trainer.data.dataset import TabletopData, load_or_fit_codebook
from trainer.data.embedding import start_from_meaning
from trainer.data.sampler import Sampler
from trainer.model.batch import collate
from trainer.model.vla import VLA
from trainer.objectives import Objectives
from trainer.objectives.pull import measure_pull

EVERY = 5
"""Steps between two measurements: closer than a training would, for a smooth figure."""
TERMS = ("closs", "loss_ct", "z_loss")


@dataclass(frozen=True, slots=True)
class Shares:
    """One measured step."""

    step: int
    value: dict[str, float]
    """Share of each weighted loss in the total."""
    pull: dict[str, float]
    """Share of each in the gradient on the last down_proj."""
    cosine: float
    """Between closs and loss_ct, on the same weight."""


def main(docs: Path, preset: str, steps: int) -> None:
    """Trains, draws `images/shares.svg` and prints the table that docs/objectives.md quotes."""
    measured = train(preset, steps)
    draw(measured, docs / "images" / "shares.svg")
    print("| steps | closs value / pull | loss_ct value / pull | z_loss value / pull | cosine |")
    print("|---|---|---|---|---|")
    for start in range(0, steps, max(1, steps // 4)):
        chosen = [row for row in measured if start <= row.step < start + max(1, steps // 4)]
        cells = [
            f"{np.mean([row.value[name] for row in chosen]):.2%}"
            f" / {np.mean([row.pull[name] for row in chosen]):.2%}"
            for name in TERMS
        ]
        cosine = np.mean([row.cosine for row in chosen])
        print(f"| {start}–{chosen[-1].step} | {' | '.join(cells)} | {cosine:+.3f} |")


def train(preset: str, steps: int) -> list[Shares]:
    """A plain training of a preset; steps whose batch has no action are left out."""
    config = load(preset)
    torch.manual_seed(0)
    model = VLA(config.model)
    with tempfile.TemporaryDirectory() as folder:
        book = load_or_fit_codebook(config.data, Path(folder) / "codebook.npz")
    start_from_meaning(model, book)
    data = TabletopData(config.data, book, "train")
    sampler = Sampler(
        data.frames, batch=config.loop.batch, world_share=config.data.world_share, seed=0
    )
    objectives = Objectives(config.weights)
    optimizer = torch.optim.AdamW(model.parameters(), config.optim.lr, betas=config.optim.betas)
    measured: list[Shares] = []
    for step in range(steps):
        batch = collate([data.sample(sample) for sample in sampler.draw().sample_ids])
        due = step % EVERY == 0
        outputs = model(batch, trace=due)
        losses = objectives(outputs)
        if due and "loss_ct" in losses.values:
            pull = measure_pull(model, outputs, objectives)
            weighted = {name: losses.weights[name] * losses.values[name].item() for name in TERMS}
            total = sum(weighted.values())
            measured.append(
                Shares(
                    step,
                    {name: weighted[name] / total for name in TERMS},
                    {name: float(pull.shares[name]) for name in TERMS},
                    float(pull.cosines["closs", "loss_ct"]),
                )
            )
        torch.autograd.backward(losses.total)
        nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_grad)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return measured


def draw(measured: list[Shares], plot: Path) -> None:
    """Value share dashed, pull share solid, a colour a term; the cosine below.

    z_loss is in the table alone: both its shares lie below a tenth of a percent.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vlamon"
    from matplotlib import pyplot

    steps = [row.step for row in measured]
    figure, (upper, lower) = pyplot.subplots(
        2, 1, figsize=(9, 6), sharex=True, height_ratios=(3, 1)
    )
    for index, name in enumerate(TERMS[:2]):
        colour = f"C{index}"
        upper.plot(steps, [row.value[name] for row in measured], "--", color=colour, lw=1.2)
        upper.plot(steps, [row.pull[name] for row in measured], color=colour, lw=1.6, label=name)
    upper.plot([], [], "--", color="grey", label="share of the total by value")
    upper.plot([], [], color="grey", label="share of the pull on the trunk")
    upper.set_ylabel("closs, loss_ct: share of the whole")
    upper.set_ylim(0, 1)
    upper.yaxis.set_major_formatter("{x:.0%}")
    upper.legend(fontsize=8, ncols=2)
    upper.grid(alpha=0.3)
    lower.plot(steps, [row.cosine for row in measured], color="black", lw=1)
    lower.axhline(0, color="grey", lw=0.8, ls=":")
    lower.set_ylabel("cosine\ncloss, loss_ct")
    lower.set_xlabel("step")
    lower.grid(alpha=0.3)
    figure.tight_layout()
    plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(plot, metadata={"Date": None})
    pyplot.close(figure)
