"""What seeing every rank costs: `python -m tests.bench.ranks [SIZES]`.

Simulates the reports of a job over a real TCPStore on loopback, and states for rank 0 the time of
one look (write, read all, judge, columns), the bytes that all ranks write and rank 0 reads in a
second, and the bytes of columns that a monitor gets in a second.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

import torch.distributed as dist

from vlamon.detect.ranks import RankJudge, columns
from vlamon.emitter.rank_exchange import EVERY, PREFIX
from vlamon.emitter.rank_tally import RankTally, known, pack

LOOKS = 40


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or [1, 8, 64, 512]
    limit = timedelta(seconds=20)
    server = dist.TCPStore("127.0.0.1", 0, None, True, limit, wait_for_workers=False)
    client = dist.TCPStore("127.0.0.1", server.port, None, False, limit, wait_for_workers=False)
    print("ranks  one look of rank 0  its share of a core  store, written + read  columns")
    for size in sizes:
        tallies = [RankTally() for _ in range(size)]
        keys = [f"{PREFIX}{rank}" for rank in range(size)]
        judge, spent, cpu, sent, shown = RankJudge(), 0.0, 0.0, 0, 0
        for look in range(LOOKS):
            written = []
            for tally in tallies:
                tally.phase(look * EVERY, "data")
                tally.phase(look * EVERY + 0.01, "forward")
                tally.row(look * EVERY + 0.2, look * 5, {"closs": 2.5, "grad_norm": 1.25})
                written.append(pack(tally.report()))
            for key, data in zip(keys, written, strict=True):
                client.set(key, data)
            sent += sum(map(len, written)) * 2
            began, began_cpu = time.perf_counter(), time.process_time()
            client.set(keys[0], written[0])
            reports = known(dict(enumerate(client.multi_get(keys))))
            found = columns(reports)
            judge.observe(reports, look * EVERY)
            spent += time.perf_counter() - began
            cpu += time.process_time() - began_cpu
            shown += 8 * len(found)
        seconds = LOOKS * EVERY
        print(
            f"{size:5}  {1000 * spent / LOOKS:13.2f} ms  {100 * cpu / seconds:17.2f} %"
            f"  {sent / seconds / 1000:14.1f} kB/s  {shown / seconds:10.0f} B/s"
        )


if __name__ == "__main__":
    main()
