"""What the guard's autopsy asks of this training: measure a batch, and train a step once more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import build
from trainer.evaluation_mode import evaluating
from trainer.model.batch import Batch
from trainer.model.layout import find_layout
from trainer.model.vla import VLA, Outputs
from trainer.objectives.design import LossDesign
from trainer.objectives.terms.closs import token_weight
from trainer.optimisation import Optimisation, make_optimizer
from trainer.run import Run
from trainer.step import compute, update
from vlamon.guard import ProbeResult


@torch.no_grad()
def probe(optimisation: Optimisation, batches: Sequence[Batch | Mapping[str, Any]]) -> ProbeResult:
    """Losses of a step's batches on the weights as they are, closs per sample, and which modules
    returned non-finite numbers."""
    sums: dict[str, list[Tensor]] = {}
    per_sample: list[float] = []
    samples: list[dict[str, Any]] = []
    with evaluating(optimisation.model), _non_finite(optimisation.model) as non_finite:
        for given in batches:
            batch = given if isinstance(given, Batch) else _unpacked(given)
            outputs = optimisation.model(batch)
            for name, value in optimisation.objectives(outputs).values.items():
                sums.setdefault(name, []).append(value)
            per_sample += closs_per_row(outputs).tolist()
            samples += [
                {"id": name, "source": source, "kind": kind}
                for name, source, kind in zip(
                    batch.sample_ids, batch.sources, batch.kinds, strict=True
                )
            ]
    values = {name: float(torch.stack(each).mean()) for name, each in sums.items()}
    return ProbeResult(values=values, per_sample=per_sample, samples=samples, non_finite=non_finite)


def closs_per_row(outputs: Outputs) -> Tensor:
    """The closs of each row by itself, image codes weighted as in the whole."""
    tokens, batch = outputs.tokens, outputs.batch
    row = batch.layout.label_at // batch.input_ids.shape[1]
    weight = token_weight(outputs)
    loss = weight * (tokens.logsumexp - tokens.target_logit)
    zeros = torch.zeros(batch.rows, device=loss.device)
    return zeros.index_add(0, row, loss) / zeros.index_add(0, row, weight).clamp(min=1e-9)


def replay(run: Run, step: int) -> Mapping[str, float]:
    """One whole step without telling anyone: the same samples, faults and random numbers."""
    computed = compute(run, step)
    values = {name: float(value) for name, value in computed.losses.items()}
    if computed.grad_norm is not None:
        values["grad_norm"] = float(computed.grad_norm)
    update(run, computed, finite=all(math.isfinite(value) for value in values.values()))
    return values


def rebuild(config: Mapping[str, Any]) -> tuple[nn.Module, Any]:
    """Model and probe in a process of their own, for `python -m vlamon.guard replay`."""
    tables = dict(config["config"])
    trained = build({**tables, "model": {**tables["model"], "size": "micro"}}, "the kept explosion")
    model = VLA(trained.model)
    design = LossDesign(model, trained.objectives, trained.weights)
    optimisation = Optimisation(model, model, design, make_optimizer(model, trained.optim))
    return model, lambda batches: probe(optimisation, batches)


def _unpacked(packed: Mapping[str, Any]) -> Batch:
    """A batch that was kept as plain containers."""
    ids, labels = packed["input_ids"], packed["labels"]
    return Batch(
        input_ids=ids,
        labels=labels,
        lengths=packed["lengths"],
        layout=find_layout(ids, labels),
        sample_ids=tuple(packed["sample_ids"]),
        kinds=tuple(packed["kinds"]),
        sources=tuple(packed["sources"]),
    )


@contextmanager
def _non_finite(model: nn.Module) -> Iterator[list[str]]:
    """Names of the leaf modules that return a non-finite number, in order of their calls."""
    found: list[str] = []

    def hook(name: str, output: object) -> None:
        if isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            found.append(name)

    hooks = [
        module.register_forward_hook(lambda _, args, output, name=name: hook(name, output))
        for name, module in model.named_modules()
        if name and not list(module.children())
    ]
    try:
        yield found
    finally:
        for handle in hooks:
            handle.remove()
