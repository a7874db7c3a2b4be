"""Themes are readable, told apart, and wrong ones are explained instead of believed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from rich.color import Color, ColorSystem

from vlamon.charts.metric_roles import SERIES
from vlamon.tui.colour import DEFICIENCIES, FIXED, contrast, difference, rgb, seen_by
from vlamon.tui.themes import (
    BACKGROUNDS,
    READABLE,
    ROLES,
    Palette,
    Theme,
    load_themes,
    sixteen_colours,
    textual_theme,
)

SHIPPED = load_themes(user=Path("/nonexistent")).themes
LINES = ("closs", "loss_ct", "z_loss", "l1", "ok", "warn", "explode")


def colour(theme: Theme, role: str) -> tuple[int, int, int]:
    found = rgb(theme.colours[role])
    assert found is not None
    return found


def test_a_dark_a_light_a_safe_a_contrast_and_a_sixteen_colour_theme_are_shipped() -> None:
    assert set(SHIPPED) == {"dusk", "paper", "clear", "contrast", "sixteen"}
    assert not SHIPPED["paper"].dark
    assert SHIPPED["sixteen"].ansi


def test_the_shipped_themes_have_nothing_to_complain_about() -> None:
    assert load_themes(user=Path("/nonexistent")).complaints == ()


@pytest.mark.parametrize("ground", BACKGROUNDS)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_role_is_readable(name: str, ground: str) -> None:
    theme = SHIPPED[name]
    for role in ROLES:
        ratio = contrast(colour(theme, role), colour(theme, ground))
        assert ratio >= READABLE, f"{role} on {ground}: {ratio:.2f}"


def test_the_high_contrast_theme_reaches_seven() -> None:
    theme = SHIPPED["contrast"]
    assert min(contrast(colour(theme, role), colour(theme, "background")) for role in ROLES) >= 7


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_safe_theme_is_told_apart_with_any_colour_vision(deficiency: str) -> None:
    theme = SHIPPED["clear"]
    for one, other in combinations(LINES, 2):
        apart = difference(
            seen_by(deficiency, colour(theme, one)), seen_by(deficiency, colour(theme, other))
        )
        assert apart >= 20, (one, other, apart)


METRICS = ("closs", "loss_ct", "z_loss", "l1", *SERIES)


def in_256_colours(theme: Theme, role: str) -> tuple[int, int, int]:
    """What a terminal without true colour shows of a role."""
    found = Color.parse(theme.colours[role].removeprefix("ansi_"))
    return tuple(found.downgrade(ColorSystem.EIGHT_BIT).get_truecolor())  # type: ignore[return-value]


@pytest.mark.parametrize("name", SHIPPED)
def test_alerts_have_colours_that_no_metric_has_in_256_colours_either(name: str) -> None:
    theme = SHIPPED[name]
    for alert in ("warn", "explode"):
        for metric in METRICS:
            for found in (colour, in_256_colours) if not theme.ansi else (colour,):
                apart = difference(found(theme, alert), found(theme, metric))
                assert apart >= 19, (alert, metric, apart)


@pytest.mark.parametrize("name", SHIPPED)
def test_eight_lines_are_told_apart(name: str) -> None:
    theme = SHIPPED[name]
    for one, other in combinations(SERIES, 2):
        for found in (colour, in_256_colours) if not theme.ansi else (colour,):
            least = 9 if theme.ansi else 15  # of sixteen colours, white is the eighth
            assert difference(found(theme, one), found(theme, other)) >= least, (one, other)


@pytest.mark.parametrize("name", sorted({*SHIPPED} - {"sixteen"}))
def test_a_tint_is_seen_and_everything_is_readable_on_it(name: str) -> None:
    palette = Palette(SHIPPED[name])
    assert palette.tinted
    paper = colour(palette.theme, "background")
    for role in (*METRICS, "abandoned"):
        style = palette.style(f"{role} on tint:{role}")
        assert style.bgcolor is not None
        ground = tuple(style.bgcolor.get_truecolor())
        assert difference(ground, paper) >= 5, role  # type: ignore[arg-type]
        for ink in ROLES:
            assert contrast(colour(palette.theme, ink), ground) >= READABLE  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted({*SHIPPED} - {"sixteen"}))
def test_in_256_colours_a_tint_is_one_of_them_and_never_looks_like_an_alert(name: str) -> None:
    palette = Palette(SHIPPED[name], true_colour=False)
    paper = in_256_colours(palette.theme, "background")
    for role in METRICS:
        style = palette.style(f"{role} on tint:{role}")
        assert style.bgcolor is not None
        assert style.bgcolor.number is not None
        ground = tuple(style.bgcolor.get_truecolor())
        assert ground == FIXED[style.bgcolor.number - 16]
        assert ground != paper, role
        ratio = contrast(in_256_colours(palette.theme, role), ground)  # type: ignore[arg-type]
        assert ratio >= 3, (role, ratio)  # what WCAG asks of lines
        true = Palette(SHIPPED[name]).style(f"{role} on tint:{role}").bgcolor
        assert true is not None
        meant = tuple(true.get_truecolor())
        assert difference(ground, meant) <= 25, (role, ground, meant)  # type: ignore[arg-type]


def test_there_are_no_tints_where_there_are_sixteen_colours_or_none() -> None:
    for palette in (Palette(SHIPPED["sixteen"]), Palette(SHIPPED["dusk"], colourless=True)):
        assert not palette.tinted
        assert palette.style("closs on tint:closs") == palette.style("closs")


@pytest.mark.parametrize("name", SHIPPED)
def test_textual_accepts_every_theme(name: str) -> None:
    assert textual_theme(SHIPPED[name]).to_color_system().generate()


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "mine.toml").write_text(text)
    return tmp_path


def test_a_users_theme_names_only_what_it_changes(tmp_path: Path) -> None:
    found = load_themes(user=written(tmp_path, 'name = "mine"\n[colours]\ncloss = "#ff8800"\n'))
    assert found.themes["mine"].colours["closs"] == "#ff8800"
    assert found.themes["mine"].colours["z_loss"] == SHIPPED["dusk"].colours["z_loss"]
    assert found.complaints == ()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('closs = "#12zz00"', "colours.closs = '#12zz00' is no colour"),
        ("closs = 3", "colours.closs = 3 is no colour"),
        ('klosss = "#ffffff"', "colours.klosss is no role"),
        ('closs = "#202020"', "colours.closs is hard to read on background: contrast 1."),
    ],
)
def test_each_wrong_colour_gets_a_sentence_and_the_rest_is_used(
    tmp_path: Path, line: str, sentence: str
) -> None:
    text = f'name = "mine"\n[colours]\n{line}\nl1 = "#00ff00"\n'
    found = load_themes(user=written(tmp_path, text))
    assert any(sentence in complaint for complaint in found.complaints), found.complaints
    assert all(complaint.startswith("mine.toml: ") for complaint in found.complaints)
    assert found.themes["mine"].colours["l1"] == "#00ff00"


@pytest.mark.parametrize("text", ["name = [", "\x00", 'name = ""', 'name = "a\\nb"'])
def test_a_file_that_is_no_theme_is_named_and_left_out(tmp_path: Path, text: str) -> None:
    found = load_themes(user=written(tmp_path, text))
    assert set(found.themes) == set(SHIPPED)
    assert found.complaints[0].startswith("mine.toml: ")


def test_a_users_theme_takes_the_place_of_a_shipped_one_by_name(tmp_path: Path) -> None:
    found = load_themes(user=written(tmp_path, 'name = "dusk"\n[colours]\nl1 = "#00ff00"\n'))
    assert found.themes["dusk"].colours["l1"] == "#00ff00"


def test_the_chosen_row_is_seen_without_colours() -> None:
    for palette in (Palette(SHIPPED["sixteen"]), Palette(SHIPPED["dusk"], colourless=True)):
        assert palette.style("closs chosen").reverse
        assert palette.style("explode").bold
    assert Palette(SHIPPED["sixteen"], colourless=True).style("closs on selection").reverse


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "screen"}, True),
        ({"TERM": "linux"}, True),
        ({}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False),
        ({"TERM": "xterm-kitty"}, False),
    ],
)
def test_colours_are_judged_by_term_and_colorterm(environ: dict[str, str], expected: bool) -> None:
    assert sixteen_colours(environ) == expected


def test_backgrounds_are_no_roles_to_write_with() -> None:
    assert not set(BACKGROUNDS) & set(ROLES)
