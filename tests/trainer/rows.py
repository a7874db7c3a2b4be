"""Token rows for tests: real block structure, random content."""

from __future__ import annotations

import numpy as np

from trainer.model import tokens
from trainer.model.batch import Batch, Sample, collate


def policy_sample(
    seed: int, actions: int = 5, side: int = 4, words: int = 4, sample_id: int | None = None
) -> Sample:
    """A policy row: prompt with state and two images, then labelled actions."""
    random = np.random.default_rng(seed)
    prompt = [tokens.BOS, *random.integers(tokens.TEXT_FIRST, tokens.TEXT_FIRST + 500, words)]
    prompt += tokens.state_block(random.uniform(-1, 1, tokens.STATE_DIMS))
    for _ in range(2):
        prompt += tokens.image_block(random.integers(0, 64, (side, side)))
    prompt.append(tokens.TURN)
    target: list[int] = []
    for _ in range(actions):
        target += tokens.action_block(random.uniform(-1, 1, tokens.ACTION_DIMS))
    target.append(tokens.TURN)
    return Sample(
        [int(token) for token in prompt] + target,
        [tokens.IGNORE] * len(prompt) + target,
        seed if sample_id is None else sample_id,
    )


def world_sample(seed: int, side: int = 4) -> Sample:
    """A world-model row: images and one action in the prompt, the next images as target."""
    random = np.random.default_rng(seed)
    prompt = [tokens.BOS]
    for _ in range(2):
        prompt += tokens.image_block(random.integers(0, 64, (side, side)))
    prompt += [*tokens.action_block(random.uniform(-1, 1, tokens.ACTION_DIMS)), tokens.TURN]
    target: list[int] = []
    for _ in range(2):
        target += tokens.image_block(random.integers(0, 64, (side, side)))
    target.append(tokens.TURN)
    return Sample(prompt + target, [tokens.IGNORE] * len(prompt) + target, seed, kind="world")


def mixed_batch(policy: int = 3, world: int = 1, actions: int = 5) -> Batch:
    """Policy and world-model rows of different lengths."""
    rows = [policy_sample(seed, actions=actions, words=2 + seed) for seed in range(policy)]
    return collate(rows + [world_sample(100 + seed) for seed in range(world)])
