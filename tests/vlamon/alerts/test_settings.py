"""Where channels and secrets come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlamon.alerts.settings import AlertSettingsError, load_settings


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "alerts.toml"
    monkeypatch.setenv("VLAMON_ALERTS", str(path))
    return path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_channels_come_from_file_and_environment(file: Path) -> None:
    write(file, 'language = "zh"\n[ntfy]\nurl = "https://ntfy.sh/t"\n')
    environment = {"VLAMON_TELEGRAM_TOKEN": "t", "VLAMON_TELEGRAM_CHAT": "1"}
    settings = load_settings("true", environment)
    assert set(settings.channels) == {"ntfy", "telegram", "command"}
    assert settings.language == "zh"


def test_without_anything_there_is_no_channel() -> None:
    assert load_settings(None, {}).channels == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[slak]\nurl = 'x'\n", "no channel is called 'slak'"),
        ("[slack]\nurll = 'x'\n", "knows no 'urll'"),
        ("[telegram]\ntoken = 'x'\n", "need `chat`"),
        ("language = 'fr'\n", "no messages in 'fr'"),
        ("[slack\n", "is not TOML"),
    ],
)
def test_a_mistake_is_a_sentence_with_the_file(file: Path, text: str, sentence: str) -> None:
    write(file, text)
    with pytest.raises(AlertSettingsError, match=sentence) as wrong:
        load_settings(None, {})
    assert str(file) in str(wrong.value)


def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    write(file, "[slack]\nurl = 'https://secret'\n", 0o644)
    with pytest.raises(AlertSettingsError, match="chmod 600") as refused:
        load_settings(None, {})
    assert "secret'" not in str(refused.value)


def test_a_directory_in_the_files_place_is_a_sentence(file: Path) -> None:
    file.mkdir()
    with pytest.raises(AlertSettingsError, match=r"alerts\.toml cannot be read: Is a directory"):
        load_settings(None, {})
