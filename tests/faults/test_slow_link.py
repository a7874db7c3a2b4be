"""A training watched through ssh over a thin line; `python -m tests.bench.slow_link` times it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.slow_link import SlowLink
from tests.faults.sshd import missing, remote_vlamon, running
from vlamon import Emitter
from vlamon.records import BatchBlock, Gap, Link, Record
from vlamon.sources.ssh import ssh_source
from vlamon.sources.stream import StreamSource

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")


def steps_of(records: list[Record]) -> list[int]:
    return [step for r in records if isinstance(r, BatchBlock) for step in r.step.tolist()]


def test_a_line_that_breaks_brings_only_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_REMOTE", f"{remote_vlamon()} relay")
    path, found = str(tmp_path / "vla.sock"), list[Record]()
    with running(tmp_path) as ssh, Emitter(path) as emitter:
        port = int(ssh.options[ssh.options.index("-p") + 1])
        with SlowLink(port, delay=0.05, rate=4e6) as link:
            options = [str(link.near) if word == str(port) else word for word in ssh.command()]
            source = ssh_source(ssh.host, path, ssh=tuple(options))
            source.retry = 0.1
            for step in range(40_000):
                emitter.log(step, closs=2.0 + step / 7, grad_norm=1.0 / (step + 1))
            read_until(source, found, 39_999)
            whole = link.down
            link.cut()
            for step in range(40_000, 40_010):
                emitter.log(step, closs=1.0, grad_norm=1.0)
            read_until(source, found, 40_009)
            again = link.down - whole
            source.close()
    assert steps_of(found) == list(range(40_010))
    assert not any(isinstance(record, Gap) for record in found)
    assert any(isinstance(record, Link) and record.state != "live" for record in found)
    assert whole > 3 * again, whole
    assert again < 30_000, "a handshake, a greeting and ten rows"


def read_until(source: StreamSource, found: list[Record], step: int) -> None:
    end, newest = time.monotonic() + 90, -1
    while newest < step:
        records = list(source.read(0.1))
        found += records
        newest = max([newest, *steps_of(records)])
        assert time.monotonic() < end, newest
