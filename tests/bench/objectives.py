"""Label-valid sliced objectives against full logits: same numbers, time and peak memory.

    python -m tests.bench.objectives

A policy batch of real block structure at vocabulary 65536, forward and backward from the hidden
states (the decoder is the same for both). Times are interleaved in one process; peaks are the rise
of resident memory in a process of their own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.trainer.rows import policy_sample
from trainer.model.batch import Batch, collate
from trainer.model.label_projection import project_labels
from trainer.model.tokens import IGNORE, IMAGE_WEIGHT_IDS

VOCAB, HIDDEN, ROWS, ROUNDS = 65536, 256, 8, 5
Z_WEIGHT, IMAGE_WEIGHT = 1e-5, 0.04
Form = Callable[[Tensor, Tensor, Batch], tuple[Tensor, Tensor, Tensor]]


def _weighted(ids: Tensor) -> Tensor:
    first, end = IMAGE_WEIGHT_IDS["reference"]
    return (ids >= first) & (ids < end)


def full_logits(hidden: Tensor, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """closs, z_loss and token accuracy as the reference computes them."""
    logits = (hidden @ weight.t())[:, :-1].flatten(0, 1)
    labels = batch.labels[:, 1:].flatten()
    valid = labels != IGNORE
    weights = torch.where(_weighted(labels), IMAGE_WEIGHT, 1.0) * valid
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    closs = (losses * weights).sum() / weights.sum()
    z_loss = logits.logsumexp(-1).square()[valid].mean()
    correct = (logits.argmax(-1) == labels)[valid].float().mean()
    return closs, z_loss, correct


def label_valid(hidden: Tensor, weight: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The same three numbers from one sliced pass over the label-valid positions."""
    layout = batch.layout
    tokens = project_labels(hidden.flatten(0, 1)[layout.label_at], weight, layout.targets)
    weights = torch.where(_weighted(tokens.targets), IMAGE_WEIGHT, 1.0)
    closs = (weights * (tokens.logsumexp - tokens.target_logit)).sum() / weights.sum()
    correct = (tokens.argmax == tokens.targets).float().mean()
    return closs, tokens.logsumexp.square().mean(), correct


FORMS: dict[str, Form] = {"full logits": full_logits, "label-valid, sliced": label_valid}


def inputs() -> tuple[Tensor, Tensor, Batch]:
    """Hidden states, head weights and a policy batch of 8 rows, ~220 tokens each."""
    torch.manual_seed(0)
    batch = collate([policy_sample(seed, side=8, words=12) for seed in range(ROWS)])
    hidden = torch.randn(*batch.input_ids.shape, HIDDEN, requires_grad=True)
    weight = (torch.randn(VOCAB, HIDDEN) * 0.05).requires_grad_()
    return hidden, weight, batch


def step(form: Form, hidden: Tensor, weight: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    """Values and gradients of one pass."""
    closs, z_loss, correct = form(hidden, weight, batch)
    grads = torch.autograd.grad(closs + Z_WEIGHT * z_loss, (hidden, weight))
    return closs.detach(), z_loss.detach(), correct, *grads


def peak(name: str) -> float:
    """Rise of resident memory in MiB during one step, in a fresh process."""
    script = f"from tests.bench.objectives import print_peak; print_peak({name!r})"
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return float(output.stdout)


def print_peak(name: str) -> None:
    """What the fresh process does. (ru_maxrss would inherit the parent's peak.)"""
    tensors = inputs()
    before = _kibibytes("VmRSS")
    step(FORMS[name], *tensors)
    print((_kibibytes("VmHWM") - before) / 1024)


def _kibibytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Prints the table."""
    tensors = inputs()
    results = {name: step(form, *tensors) for name, form in FORMS.items()}
    ours, naive = results["label-valid, sliced"], results["full logits"]
    value_gap = max(float((a - b).abs()) for a, b in zip(ours[:3], naive[:3], strict=True))
    grads = list(zip(ours[3:], naive[3:], strict=True))
    grad_gap = max(float((a - b).abs().max() / b.abs().max()) for a, b in grads)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(ROUNDS):
        for name, form in FORMS.items():
            began = time.perf_counter()
            step(form, *tensors)
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in times.items()}
    peaks = {name: peak(name) for name in FORMS}
    shape = "×".join(str(size) for size in tensors[2].input_ids.shape)
    print(f"policy batch {shape} tokens, vocabulary {VOCAB}, hidden {HIDDEN}; forward + backward\n")
    print("| form | time, median | × faster | peak memory | of naive |")
    print("|---|---|---|---|---|")
    for name in FORMS:
        faster = medians["full logits"] / medians[name]
        share = peaks[name] / peaks["full logits"]
        print(
            f"| {name} | {medians[name]:.3f} s | {faster:.1f} | {peaks[name]:.0f} MiB"
            f" | {share:.2f} |"
        )
    print(f"\nlargest difference: values {value_gap:.1e}, gradients {grad_gap:.1e} of the largest")


if __name__ == "__main__":
    main()
