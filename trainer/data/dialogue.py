"""Scenes as token rows: the two dialogues that the reference project trains on.

Policy: a question, the robot's state, its cameras' images, and the actions as the answer.
World model: images and one action, and the next images as the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.model import tokens
from trainer.model.batch import Sample

QUESTION = "What action should the robot take to {task}?"
NEXT_IMAGE = "Generate the next image from the images and the action."

_WORDS = (
    "What action should the robot take to ? . Generate next image from images and "
    "reach move gripper touch push slide block onto disc bring cube shove "
    "red green blue yellow purple orange a of in on it its is place pick up put"
)
_WORD_IDS = {
    word: tokens.TEXT_FIRST + 256 + i for i, word in enumerate(dict.fromkeys(_WORDS.split()))
}
VOCAB = max(_WORD_IDS.values()) + 1
"""Smallest vocabulary that has every id of the dialogues."""
_PIECE = re.compile(r"[^\W_]+|[^\w\s]|_")


def encode_text(text: str) -> list[int]:
    """Token ids of a text: one a known word, its UTF-8 bytes for any other, led by a space byte.

    Spaces are implied between words, so a text comes back with one space between its pieces.
    """
    ids: list[int] = []
    for piece in _PIECE.findall(text):
        if piece in _WORD_IDS:
            ids.append(_WORD_IDS[piece])
        else:
            ids += [tokens.TEXT_FIRST + byte for byte in b" " + piece.encode()]
    return ids


def apart(state: Sequence[float]) -> list[float]:
    """Each of the dimensions in a stretch of its own of [-1, 1].

    The 256 state bins are shared by eight dimensions; normalised like this, a token also says which
    dimension it is of (about 32 bins each), and a small model need not count positions to find out.
    """
    width = 2.0 / len(state)
    middle = [-1.0 + width * (dim + 0.5) for dim in range(len(state))]
    # 0.98: two neighbours meet in one bin at most, the one that their border falls into.
    return [m + 0.98 * width / 2 * v for m, v in zip(middle, state, strict=True)]


def policy_prompt(
    instruction: str, state: Sequence[float], images: Sequence[NDArray[np.int64]]
) -> list[int]:
    """Everything that a policy row says before its first action."""
    question = encode_text(QUESTION.format(task=instruction))
    row = [tokens.BOS, *question, *tokens.state_block(apart(state))]
    for codes in images:
        row += tokens.image_block(codes)
    return [*row, tokens.TURN]


def policy_sample(
    sample_id: int,
    source: str,
    instruction: str,
    state: Sequence[float],
    images: Sequence[NDArray[np.int64]],
    actions: Sequence[Sequence[float]],
) -> Sample:
    """A policy row; images run over history and cameras, oldest first."""
    prompt = policy_prompt(instruction, state, images)
    answer: list[int] = []
    for action in actions:
        answer += tokens.action_block(action)
    return _row(sample_id, source, prompt, [*answer, tokens.TURN], is_policy=True)


def world_sample(
    sample_id: int,
    source: str,
    images: Sequence[NDArray[np.int64]],
    action: Sequence[float],
    next_images: Sequence[NDArray[np.int64]],
) -> Sample:
    """A world-model row: no action is a target in it."""
    prompt = [tokens.BOS, *encode_text(NEXT_IMAGE)]
    for codes in images:
        prompt += tokens.image_block(codes)
    prompt += [*tokens.action_block(action), tokens.TURN]
    answer: list[int] = []
    for codes in next_images:
        answer += tokens.image_block(codes)
    return _row(sample_id, source, prompt, [*answer, tokens.TURN], is_policy=False)


def _row(
    sample_id: int, source: str, prompt: list[int], answer: list[int], *, is_policy: bool
) -> Sample:
    return Sample(
        input_ids=[*prompt, *answer],
        labels=[tokens.IGNORE] * len(prompt) + answer,
        sample_id=sample_id,
        kind="policy" if is_policy else "world",
        source=source,
    )
