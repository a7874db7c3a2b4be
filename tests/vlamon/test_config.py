"""Settings: the later source over the earlier, and a mistake that names what was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlamon import config
from vlamon.cli import run
from vlamon.commands.config import example_file
from vlamon.config import load
from vlamon.user_settings import BY_NAME, SETTINGS

LOG = Path(__file__).parents[1] / "fixtures" / "logs" / "log_train.txt"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project inside a home directory, and nothing of this machine's user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for setting in SETTINGS:
        monkeypatch.delenv(setting.variable, raising=False)
    project = tmp_path / "project" / "deep" / "down"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    return tmp_path


def user(place: Path, text: str) -> str:
    path = place / "config" / "vlamon" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def project(place: Path, text: str) -> str:
    path = place / "project" / "vlamon.toml"
    path.write_text(text)
    return str(path)


def test_without_files_everything_is_the_default() -> None:
    found = load({})

    assert {held.source for held in found.values.values()} == {"default"}
    assert found.parameters == {}
    assert (found.files, found.complaints) == ((), ())


def test_the_environment_overrules_the_project_and_the_project_the_user(place: Path) -> None:
    of_user = user(place, 'theme = "paper"\naxis = "epoch"\nbell = true\n')
    of_project = project(place, 'axis = "time"\nbell = false\n')

    found = load({"VLAMON_BELL": "yes", "VLAMON_WEIGHTS": "closs=1,loss_ct=10"})

    assert (found.values["theme"].value, found.values["theme"].source) == ("paper", of_user)
    assert (found.values["axis"].value, found.values["axis"].source) == ("time", of_project)
    assert (found.values["bell"].value, found.values["bell"].source) == (True, "VLAMON_BELL")
    assert found.values["weights"].value == {"closs": 1.0, "loss_ct": 10.0}
    assert found.files == (of_user, of_project)
    assert found.complaints == ()


def test_the_command_line_has_the_last_word(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    project(place, 'lang = "zh"\n')
    run(["analyze", str(LOG)])
    assert "爆炸" in capfdbinary.readouterr()[0].decode()

    run(["analyze", str(LOG), "--lang", "en"])
    assert "EXPLOSION" in capfdbinary.readouterr()[0].decode()


@pytest.mark.parametrize("field", ["mouse", "title", "notify", "gpu"])
def test_what_a_file_switches_off_is_off_on_screen(
    place: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    from vlamon.commands import tail

    project(place, f"{field} = false\n")
    seen: list[Any] = []
    monkeypatch.setattr(tail, "present", lambda _, __, options, **_more: seen.append(options) or 0)

    assert run(["tail", str(LOG), "--once"]) == 0
    assert getattr(seen[0], field) is False
    if field != "gpu":
        assert run(["tail", str(LOG), "--once", f"--{field}"]) == 0
        assert getattr(seen[1], field) is True


def test_charts_are_pinned_hidden_and_smoothed_by_a_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlamon.commands import tail

    project(place, 'pinned = ["loss_ct"]\nhidden = ["lr", "time"]\nsmoothing = "off"\n')
    seen: list[Any] = []
    monkeypatch.setattr(tail, "present", lambda _, __, options, **_more: seen.append(options) or 0)

    assert run(["tail", str(LOG), "--once"]) == 0
    assert (seen[0].pinned, seen[0].hidden) == (("loss_ct",), ("lr", "time"))
    assert seen[0].smoothing == "off"
    assert run(["tail", str(LOG), "--once", "--pin", "closs"]) == 0
    assert seen[1].pinned == ("closs",)


def test_a_file_chooses_the_panel_below_the_charts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlamon.commands import tail
    from vlamon.tui.panels import lower_panels

    project(place, 'panel = "slots"\n')
    seen: list[Any] = []
    monkeypatch.setattr(tail, "present", lambda _, __, options, **_more: seen.append(options) or 0)

    assert run(["tail", str(LOG), "--once"]) == 0
    assert seen[0].panel == "slots"
    assert BY_NAME["panel"].choices == ("auto", *lower_panels())


def test_thresholds_of_a_file_decide_what_explodes(place: Path, capfdbinary: Any) -> None:
    assert run(["analyze", str(LOG), "--format", "json"]) == 20
    capfdbinary.readouterr()
    project(place, "[thresholds]\nmean_ratio = 500\n")

    assert run(["analyze", str(LOG), "--format", "json"]) != 20
    assert json.loads(capfdbinary.readouterr()[0])["anomalies"] == []
    assert run(["tail", str(LOG), "--once", "--json"]) == 0
    assert b'"explode"' not in capfdbinary.readouterr()[0]
    assert run(["tail", str(LOG), "--once", "--json", "--threshold", "mean_ratio=2.5"]) == 0
    assert b'"explode"' in capfdbinary.readouterr()[0]
    assert run(["analyze", str(LOG), "--threshold", "mean=3"]) == 2
    assert b"mean is not a threshold" in capfdbinary.readouterr()[1]


def test_keys_and_thresholds_reach_the_dashboard(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlamon.commands import tail

    project(
        place, "keys = { quit = 'Q', next-event = ['j', 'ctrl+j'] }\nthresholds.one_ratio = 9\n"
    )
    monkeypatch.setenv("VLAMON_THRESHOLDS", "warn_ratio=3,mean_ratio=4")
    seen: list[Any] = []
    monkeypatch.setattr(tail, "present", lambda _, __, options, **_more: seen.append(options) or 0)

    assert run(["tail", str(LOG), "--once"]) == 0
    assert seen[0].keys == {"quit": ("Q",), "next-event": ("j", "ctrl+j")}
    assert (seen[0].rules.warn_ratio, seen[0].rules.one_ratio) == (3, 20)
    assert run(["tail", str(LOG), "--once", "--key", "quit=X"]) == 0
    assert seen[1].keys == {"quit": ("X",)}
    monkeypatch.setenv("VLAMON_KEYS", "quit=Y,quit=X")
    assert run(["tail", str(LOG), "--once"]) == 0
    assert seen[2].keys == {"quit": ("Y", "X")}
    assert run(["tail", str(LOG), "--once", "--key", "quit=r"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("them = 1", "there is no setting 'them' (did you mean 'theme'?)"),
        ("axis = 'epok'", "must be one of step, epoch, time, since, not 'epok' (did you mean 'epo"),
        ("mouse = 'off'", "must be true or false"),
        ("vocab = 1", "must be a whole number, at least 2"),
        ("every = -1", "must be a number, at least 0"),
        ("weights = 5", "must be a table of numbers"),
        ("theme = ", "is not TOML"),
        ("thresholds = 5", "such as { warn_ratio = 3 }, not 5"),
        ("thresholds = { warn_rato = 3 }", "have no 'warn_rato' (did you mean 'warn_ratio'?)"),
        ("thresholds = { warn_ratio = 1 }", "warn_ratio must be above 1, not 1"),
        ("keys = { quitt = 'Q' }", "there is no action 'quitt' (did you mean 'quit'?)"),
        ("keys = { quit = 'pagup' }", "no key 'pagup' for quit (did you mean 'pageup'?)"),
        ("keys = { quit = 'r' }", "keys cannot be used: 'r' is both rollback and quit"),
        ("keys = { quit = 5 }", "must be a text or a list of texts for quit, not 5"),
    ],
)
def test_a_mistake_is_a_sentence_and_the_rest_is_used(
    place: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project(place, f"{text}\nbell = true\n")

    found = load({})

    (complaint,) = found.complaints
    assert complaint.startswith(path)
    assert said in complaint
    assert found.values["bell"].value is ("TOML" not in said)
    assert run(["explain", "closs"]) == 0
    assert said in capsys.readouterr().err
    assert run(["config"]) == 2
    assert said in capsys.readouterr().out


def test_a_bad_variable_is_named() -> None:
    assert load({"VLAMON_MOUSE": "maybe"}).complaints == (
        "VLAMON_MOUSE must be true or false, not 'maybe'.",
    )


def test_a_variable_that_is_nearly_a_settings_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for name in ("VLAMON_SMOTHING", "VLAMON_SOCKET", "VLAMON_ALERT_LANGUAGE"):
        monkeypatch.setenv(name, "off")

    assert run(["config"]) == 2
    told = [shown for shown in capsys.readouterr().out.splitlines() if shown.startswith("wrong")]
    assert told == ["wrong  there is no variable VLAMON_SMOTHING (did you mean VLAMON_SMOOTHING?)."]


def test_weights_of_a_file_are_for_the_runs_that_have_them(place: Path, capfdbinary: Any) -> None:
    project(place, "weights = { loss_ct = 100, elsewhere = 3 }\n")

    assert run(["analyze", str(LOG), "--format", "json"]) == 20
    terms = json.loads(capfdbinary.readouterr()[0])["contributions"]
    assert {term["metric"]: term["weight"] for term in terms}["loss_ct"] == 100
    assert run(["analyze", str(LOG), "--weight", "elsewhere=3"]) == 2


def test_a_project_ends_at_its_repository(place: Path) -> None:
    project(place, "bell = true\n")
    (place / "project" / "deep" / ".git").mkdir()

    assert config.project_file() is None


def test_the_example_is_a_settings_file_without_a_mistake(place: Path) -> None:
    lines = [line.removeprefix("# ") for line in example_file() if " = " in line]
    given = [line for line in lines if not line.endswith("= –")]
    project(place, "\n".join(given))

    assert len(given) == len(SETTINGS)
    assert load({}).complaints == ()


def test_config_as_json_says_where_each_was_set(place: Path, capsys: Any) -> None:
    path = project(place, "bell = true\n")

    assert run(["config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sources = {entry["name"]: entry["source"] for entry in found["settings"]}
    assert (sources["bell"], sources["theme"]) == (path, "default")
    assert found["files"][1] == {"path": path, "read": True}


def test_every_setting_is_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()

    for setting in SETTINGS:
        assert f"| `{setting.name}` | {setting.help} |" in manual


def test_the_file_of_the_alerts_is_shown(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLAMON_ALERTS", raising=False)
    assert run(["config"]) == 0
    assert "none  ~/config/vlamon/alerts.toml" in capsys.readouterr().out

    path = place / "config" / "vlamon" / "alerts.toml"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert run(["config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alerts"] == {"path": str(path), "exists": True}
