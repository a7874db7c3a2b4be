"""Embeddings and action queries that start apart from each other, by what they mean.

Eight thousand image codes, of which a training of half an hour sees most a few dozen times: started
at random, each would have to learn alone where it is and what it shows. Started from the codebook
(its patch, its place) and, for bins, from their value, neighbours share what they learn. From the
first step on they are parameters like any other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.data.codebook import Codebook
from trainer.model import tokens
from trainer.model.vla import VLA

STD = 0.1
"""Larger than the other weights' 0.02: what is known should outlast the first hundred updates."""
SHOWN, STRONGEST = 16, 8
"""Principal directions of a patch, and how many of them are also multiplied by the place."""
PRODUCTS = 2.0
"""How much louder the products are than their factors."""
_SEED = 31


@torch.no_grad()
def start_from_meaning(model: VLA, book: Codebook) -> None:
    """Fill the rows of image codes, state bins and action bins; the same for every seed.

    The ActionHead begins as a search.
    """
    embedding = model.model.embed_tokens
    model.action_head.begin_as_search()
    rng = np.random.default_rng(_SEED)
    width = embedding.weight.shape[1]
    first = tokens.IMAGE_CODE_FIRST
    codes = _code_features(book)
    _fill(embedding, first, codes @ _directions(rng, codes.shape[1], width))
    actions = _waves(np.linspace(-1.0, 1.0, tokens.BINS), 6)
    states = _state_features()
    _fill(embedding, tokens.STATE_BIN_FIRST, states @ _directions(rng, states.shape[1], width))
    _fill(embedding, tokens.ACTION_BIN_FIRST, actions @ _directions(rng, actions.shape[1], width))


def _state_features() -> NDArray[np.float64]:
    """(bins, features): which dimension a bin is of, its value there, and the two multiplied."""
    dim, place = np.divmod(np.arange(tokens.BINS), tokens.BINS // tokens.STATE_DIMS)
    value = 2.0 * (place + 0.5) / (tokens.BINS // tokens.STATE_DIMS) - 1.0
    which = np.eye(tokens.STATE_DIMS)[dim]
    return np.concatenate([which, PRODUCTS * which * value[:, None]], axis=-1)


def _code_features(book: Codebook) -> NDArray[np.float64]:
    """(codes, features): what the patch shows, where it is, and the two multiplied.

    Without the products a sum over tokens knows what is on the table and has lost where: the
    places of all cells add up to the same in every image.
    """
    cameras, cells = book.background.shape[:2]
    per_cell = book.centroids.shape[1]
    patches = book.centroids.reshape(cameras * per_cell, -1).astype(np.float64)
    _, _, principal = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
    shown = patches @ principal[:SHOWN].T
    shown = (shown / shown.std(0).mean()).reshape(cameras, 1, per_cell, SHOWN)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, book.grid)] * 2, indexing="ij"), -1)
    waves = np.concatenate([_waves(place[..., axis].reshape(-1), 4) for axis in range(2)], -1)
    camera = np.eye(2)[np.arange(cameras) % 2]
    shape = (cameras, cells, per_cell)
    what = np.broadcast_to(shown, (*shape, SHOWN))
    where = np.broadcast_to(waves[None, :, None], (*shape, 16))
    seen_by = np.broadcast_to(camera[:, None, None], (*shape, 2))
    axes = np.broadcast_to(place.reshape(1, cells, 1, 2), (*shape, 2))
    both = (what[..., :STRONGEST, None] * axes[..., None, :]).reshape(*shape, -1)
    both = (both[..., None] * seen_by[..., None, :]).reshape(*shape, -1)
    features = np.concatenate([what, where, seen_by, PRODUCTS * both], axis=-1)
    rows: NDArray[np.float64] = features.reshape(cameras * cells * per_cell, -1)
    return rows


def _waves(x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(n, 2 · count): the value itself, and waves of it, so that a linear layer can read it."""
    columns = [x]
    for k in range(1, count + 1):
        columns += [np.sin(k * np.pi * x / 2), np.cos(k * np.pi * x / 2)]
    return np.stack(columns[: 2 * count], axis=-1)


def _directions(rng: np.random.Generator, features: int, width: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = rng.normal(0.0, 1.0, (features, width)) / np.sqrt(features)
    return drawn


def _fill(embedding: nn.Embedding, first: int, rows: NDArray[np.float64]) -> None:
    rows = STD * rows / rows.std()
    weight = embedding.weight[first : first + len(rows)]
    weight.copy_(torch.from_numpy(rows).to(weight))
