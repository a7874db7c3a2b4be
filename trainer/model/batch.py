"""What the data hands to the model: token rows, their labels and who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from trainer.model import tokens
from trainer.model.layout import Layout, find_layout

SampleKind = Literal["policy", "world"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One row before it is padded."""

    input_ids: Sequence[int]
    """Tokens, beginning with BOS."""
    labels: Sequence[int]
    """The same tokens where they are trained, -100 where they are not."""
    sample_id: int
    """Index that names the sample in the data set, for ever."""
    kind: SampleKind = "policy"
    """`policy` (actions are the target) or `world` (the next images are)."""
    source: str = ""
    """File or episode that it came from."""


@dataclass(frozen=True, slots=True)
class Masked:
    """Image codes of the prompt that were hidden from the model."""

    at: Tensor
    """[K] flat positions (row · T + t), whose hidden states have to guess the code there."""
    codes: Tensor
    """[K] ids of the codes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded rows on one device, with the layout found when they were collated."""

    input_ids: Tensor
    """[B, T] tokens, padded with 0 on the right."""
    labels: Tensor
    """[B, T] labels, -100 where nothing is trained."""
    lengths: Tensor
    """[B] tokens of each row without its padding."""
    layout: Layout
    """Where labels, action blocks and prefixes sit."""
    sample_ids: tuple[int, ...] = ()
    """Which samples these are, in row order."""
    kinds: tuple[SampleKind, ...] = ()
    """Kind of each row."""
    sources: tuple[str, ...] = ()
    """Origin of each row."""
    masked: Masked | None = None
    """Image codes hidden for masked reconstruction; None without it."""

    @property
    def rows(self) -> int:
        """Number of samples."""
        return int(self.input_ids.shape[0])

    @property
    def tokens(self) -> int:
        """Number of tokens, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on a device."""
        masked = self.masked
        if masked is not None:
            masked = Masked(
                masked.at.to(device, non_blocking=non_blocking),
                masked.codes.to(device, non_blocking=non_blocking),
            )
        return replace(
            self,
            masked=masked,
            input_ids=self.input_ids.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            lengths=self.lengths.to(device, non_blocking=non_blocking),
            layout=self.layout.to(device, non_blocking=non_blocking),
        )

    def with_labels(self, labels: Tensor) -> Batch:
        """The same rows with other labels (host tensors), and the layout that belongs to them."""
        return replace(self, labels=labels, layout=find_layout(self.input_ids, labels))


def collate(samples: Sequence[Sample]) -> Batch:
    """Rows of one batch, padded to the longest."""
    if not samples:
        raise ValueError("a batch needs at least one sample")
    longest = max(len(sample.input_ids) for sample in samples)
    input_ids = torch.full((len(samples), longest), tokens.PAD, dtype=torch.int64)
    labels = torch.full_like(input_ids, tokens.IGNORE)
    for row, sample in enumerate(samples):
        if len(sample.labels) != len(sample.input_ids):
            raise ValueError(
                f"sample {sample.sample_id} has {len(sample.input_ids)} tokens"
                f" but {len(sample.labels)} labels"
            )
        input_ids[row, : len(sample.input_ids)] = torch.as_tensor(sample.input_ids)
        labels[row, : len(sample.labels)] = torch.as_tensor(sample.labels)
    return Batch(
        input_ids=input_ids,
        labels=labels,
        lengths=torch.tensor([len(sample.input_ids) for sample in samples]),
        layout=find_layout(input_ids, labels),
        sample_ids=tuple(sample.sample_id for sample in samples),
        kinds=tuple(sample.kind for sample in samples),
        sources=tuple(sample.source for sample in samples),
    )
