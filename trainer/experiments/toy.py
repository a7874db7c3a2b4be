"""A policy small enough for hundreds of trainings: state tokens in, a chunk of actions out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.model import tokens
from trainer.model.batch import Batch, Sample, collate
from trainer.model.config import ActionHeadConfig, ModelConfig

HORIZON = 3
BATCH = 16
LEVELS = 5
"""Values a state dimension can take: few, so that their embeddings are learned within a run."""
DRIVING = 3
"""State dimensions that the controller listens to; the others distract."""
MODEL = ModelConfig(
    vocab=16640,
    hidden=32,
    layers=3,
    heads=2,
    ffn=64,
    head=ActionHeadConfig(width=32, ffn=64, heads=2, horizon=HORIZON),
)


class ToyTask:
    """A fixed nonlinear controller with noise; samples are real token rows."""

    def __init__(self, seed: int, train: int = 512, held_out: int = 128) -> None:
        random = np.random.default_rng((seed, 1))
        self.first = random.normal(0, 0.9, (DRIVING, 8))
        self.second = random.normal(0, 0.5, (8, HORIZON * tokens.ACTION_DIMS))
        self.train = [self._sample(random, index) for index in range(train)]
        held = [self._sample(random, train + index) for index in range(held_out)]
        self.held_out = collate(held)
        self.seed = seed

    def batches(self) -> Iterator[Batch]:
        """Endless epochs, shuffled by the seed."""
        random = np.random.default_rng((self.seed, 2))
        while True:
            order = random.permutation(len(self.train))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                yield collate([self.train[index] for index in order[start : start + BATCH]])

    def _sample(self, random: np.random.Generator, index: int) -> Sample:
        state = random.integers(0, LEVELS, tokens.STATE_DIMS) * 2 / (LEVELS - 1) - 1
        clean: NDArray[np.float64] = np.tanh(np.tanh(state[:DRIVING] @ self.first) @ self.second)
        noisy = clean.reshape(HORIZON, -1) + random.normal(0, 0.03, (HORIZON, tokens.ACTION_DIMS))
        prompt = [tokens.BOS, tokens.TEXT_FIRST, *tokens.state_block(state), tokens.TURN]
        target = [token for action in noisy for token in tokens.action_block(action)]
        return Sample(prompt + target, [tokens.IGNORE] * len(prompt) + target, index)
