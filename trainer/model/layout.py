"""Where everything sits in a batch of token rows: labels, action blocks, prefixes, slots.

Found once on the host when a batch is collated, and shared by the attention mask, the ActionHead,
the losses and the metrics; so that the training step itself never asks the device a question.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.model import tokens

SLOTS = 10
"""Slots of the per-action metrics; the last action of a row always sits in slot 9."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions and targets of one batch; tensors move with the batch, plain numbers do not."""

    label_at: Tensor
    """[N] flat position (row · T + t) whose hidden state predicts a label-valid next token."""
    targets: Tensor
    """[N] the labels predicted there."""
    action_block: Tensor
    """[B, T] number (from 1) of the action block that a position is in, 0 outside."""
    after_images: Tensor
    """[B, T] whether the position belongs to an action block after the row's last image."""
    masks_actions: bool
    """Whether any row has an action block that must not see an earlier one."""
    policy_rows: Tensor
    """[P] rows with labelled actions."""
    prefix_length: Tensor
    """[P] positions before the first labelled action begin."""
    longest_prefix: int
    """Largest of `prefix_length`, 0 without policy rows."""
    actions: Tensor
    """[P, H, 7] actions decoded from the labels."""
    action_valid: Tensor
    """[P, H, 7] whether that dimension was labelled (a truncated block has fewer)."""
    labelled: tuple[int, ...]
    """Labelled dimensions of the batch by step of the chunk."""
    block: Tensor
    """[N] number of the labelled action or image block that a target is inside, -1 elsewhere."""
    block_slot: Tensor
    """[M] slot of each labelled block."""
    block_is_action: Tensor
    """[M] True for action blocks, False for image blocks."""
    block_size: Tensor
    """[M] targets inside each block, never 0."""
    slots_of_actions: tuple[int, ...]
    """Slots that have at least one action block, ascending."""
    slots_of_images: tuple[int, ...]
    """Slots that have at least one image block, ascending."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        """The same layout with its tensors on a device."""
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                moved[item.name] = value.to(device, non_blocking=non_blocking)
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class _Block:
    row: int
    number: int
    first: int
    end: int
    slot: int
    is_action: bool


def find_layout(input_ids: Tensor, labels: Tensor) -> Layout:
    """The layout of right-padded rows [B, T] held on the host."""
    ids = input_ids.numpy()
    wanted = labels.numpy()
    rows, length = ids.shape
    action_block = np.zeros((rows, length), dtype=np.int64)
    after_images = np.zeros((rows, length), dtype=np.bool_)
    block_of = np.full((rows, length), -1, dtype=np.int64)
    blocks: list[_Block] = []
    policy_rows: list[int] = []
    prefixes: list[int] = []
    masks_actions = False
    for row in range(rows):
        images = np.flatnonzero(ids[row] == tokens.IMAGE_END)
        last_image = int(images[-1]) if images.size else -1
        spans = _spans(ids[row], tokens.ACTION_BEGIN, tokens.ACTION_END)
        for number, (first, end) in enumerate(spans, start=1):
            stop = min(end + 1, length)
            action_block[row, first:stop] = number
            if first > last_image:
                after_images[row, first:stop] = True
                masks_actions |= number > 1
        labelled = _spans(wanted[row], tokens.ACTION_BEGIN, tokens.ACTION_END)
        if labelled:
            policy_rows.append(row)
            prefixes.append(labelled[0][0])
        _add_blocks(blocks, block_of, row, labelled, is_action=True)
        shown = _spans(wanted[row], tokens.IMAGE_BEGIN, tokens.IMAGE_END)
        _add_blocks(blocks, block_of, row, shown, is_action=False)

    valid = wanted[:, 1:] != tokens.IGNORE
    row_of, before = np.nonzero(valid)
    actions, action_valid = _decoded_actions(wanted, blocks, policy_rows)
    return Layout(
        label_at=torch.from_numpy(row_of * length + before),
        targets=torch.from_numpy(wanted[:, 1:][valid].astype(np.int64)),
        action_block=torch.from_numpy(action_block),
        after_images=torch.from_numpy(after_images),
        masks_actions=masks_actions,
        policy_rows=torch.tensor(policy_rows, dtype=torch.int64),
        prefix_length=torch.tensor(prefixes, dtype=torch.int64),
        longest_prefix=max(prefixes, default=0),
        actions=actions,
        action_valid=action_valid,
        labelled=tuple(action_valid.sum((0, 2)).tolist()),
        block=torch.from_numpy(block_of[:, 1:][valid]),
        block_slot=torch.tensor([b.slot for b in blocks], dtype=torch.int64),
        block_is_action=torch.tensor([b.is_action for b in blocks], dtype=torch.bool),
        block_size=torch.tensor([b.end - b.first for b in blocks], dtype=torch.int64),
        slots_of_actions=tuple(sorted({b.slot for b in blocks if b.is_action})),
        slots_of_images=tuple(sorted({b.slot for b in blocks if not b.is_action})),
    )


def _spans(row: NDArray[np.int64], begin: int, end: int) -> list[tuple[int, int]]:
    """(begin, end) positions of blocks; a block that is cut off ends where its tokens do."""
    found: list[tuple[int, int]] = []
    begins = np.flatnonzero(row == begin)
    ends = np.flatnonzero(row == end)
    for index, first in enumerate(begins):
        limit = int(begins[index + 1]) if index + 1 < begins.size else _filled(row, int(first))
        inside = ends[(ends > first) & (ends < limit)]
        found.append((int(first), int(inside[0]) if inside.size else limit))
    return found


def _filled(row: NDArray[np.int64], first: int) -> int:
    """Where the tokens that follow `first` stop: at the first ignored or padded position."""
    gone = np.flatnonzero((row[first:] == tokens.IGNORE) | (row[first:] == tokens.PAD))
    return first + int(gone[0]) if gone.size else len(row)


def _add_blocks(
    blocks: list[_Block],
    block_of: NDArray[np.int64],
    row: int,
    spans: list[tuple[int, int]],
    *,
    is_action: bool,
) -> None:
    """Right-aligned slots: slot = 10 − number of blocks + index; beyond ten they wrap around."""
    for index, (begin, end) in enumerate(spans):
        first = begin + 1
        if is_action:
            end = min(end, first + tokens.ACTION_DIMS)
        if end <= first:
            continue  # An empty block keeps its slot but has nothing to measure.
        block_of[row, first:end] = len(blocks)
        slot = (SLOTS - len(spans) + index) % SLOTS
        blocks.append(_Block(row, index, first, end, slot, is_action))


def _decoded_actions(
    wanted: NDArray[np.int64], blocks: list[_Block], policy_rows: list[int]
) -> tuple[Tensor, Tensor]:
    shown = [b for b in blocks if b.is_action]
    horizon = max((b.number + 1 for b in shown), default=0)
    actions = np.zeros((len(policy_rows), horizon, tokens.ACTION_DIMS), dtype=np.float32)
    valid = np.zeros(actions.shape, dtype=np.bool_)
    index_of = {row: index for index, row in enumerate(policy_rows)}
    for block in shown:
        dims = block.end - block.first
        ids = wanted[block.row, block.first : block.end]
        at = (index_of[block.row], block.number, slice(0, dims))
        actions[at] = tokens.decode_bins(ids, tokens.ACTION_BIN_FIRST)
        valid[at] = ids != tokens.IGNORE
    return torch.from_numpy(actions), torch.from_numpy(valid)
