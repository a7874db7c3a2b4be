"""The one vocabulary of text, images, states and actions: ids, and the blocks built from them.

Every real id of the reference project is kept, so that its records and weights mean the same here.
Actions and states are normalised to [-1, 1] before they become bins.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

PAD = 0
"""Right padding; its label is IGNORE."""
BOS = 0
"""First token of a sample. Chameleon's `<s>` has the padding's id, so lengths are kept apart."""
MASK = 3
"""Stands for an image code that masked reconstruction has to guess (Chameleon's `<unk>`)."""
IGNORE = -100
"""Label of a position that is not trained."""

IMAGE_CODE_FIRST, IMAGE_CODES = 4, 8192
IMAGE_END, IMAGE_BEGIN = 8196, 8197
TURN = 8710
IMAGE_NEWLINE = 8803
GRID = 8804
"""A grid count n is written as GRID + n; one grid cell holds two rows (or columns) of codes."""
ACTION_BEGIN, ACTION_BIN_FIRST, ACTION_END = 10004, 10006, 15004
STATE_BEGIN, STATE_BIN_FIRST, STATE_END = 15504, 15506, 16004
BINS = 256
TEXT_FIRST = 16005
"""Ids from here to the end of the vocabulary are free for text."""

ACTION_DIMS = 7
STATE_DIMS = 8
ACTION_BLOCK = ACTION_DIMS + 2
"""Tokens of one action: begin, 7 bins, end."""

_EDGES: NDArray[np.float64] = np.linspace(-1.0, 1.0, BINS)
_CENTRES: NDArray[np.float64] = (_EDGES[:-1] + _EDGES[1:]) / 2


def encode_bins(values: ArrayLike, first: int) -> NDArray[np.int64]:
    """Ids of normalised values, `first` being the id of the lowest bin."""
    clipped = np.clip(np.asarray(values, dtype=np.float64), -1.0, 1.0)
    return np.digitize(clipped, _EDGES).astype(np.int64) + first - 1


def decode_bins(ids: ArrayLike, first: int) -> NDArray[np.float64]:
    """Bin centres of ids; an id outside the range decodes to the nearest end, ±0.99608."""
    offsets = np.clip(np.asarray(ids, dtype=np.int64) - first, 0, BINS - 2)
    return np.asarray(_CENTRES[offsets])


def decode_action_ids(ids: Tensor) -> Tensor:
    """`decode_bins` for action ids as float32, on the ids' own device."""
    offsets = (ids - ACTION_BIN_FIRST).clamp(0, BINS - 2).to(torch.float32)
    # Centre k lies half a step after edge k; computed rather than looked up, so nothing is copied
    # to the device.
    step = 2.0 / (BINS - 1)
    return (offsets + 0.5) * step - 1.0


def is_action_bin(ids: Tensor) -> Tensor:
    """Whether an id is one of the 256 action bins."""
    return (ids >= ACTION_BIN_FIRST) & (ids < ACTION_BIN_FIRST + BINS)


IMAGE_WEIGHT_IDS = {
    "reference": (IMAGE_CODE_FIRST - 1, IMAGE_CODE_FIRST + IMAGE_CODES - 1),
    "codes": (IMAGE_CODE_FIRST, IMAGE_CODE_FIRST + IMAGE_CODES),
}
"""First id with the image weight in closs, and the first one behind them. The reference weights ids
3 to 8194: one off, but it is what its closs means."""


def is_image_code(ids: Tensor) -> Tensor:
    """Whether an id is one of the 8192 image codes."""
    return (ids >= IMAGE_CODE_FIRST) & (ids < IMAGE_CODE_FIRST + IMAGE_CODES)


def action_block(action: ArrayLike) -> list[int]:
    """One normalised action of 7 dimensions as its 9 tokens."""
    return [ACTION_BEGIN, *_bins(action, ACTION_BIN_FIRST, ACTION_DIMS, "action"), ACTION_END]


def state_block(state: ArrayLike) -> list[int]:
    """One normalised state of 8 dimensions as its 10 tokens."""
    return [STATE_BEGIN, *_bins(state, STATE_BIN_FIRST, STATE_DIMS, "state"), STATE_END]


def image_block(codes: ArrayLike) -> list[int]:
    """Rows × columns of codes (0..8191) as tokens: begin, grid, rows with newlines, end."""
    grid = np.asarray(codes, dtype=np.int64)
    if grid.ndim != 2 or grid.min() < 0 or grid.max() >= IMAGE_CODES:
        raise ValueError(f"an image is rows × columns of codes 0..{IMAGE_CODES - 1}")
    rows, columns = grid.shape
    tokens = [IMAGE_BEGIN, GRID + rows // 2, GRID + columns // 2]
    for row in grid:
        tokens += [*(row + IMAGE_CODE_FIRST).tolist(), IMAGE_NEWLINE]
    return [*tokens, IMAGE_END]


def _bins(values: ArrayLike, first: int, dims: int, what: str) -> list[int]:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (dims,):
        raise ValueError(f"an {what} has {dims} dimensions, not shape {array.shape}")
    return [int(i) for i in encode_bins(array, first)]
