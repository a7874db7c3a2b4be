"""Small files that ask for much memory: `python -m tests.faults.bombs [NAME …]` opens each.

Every command has to end, with an exit code of its own, and stay below a bound, whatever the file
claims to hold.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgpack

from tests.faults.scenarios import report
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.frames import HEADER, pack
from vlamon.protocol.journal import MAGIC, MARK, seal
from vlamon.records import Event, RunInfo

ROOT = Path(__file__).parents[2]
MOST = 700 << 20
"""Bytes of memory that reading one may take, Python and its libraries included."""
LIMIT = 6 << 30
"""Bytes of address space, so that a bomb that goes off takes nobody along."""
PATIENCE = 120.0
PEAK = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
from vlamon.cli import run
code = run(sys.argv[2:])
# Not `getrusage`: what it says begins with the memory of the process that forked this one.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print("peak", int(peak[1]) << 10, code, file=sys.stderr)
"""

Build = Callable[[Path], Sequence[str]]
"""Writes the file into a directory; returns the command that opens it."""


def analyze(path: Path) -> tuple[str, ...]:
    return ("analyze", str(path))


def packed(name: str, begin: bytes, piece: bytes, times: int) -> Build:
    """A gzip of one piece again and again: each megabyte is a kilobyte on disk."""

    def build(folder: Path) -> Sequence[str]:
        path = folder / name
        path.write_bytes(gzip.compress(begin) + gzip.compress(piece) * times)
        return analyze(path)

    return build


def plain(name: str, data: Callable[[], bytes]) -> Build:
    def build(folder: Path) -> Sequence[str]:
        path = folder / name
        path.write_bytes(data())
        return analyze(path)

    return build


def sparse(name: str) -> Build:
    """A terabyte that takes no room: a hole."""

    def build(folder: Path) -> Sequence[str]:
        path = folder / name
        with path.open("wb") as file:
            file.truncate(1 << 40)
        return analyze(path)

    return build


def journal(frames: Callable[[], Iterator[bytes]]) -> Build:
    def build(folder: Path) -> Sequence[str]:
        path = folder / "run.vlaj"
        info = pack(messages.encode(RunInfo("bomb", name="bomb")))
        with path.open("wb") as file:
            file.write(MAGIC + seal(info))
            file.writelines(frames())
        return ("query", "events", str(path))

    return build


def late_names() -> Iterator[bytes]:
    """Rows of one metric up to the end of a chunk of the store, then ever new ones."""
    seq = 0
    for _ in range(32):
        rows = [(seq + row, 0.0, 1.0, {"a": 1.0}) for row in range(4090)]
        yield seal(pack(blocks.to_message(blocks.from_rows(seq, 0, rows))))
        seq += len(rows)
    for number in range(20):
        row = (seq, 0.0, 1.0, {f"late_{number}_{name}": 1.0 for name in range(1000)})
        yield seal(pack(blocks.to_message(blocks.from_rows(seq, 0, [row]))))
        seq += 1


def many_names() -> Iterator[bytes]:
    for seq in range(400):
        row = (seq, 0.0, 1.0, {f"n{seq}_{name}": 1.0 for name in range(1000)})
        yield seal(pack(blocks.to_message(blocks.from_rows(seq, 0, [row]))))


def hollow_events() -> Iterator[bytes]:
    """Details of a megabyte that are a million empty maps."""
    message = messages.encode(Event("e", "note", 1, 0, 1.0, "info", "x", {}))
    data = {"a": [[{}] * 60_000 for _ in range(16)]}
    for number in range(20):
        payload = msgpack.packb({**message, "id": f"e{number}", "data": data})
        yield seal(HEADER.pack(len(payload)) + payload)


def claims() -> Iterator[bytes]:
    """Heads that promise four gigabytes."""
    for _ in range(1000):
        yield MARK + struct.pack(">II", 0xFFFFFFFF, 0)
        yield MARK + struct.pack(">II", 1 << 20, 0)
    for array in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        payload = b"\x82\xa1t\xa5batch\xa1c" + array
        yield seal(HEADER.pack(len(payload)) + payload)


def state_of(rows: int) -> bytes:
    row = json.dumps({"loss": 1.0, "step": 1, "epoch": 0.1}).encode()
    return b'{"log_history": [' + b",".join([row] * rows) + b"]}"


MEGABYTE = 1 << 20
BOMBS: Mapping[str, Build] = {
    "a hole of a terabyte": sparse("output.log"),
    "a hole for JSON": sparse("trainer_state.json"),
    "gzip of one line": packed("a.log.gz", b"step: 1, loss: 2.0\n", b"a" * MEGABYTE, 1500),
    "gzip of zeros": packed("a.log.gz", b"", b"\0" * MEGABYTE, 1500),
    "gzip of empty lines": packed("a.log.gz", b"step: 1, loss: 2.0\n", b"\n" * MEGABYTE, 300),
    "gzip of a state": packed("trainer_state.json.gz", b'{"log_history": [', b"{}," * 300_000, 800),
    "gzip of brackets": packed("metrics.jsonl.gz", b"", b"[" * MEGABYTE, 300),
    "gzip of a table": packed("metrics.csv.gz", b"step,loss", b",x" * 500_000, 300),
    "names on one line": plain(
        "a.log", lambda: b"step: 1 " + b" ".join(b"k%d: 1.5" % n for n in range(400_000)) + b"\n"
    ),
    "columns of a table": plain(
        "metrics.csv",
        lambda: b"step," + b",".join(b"k%d" % n for n in range(400_000)) + b"\n1" + b",1" * 400_000,
    ),
    "keys of a JSON line": plain(
        "metrics.jsonl",
        lambda: json.dumps({"step": 1, **{f"k{n}": 1.5 for n in range(400_000)}}).encode() + b"\n",
    ),
    "a new name on each line": plain(
        "a.log", lambda: b"".join(b"step: %d, k%d: 1.5\n" % (n, n) for n in range(200_000))
    ),
    "late names in a journal": journal(late_names),
    "names in a journal": journal(many_names),
    "hollow events": journal(hollow_events),
    "claims": journal(claims),
}


def outcome(name: str, folder: Path) -> str:
    """What is wrong with the way in which a bomb was opened; empty for nothing."""
    command = BOMBS[name](folder)
    try:
        done = _opened(command)
    except subprocess.TimeoutExpired:
        return f"it did not end within {PATIENCE:g} s"
    last = done.stderr.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("peak "):
        return f"it ended with {done.returncode}: {done.stderr[-1500:]}"
    peak = int(last[0].split()[1])
    return f"{peak >> 20} MiB" if peak > MOST else ""


def _opened(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PEAK, str(LIMIT), *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )


def tried(root: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The named bombs, or all."""
    for name in BOMBS:
        if not names or name in names:
            folder = root / name.replace(" ", "-")
            folder.mkdir()
            yield name, outcome(name, folder)


if __name__ == "__main__":
    sys.exit(report(tried))
