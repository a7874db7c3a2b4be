"""The catalogue: families, names taken apart, names it has never heard of, two languages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.commands.training import vlamon
from vlamon.catalogue import LANGUAGES, entry, in_order, known_families, random_guess, words


def test_the_trained_terms_have_their_weights() -> None:
    weights = {name: entry(name).weight for name in ("closs", "loss_ct", "z_loss")}

    assert weights == {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}
    assert all(entry(name).kind == "trained" for name in weights)
    assert entry("l1_loss_action_5").kind == "watched"


@pytest.mark.parametrize(
    ("name", "vocab", "guess"),
    [
        ("closs", 65536, 11.09),
        ("closs", 16640, 9.72),
        ("closs_rank3", 8192, 9.01),
        ("z_loss", 65536, 123.0),
        ("val_ind_l1_loss_action_7", 65536, 0.996),
    ],
)
def test_a_random_guess_depends_on_the_vocabulary(name: str, vocab: int, guess: float) -> None:
    assert random_guess(name, vocab) == pytest.approx(guess, rel=2e-3)


def test_a_name_is_taken_apart() -> None:
    found = entry("val_ind_l1_loss_action_7_rank2")

    assert (found.family, found.split, found.slot, found.rank) == (
        "l1_loss_action",
        "val_ind",
        7,
        2,
    )
    assert entry("val_closs").kind == "watched"
    assert entry("train_closs").kind == "trained"
    assert entry("pull_loss_ct").family == "pull"
    assert entry("conflict_closs_loss_ct").family == "conflict"
    assert entry("samples/sec").unit == "/s"
    assert entry("learning_rate").family == "lr"


@given(st.text(max_size=30))
def test_any_name_has_an_entry(name: str) -> None:
    found = entry(name)

    assert found.name == name
    assert found.known or words(name) is None


def test_the_losses_come_first_and_slots_count_up() -> None:
    names = ["zebra", "lr", "val_closs", "l1_loss_action_9", "l1_loss_action_10", "z_loss", "closs"]

    ordered = [
        "closs",
        "z_loss",
        "l1_loss_action_9",
        "l1_loss_action_10",
        "lr",
        "zebra",
        "val_closs",
    ]
    assert in_order(names) == ordered


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", known_families())
def test_every_family_is_explained_in_every_language(name: str, language: str) -> None:
    text = words(name, language)

    assert text is not None
    assert all((text.title, text.meaning, text.formula, text.reading, text.advice))
    chinese = any("\u4e00" <= character <= "\u9fff" for character in text.meaning)
    assert chinese == (language == "zh")


def test_explain_teaches_and_knows_slots() -> None:
    done = vlamon(["explain", "l1_loss_action_7"])

    assert done.returncode == 0
    for piece in ("teacher-forced", "slot 7 of 10", "only watched", "0.996"):
        assert piece in done.stdout


def test_explain_is_spoken_in_chinese() -> None:
    done = vlamon(["explain", "closs", "--lang", "zh", "--vocab", "16640"], PYTHONUTF8="1")

    assert "交叉熵" in done.stdout
    assert f"{math.log(16640):.4g}" in done.stdout


def test_an_unknown_name_is_no_error_and_near_ones_are_named() -> None:
    done = vlamon(["explain", "clos"])

    assert done.returncode == 0
    assert "never heard of 'clos'" in done.stdout
    assert "closs" in done.stdout
