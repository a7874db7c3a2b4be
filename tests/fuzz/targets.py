"""What is attacked: each target takes bytes, and either copes or refuses them in a sentence.

A target returns normally or raises one of its own errors; every other exception, a hang and a
terminal sequence in the output are findings.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.forged import forged
from vlamon.protocol.frames import FROM_MONITOR, FrameReader, ProtocolError, pack
from vlamon.records import Record

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOT_OUR_OUTPUT = frozenset({"\t", "\n"})


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of foreign bytes."""

    name: str
    seeds: Callable[[], list[bytes]]
    """Good inputs that the damages begin with."""
    attack: Callable[[bytes], None]
    weight: int = 1
    """How many inputs it gets for one of another target."""


def _store(records: Iterable[Record]) -> None:
    """What every reader does next: the records go into a store, and every metric is looked at."""
    import numpy as np

    from vlamon.store import RunStore

    store = RunStore()
    for record in records:
        store.apply(record)
    if store.rows:
        for metric in list(store.metrics)[:50]:
            store.envelope(metric, np.linspace(0.0, float(store.rows), 9), "row")


def _frames() -> list[bytes]:
    from vlamon.protocol import block as blocks
    from vlamon.protocol import messages
    from vlamon.protocol.commands import Command
    from vlamon.protocol.messages import Bye, Subscription
    from vlamon.records import Event, Gap, MetricSpec, Reply, RunInfo, Status

    info = RunInfo("r", name="fuzz", metrics=(MetricSpec("closs"),), total_steps=10)
    records: tuple[Record | messages.Bye, ...] = (
        info,
        Event("e1", "explode", 3, 0, 1.0, "error", "closs", {"z": 9.5}),
    )
    records += (Status("training", 3, epoch=0.5, eta=9.0), Reply("r", True, {"step": 3}))
    records += (Gap(3, 1, 3, "slow"), Bye("ended", "ended"))
    block = blocks.from_rows(0, 0, [(s, s / 9, 1.0, {"closs": 1.0 / (s + 1)}) for s in range(9)])
    sent = [pack(messages.encode(record)) for record in records]
    sent.append(pack(blocks.to_message(block)))
    said: list[Subscription | Command] = [
        Subscription(0, 0, "", True),
        Command("c1", "rollback", {"to": 3}),
        Command("c2", "set", {"name": "lr_scale", "value": 0.5}),
    ]
    asked = [pack(messages.encode(request)) for request in said]
    return [*sent, *asked, b"".join(sent), b"".join(asked)]


def _decode_frames(data: bytes) -> None:
    from vlamon.protocol import commands, messages
    from vlamon.protocol.commands import Command

    reader = FrameReader()
    reader.feed(data)
    records: list[Record] = []
    with contextlib.suppress(ProtocolError):
        for message in reader.messages():
            with contextlib.suppress(ProtocolError):
                found = messages.decode(message)
                if found is not None and not isinstance(found, messages.Bye):
                    records.append(found)
    _store(records)
    reader = FrameReader(FROM_MONITOR)
    reader.feed(data)
    with contextlib.suppress(ProtocolError):
        for message in reader.messages():
            request = messages.decode_request(message)
            if isinstance(request, Command):
                with contextlib.suppress(commands.CommandError):
                    commands.checked(request.name, request.args)


# ---- files ----


@contextlib.contextmanager
def _file(data: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        path.chmod(0o600)
        yield path


def _journals() -> list[bytes]:
    from vlamon.protocol.journal import MAGIC, seal

    small = MAGIC + b"".join(seal(frame) for frame in _frames()[:7])
    whole = (FIXTURES / "run" / "run.vlaj").read_bytes()
    return [small, small, whole[: 64 << 10]]


def _read_journal(data: bytes) -> None:
    from vlamon.emitter.journal_writer import Journal
    from vlamon.protocol.journal import JournalError
    from vlamon.sources import SourceError
    from vlamon.sources.journal import JournalSource

    with _file(data, "run.vlaj") as path:
        source = JournalSource(path, follow=False)
        records: list[Record] = []
        with contextlib.suppress(SourceError):
            while not source.finished:
                records += source.read(0.0)
        _store(records)
        with contextlib.suppress(JournalError):  # what a restarted training does with it
            Journal(path).close(5.0)


def _logs() -> list[bytes]:
    files = [*(FIXTURES / "logs").iterdir(), *(FIXTURES / "run").glob("*.txt")]
    texts = [path.read_bytes() for path in sorted(files) if "tfevents" not in path.name]
    output = (FIXTURES / "run" / "output.log").read_bytes()
    return [*texts, output[: 12 << 10], *_examples()]


def _examples() -> list[bytes]:
    """A few lines of every format, also of those that no fixture has."""
    from vlamon.sources.formats import all_formats

    return [f"{form.example}\n".encode() * 12 for form in all_formats() if not form.binary]


def _read_log(name: str) -> Callable[[bytes], None]:
    def attack(data: bytes) -> None:
        from vlamon.sources import SourceError
        from vlamon.sources.logfile import LogFile

        with _file(data, name) as path:
            source = LogFile(str(path), follow=False)
            records: list[Record] = []
            with contextlib.suppress(SourceError):
                while not source.finished:
                    records += source.read(0.0)
            source.close()
            _store(records)

    return attack


def _event_files() -> list[bytes]:
    return [path.read_bytes() for path in (FIXTURES / "logs").glob("*tfevents*")]


def _trackers() -> list[bytes]:
    """What W&B and SwanLab keep."""
    from tests.vlamon.sources.formats.leveldb import log
    from tests.vlamon.sources.formats.test_swanlab import SCALARS, line, message
    from tests.vlamon.sources.formats.test_wandb import ROWS, history

    written = [log(b":W&B", [history(row) for row in ROWS[:40]])]
    return written + [
        log(b":SWL", [tell(*each) for each in SCALARS[:90]]) for tell in (line, message)
    ]


def _command(*arguments: str) -> Callable[[bytes], None]:
    """A whole command over a log."""
    return lambda data: _run(data, "a.log", arguments)


def _run(data: bytes, name: str, arguments: Iterable[str]) -> None:
    """It ends with an exit code, and shows no terminal sequence."""
    from vlamon.cli import run

    with _file(data, name) as path:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "replace") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run([word.replace("FILE", str(path)) for word in arguments])
    for stream in (out, err):
        stream.flush()
        shown = stream.buffer.getvalue().decode("utf-8", "replace")
        assert not unsafe(shown), f"reaches the terminal: {unsafe(shown)!r}"


ON_JOURNALS = (
    ("watch", "--plain", "FILE"),
    ("watch", "--json", "FILE"),
    ("export", "FILE", "--format", "csv"),
    ("query", "status", "FILE"),
    ("query", "metrics", "FILE"),
    ("query", "events", "FILE"),
    ("query", "diagnose", "FILE"),
    ("diff", "FILE", "FILE"),
    ("replay", "--plain", "--speed", "max", "FILE"),
)
"""What is done with a journal that somebody else made."""


def _forge_journal(data: bytes) -> None:
    """A command over it, then what a watchdog would send of it."""
    made = forged(data)
    _run(made, "run.vlaj", ON_JOURNALS[zlib.crc32(made) % len(ON_JOURNALS)])
    _alert(made)


def _alert(journal: bytes) -> None:
    from vlamon.alerts.as_json import as_json
    from vlamon.alerts.message import document, message
    from vlamon.alerts.watchdog import Watchdog
    from vlamon.sources import SourceError
    from vlamon.sources.journal import JournalSource

    dog = Watchdog(lambda pid: None, "here", every_event=True)
    with _file(journal, "run.vlaj") as path:
        source = JournalSource(path, follow=False)
        with contextlib.suppress(SourceError):
            while not source.finished:
                found = dog.observe(source.read(0.0), 1.0, 2.0)
                for alert in [*found, *dog.check(1e6, 2.0)]:
                    told = message(alert)
                    assert not unsafe(told.text)
                    json.loads(as_json(document(told)), parse_constant=_no_json)


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def unsafe(shown: str) -> str:
    """The first characters that would command a terminal or reorder a line; empty for none."""
    for at, character in enumerate(shown):
        if character in NOT_OUR_OUTPUT or character.isprintable():
            continue
        if ord(character) < 0xA0 or 0x202A <= ord(character) <= 0x202E or character in "⁦⁧⁨⁩":
            return shown[at : at + 8]
    return ""


def _themes() -> list[bytes]:
    folder = Path(__file__).parents[2] / "themes"
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def _read_theme(data: bytes) -> None:
    from vlamon.tui.themes import Palette, load_themes, read_theme

    known = load_themes().themes
    with _file(data, "mine.toml") as path:
        theme, complaints = read_theme(path, known)
    assert theme is not None or complaints
    if theme is not None:
        palette = Palette(theme)
        for role in theme.colours:
            palette.style(role)


SETTINGS = b"""theme = "paper"
smoothing = "strong"
pinned = ["closs", "loss_ct"]
every = 0.5
vocab = 65536
bell = true
[weights]
closs = 1.0
loss_ct = 10.0
"""


def _read_settings(data: bytes) -> None:
    from vlamon import config

    with _file(data, config.PROJECT_FILE) as path:
        text = data.decode("latin-1").replace("\0", "")
        environ = {f"VLAMON_{name}": text[:200] for name in ("THEME", "WEIGHTS", "EVERY", "VOCAB")}
        found = config.load(environ, start=str(path.parent))
        _ = found.parameters


ALERTS = b"""language = "zh"
[webhook]
url = "https://example.org/hook"
[mail]
host = "mail.example.org"
to = "me@example.org"
"""


def _read_alerts(data: bytes) -> None:
    from vlamon.alerts.settings import AlertSettingsError, load_settings

    with _file(data, "alerts.toml") as path:
        before = os.environ.get("VLAMON_ALERTS")
        os.environ["VLAMON_ALERTS"] = str(path)
        try:
            with contextlib.suppress(AlertSettingsError):
                load_settings(environment={})
        finally:
            del os.environ["VLAMON_ALERTS"]
            if before is not None:
                os.environ["VLAMON_ALERTS"] = before


def _outbox_files() -> list[bytes]:
    from vlamon.alerts.alert import Alert
    from vlamon.alerts.message import Message
    from vlamon.alerts.outbox import Outbox

    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
        alert = Alert("a", "explosion", "high", "run", "host", 3, 1.0, "closs exploded")
        Outbox(Path(folder)).put("webhook", Message("a", "title", "body", "high", alert))
        return [path.read_bytes() for path in Path(folder).iterdir()]


def _read_outbox(data: bytes) -> None:
    from vlamon.alerts.outbox import Outbox

    with _file(data, "00000000000000000001-1-000001.json") as path:
        for waiting in Outbox(path.parent).waiting():
            assert isinstance(waiting.message.title, str)
            assert isinstance(waiting.message.alert.kind, str)


ENTRY = json.dumps(
    {"boot": "b1", "name": "run", "pid": 4, "host": "h", "step": 3, "started": 1.0, "ended": 0.0}
).encode()


def _read_registry(data: bytes) -> None:
    from vlamon.protocol import registry

    with _file(data, "b1.json") as path:
        registry._read(str(path))


# ---- checkpoints ----

_CHECKPOINT = ("manifest.json", "state.json", "tensors.bin")


def _checkpoints() -> list[bytes]:
    """The three files of a checkpoint behind each other, each with its length."""
    import torch

    from vlamon.guard.checkpoint.writer import Durable

    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
        state = {"model": {"w": torch.arange(12.0).reshape(3, 4)}, "odd": [None, (1, 2), b"x"]}
        path = Durable(Path(folder)).write(7, state, {"attempt": 2}).path
        return [b"".join((path / name).read_bytes() + _SPLIT for name in _CHECKPOINT)]


_SPLIT = b"\n---8<---\n"


def _read_checkpoint(data: bytes) -> None:
    import hashlib

    from vlamon.guard.checkpoint.writer import Durable, DurableError

    parts = [*data.split(_SPLIT), b"", b"", b""][:3]
    for right in (False, True):
        with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
            path = Path(folder) / "step-000000007"
            path.mkdir()
            if right:  # an attacker makes the digests right
                parts[0] = _with_digests(parts[0], parts[1:], hashlib.sha256)
            for name, content in zip(_CHECKPOINT, parts, strict=True):
                (path / name).write_bytes(content)
            with contextlib.suppress(DurableError):
                Durable(Path(folder)).load()
            Durable(Path(folder)).candidates()


def _with_digests(manifest: bytes, parts: list[bytes], digest: Callable[..., object]) -> bytes:
    try:
        document = json.loads(manifest)
        for name, content in zip(_CHECKPOINT[1:], parts, strict=True):
            entry = document["files"][name]
            entry["bytes"], entry["sha256"] = len(content), digest(content).hexdigest()  # type: ignore[attr-defined]
    except (ValueError, KeyError, TypeError, RecursionError):
        return manifest
    return json.dumps(document).encode()


def _metadata() -> list[bytes]:
    import pickle

    import torch
    from torch.distributed.checkpoint.metadata import (
        Metadata,
        TensorProperties,
        TensorStorageMetadata,
    )

    held = TensorStorageMetadata(TensorProperties(torch.float32), torch.Size([3]), [])
    return [pickle.dumps(Metadata({"w": held})), b"cos\nsystem\n(S'true'\ntR."]


def _read_metadata(data: bytes) -> None:
    from vlamon.guard.checkpoint.disk import DurableError
    from vlamon.guard.checkpoint.metadata import read_metadata

    with contextlib.suppress(DurableError):
        read_metadata(data, Path(".metadata"))


TARGETS: tuple[Target, ...] = (
    Target("frames", _frames, _decode_frames, weight=6),
    Target("journal", _journals, _read_journal, weight=2),
    Target("forged", _journals, _forge_journal, weight=2),
    Target("logs", _logs, _read_log("a.log"), weight=6),
    Target("events", _event_files, _read_log("events.out.tfevents.1.x"), weight=2),
    Target("trackers", _trackers, _read_log("run-a.wandb"), weight=2),
    Target("analyze", _logs, _command("analyze", "FILE")),
    Target("export", _logs, _command("export", "FILE", "--format", "csv")),
    Target("tail", _logs, _command("tail", "FILE", "--once", "--plain", "--unknown")),
    Target("themes", _themes, _read_theme),
    Target("settings", lambda: [SETTINGS], _read_settings),
    Target("alerts", lambda: [ALERTS], _read_alerts),
    Target("outbox", _outbox_files, _read_outbox),
    Target("registry", lambda: [ENTRY], _read_registry),
    Target("checkpoint", _checkpoints, _read_checkpoint),
    Target("metadata", _metadata, _read_metadata),
)
BY_NAME = {target.name: target for target in TARGETS}
