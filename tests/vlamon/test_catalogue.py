"""The catalogue: families, names taken apart, unknown names, two languages."""

from __future__ import annotations

import math
import re
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlamon.commands.training import vlamon
from vlamon import catalogue
from vlamon.analysis.diagnosis.chinese import WORDS as CHINESE_DIAGNOSES
from vlamon.catalogue import (
    LANGUAGES,
    Entry,
    MetricText,
    entry,
    in_order,
    known_families,
    words,
)
from vlamon.charts.panels import groups, line_names
from vlamon.texts import en, zh


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
    assert entry(name, vocab).guess == pytest.approx(guess, rel=2e-3)


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
    assert chinese == (language == "zh" and text != words(name, "en"))
    assert chinese or language == "en" or name not in zh.METRICS


def test_a_metric_is_added_in_one_place_to_be_shown_and_in_two_to_be_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    added = Entry("stiffness", "stiffness", unit="N/m", scale="log", better="steady", order=15)
    monkeypatch.setitem(catalogue._FAMILIES, "stiffness", added)
    entry.cache_clear()
    try:
        names = ["loss_ct", "stiffness_rank1", "stiffness_rank0", "closs", "stiffness"]
        assert in_order(names)[:2] == ["closs", "stiffness"]
        shown = [group.name for group in groups(names)]
        assert shown == ["closs", "stiffness", "loss_ct", "stiffness by rank"]
        assert entry("val_stiffness").unit == "N/m"
        assert words("stiffness") is None

        told = MetricText("stiffness", "How hard the arm resists.")
        monkeypatch.setitem(en.METRICS, "stiffness", told)

        assert words("stiffness_rank1") == told
        assert words("stiffness", "zh") == told
    finally:
        entry.cache_clear()


@pytest.mark.parametrize(
    ("name", "family", "layer"),
    [
        ("grad_norm/layer_3", "grad_norm", 3),
        ("grad_norm/layers.12", "grad_norm", 12),
        ("layers.7.attn_loss", "attn_loss", 7),
        ("model/blocks/4/mlp_loss", "model/mlp_loss", 4),
        ("closs_layer_2_rank1", "closs", 2),
        ("layer_norm", "layer_norm", None),
        ("layer_3", "layer_3", None),
    ],
)
def test_the_copies_of_a_metric_by_layer_are_one_family(
    name: str, family: str, layer: int | None
) -> None:
    assert (entry(name).family, entry(name).layer) == (family, layer)


def test_layers_share_a_chart_in_their_order() -> None:
    names = [f"grad_norm/layer_{layer}" for layer in (10, 2, 1)]
    found = groups(["grad_norm", *names])
    assert [group.name for group in found] == ["grad_norm", "grad_norm by layer"]
    assert found[1].metrics == tuple(reversed(names))
    assert line_names(found[1].metrics) == ("l1", "l2", "l10")


def test_an_unknown_loss_is_better_the_lower_it_is() -> None:
    assert entry("my_loss").better == "lower"
    assert entry("wobble").better == ""
    assert not entry("my_loss").known


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
    assert "Unknown metric 'clos'" in done.stdout
    assert "closs" in done.stdout


def _chinese_texts() -> list[str]:
    spoken = [*zh.METRICS.values(), *CHINESE_DIAGNOSES.values()]
    return [*zh.LABELS.values(), *(part for text in spoken for part in astuple(text))]


def test_chinese_sentences_have_chinese_punctuation() -> None:
    latin = re.compile(r"[\u4e00-\u9fff][,;:?!](?! )|[,;:?!][\u4e00-\u9fff]")

    assert [text for text in _chinese_texts() if latin.search(text)] == []


def test_what_is_said_of_a_guess_is_spoken_in_chinese() -> None:
    told = vlamon(["explain", "l1_loss_action", "--lang", "zh"]).stdout

    assert "0.996: 没有动作 token" in told
    assert "no action tokens" not in told
