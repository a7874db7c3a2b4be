"""A script that ends while its store hangs: `python -m tests.vlamon.emitter.hung_store RUN_DIR`.

The call to the store returns while the interpreter takes its daemon threads down.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from datetime import timedelta

import torch.distributed as dist

from vlamon import Emitter
from vlamon.emitter import job_store, rank_exchange


class Line:
    """Carries bytes to a store, until it holds."""

    def __init__(self, port: int) -> None:
        self.far, self.holds = port, threading.Event()
        self.ends: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        here = sys.modules["__main__"]  # what a thread still holds is taken down name by name
        assert here
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.far))
            self.ends += [near.dup(), far.dup()]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(1 << 16):
            if self.holds.is_set():
                threading.Event().wait()
            sink.sendall(data)


class AtTheVeryEnd:
    """Ends the line's connections when modules are taken down."""

    def __init__(self, line: Line) -> None:
        self.ends, self.sleep = line.ends, time.sleep  # globals are gone by then

    def __del__(self) -> None:
        for end in self.ends:
            try:
                end.shutdown(2)
            except OSError:
                continue
        self.sleep(0.5)  # the thread that waited comes back, and asks for the interpreter


def main(run_dir: str) -> Line:
    os.environ.update(RANK="0", WORLD_SIZE="2", VLAMON_HOME="")
    limit = timedelta(seconds=5)
    server = dist.TCPStore("127.0.0.1", 0, None, True, limit, wait_for_workers=False)
    line = Line(server.port)
    job_store.TIMEOUT = 60.0
    rank_exchange.LAST_REPORT = rank_exchange.LAST_LOOK = 0.1
    rank_exchange.interval = lambda size: 0.02
    job_store.address = lambda: ("127.0.0.1", line.port)
    emitter = Emitter(None, run="hung", run_dir=run_dir)
    exchange = emitter._exchange
    assert exchange is not None
    end = time.monotonic() + 60
    while exchange._reached is None:
        assert time.monotonic() < end, "the store never answered"
        time.sleep(0.01)
    line.holds.set()
    time.sleep(0.3)
    emitter.log(1, closs=2.0)
    line.server = server  # type: ignore[attr-defined]
    return line


if __name__ == "__main__":
    last = AtTheVeryEnd(main(sys.argv[1]))
