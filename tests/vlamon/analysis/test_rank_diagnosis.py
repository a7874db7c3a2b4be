"""What single ranks did to a run is in its diagnosis."""

from __future__ import annotations

import numpy as np

from vlamon.analysis.diagnosis import Diagnosis, diagnose
from vlamon.analysis.evidence import gather
from vlamon.records import BatchBlock, Column, Event


def told(number: int, finding: str, rank: int, **data: object) -> Event:
    details = {"finding": finding, "ranks": [rank], **data}
    return Event(f"e{number}", "warn", 40, 0, 1.7e9, "warn", f"rank {rank}: {finding}", details)


def by_id(*events: Event) -> dict[str, Diagnosis]:
    steps = np.arange(100)
    columns = {"closs": Column(2.0 + 0.01 * (steps % 7))}
    block = BatchBlock(0, 0, steps, steps / 100, 1.7e9 + steps, columns)
    evidence = gather([block, *events])
    return {found.id: found for found in diagnose(evidence, [], "en")}


def test_a_rank_that_is_gone_is_an_error_until_it_is_back() -> None:
    assert "reported nothing" in by_id(told(1, "silent", 3))["rank-lost"].evidence
    assert "rank-lost" not in by_id(told(1, "silent", 3), told(2, "back", 3))


def test_a_straggler_and_a_broken_batch_name_their_rank() -> None:
    assert "Rank(s) 2" in by_id(told(1, "straggler", 2))["straggler"].evidence
    broken = by_id(told(1, "broken", 1, metric="closs"))["broken-batch-of-rank"]
    assert broken.evidence == "closs was not finite first at step 40, on rank(s) 1."
    assert "Rank(s) 5" in by_id(told(1, "throttled", 5))["rank-throttled"].evidence
    assert "Rank(s) 3" in by_id(told(1, "apart", 3))["ranks-apart"].evidence
    assert not {"straggler", "broken-batch-of-rank", "rank-lost"} & by_id().keys()
