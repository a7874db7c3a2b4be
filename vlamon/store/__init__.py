"""One run in memory: columns with a pyramid of summaries, attempts, events; no I/O."""

from vlamon.store.pyramid import FINITE, NAN, NEG_INF, POS_INF
from vlamon.store.run import RunStore
from vlamon.store.table import Attempt, Envelope

__all__ = [
    "FINITE",
    "NAN",
    "NEG_INF",
    "POS_INF",
    "Attempt",
    "Envelope",
    "RunStore",
]
