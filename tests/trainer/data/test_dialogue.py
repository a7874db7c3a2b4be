"""Texts, states, images and actions as token rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data import dialogue
from trainer.model import tokens
from trainer.model.batch import collate

CODES = [np.arange(16).reshape(4, 4), np.arange(16, 32).reshape(4, 4)]
STATE = (0.1, -0.2, 0.3, 0.0, 0.0, 0.0, 1.0, -1.0)
IMAGE_END = tokens.IMAGE_CODE_FIRST + tokens.IMAGE_CODES
ACTIONS = [(0.5, -0.5, 0.0, 0.1, 0.2, 0.3, -1.0), (0.0,) * 7]


def decoded(ids: Sequence[int]) -> str:
    """The text of ids, without the spaces before punctuation."""
    words = {i: word for word, i in dialogue._WORD_IDS.items()}
    raw = bytearray()
    for i in ids:
        if i in words:
            raw += b" " + words[i].encode()
        else:
            raw.append(i - tokens.TEXT_FIRST)
    return re.sub(r" (?=[?.,])", "", raw.decode(errors="replace")).strip()


def test_a_policy_row_trains_its_actions_and_nothing_before_them() -> None:
    row = dialogue.policy_sample(3, "here", "reach the red block", STATE, CODES, ACTIONS)
    trained = [t for t in row.labels if t != tokens.IGNORE]
    expected = [t for a in ACTIONS for t in tokens.action_block(a)] + [tokens.TURN]
    assert trained == expected
    assert row.input_ids[-len(expected) :] == expected
    assert row.input_ids[0] == tokens.BOS
    assert (row.sample_id, row.kind, row.source) == (3, "policy", "here")


def test_a_world_row_trains_the_next_images_and_has_no_action_target() -> None:
    row = dialogue.world_sample(4, "here", CODES, ACTIONS[0], CODES[::-1])
    trained = [t for t in row.labels if t != tokens.IGNORE]
    assert tokens.ACTION_BEGIN in row.input_ids
    assert tokens.ACTION_BEGIN not in trained
    assert trained[-1] == tokens.TURN
    first = [t - tokens.IMAGE_CODE_FIRST for t in trained[: len(trained) // 2] if t < IMAGE_END]
    assert first == list(range(16, 32))
    assert len(collate([row]).layout.policy_rows) == 0


@given(st.text())
def test_any_text_becomes_ids_of_the_vocabulary(text: str) -> None:
    ids = dialogue.encode_text(text)
    assert all(tokens.TEXT_FIRST <= i < 16640 for i in ids)
    assert dialogue.encode_text(decoded(ids)) == ids or "_" in text


@pytest.mark.parametrize(
    "text",
    ["What action should the robot take to reach the red block?", "fold the Tücher, please."],
)
def test_a_sentence_comes_back(text: str) -> None:
    assert decoded(dialogue.encode_text(text)) == text


def test_a_known_word_is_one_token() -> None:
    assert len(dialogue.encode_text("reach the red block")) == 4


def test_a_state_bin_says_which_dimension_it_is_of() -> None:
    low, high = (dialogue.apart([edge] * 8) for edge in (-1.0, 1.0))
    bins = [
        tokens.encode_bins([a, b], tokens.STATE_BIN_FIRST) - tokens.STATE_BIN_FIRST
        for a, b in zip(low, high, strict=True)
    ]
    spans = [set(range(first, last + 1)) for first, last in bins]
    shared = [len(a & b) for i, a in enumerate(spans) for b in spans[:i]]
    assert max(shared) <= 1, "only the bin that a border falls into"
    assert all(len(span) >= 31 for span in spans)
