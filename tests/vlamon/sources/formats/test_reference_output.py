"""What a MetricLogger's two numbers say, and where the recovered mean says nothing."""

from __future__ import annotations

from vlamon.records import IntervalBlock
from vlamon.sources.formats import format_named


def test_a_mean_that_is_all_rounding_gives_way_to_the_number_that_was_printed() -> None:
    lines = "".join(
        f"Epoch: [0/9]  [{at:>4}/1562]  eta: 0:30:15  loss: {9.5:.6f} ({9.75:.6f})  "
        f"lr: {1e-8 * at:.6f} ({5e-9 * at:.6f})  time: 0.5\n"
        for at in range(0, 1500, 10)
    )
    records = format_named("reference-output").open("x").feed(lines.encode())
    blocks = [record for record in records if isinstance(record, IntervalBlock)]
    assert blocks
    assert all("lr" not in block.metrics and "lr" in block.printed for block in blocks)
    assert all("loss" in block.metrics for block in blocks)
