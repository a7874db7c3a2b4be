"""Whatever happened to a run and to its log, a recovered mean lies within its stated bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.records import IntervalBlock
from vlamon.sources.formats.reference_output import OutputLogParser

WINDOW = 1000


@dataclass
class Interrupted:
    """A MetricLogger whose processes die and are resumed, with what each line's batches were."""

    rng: np.random.Generator
    total: int
    stamped: bool
    lines: list[str] = field(default_factory=list)
    batches: list[dict[str, np.ndarray]] = field(default_factory=list)
    """Of each line: the values that its epoch had at each iteration, as far as it came."""
    clock: float = 0.0

    def meters(self) -> dict[str, np.ndarray]:
        """A new draw of an epoch, which a resumed process sees in another order."""
        rng, count = self.rng, self.total
        meters = {
            "grad_norm": rng.lognormal(1, 0.4, count),
            "closs": 8.5 + np.linspace(0, rng.uniform(-1, 1), count) + rng.normal(0, 0.3, count),
            "loss_ct": rng.lognormal(-2, 0.3, count) * (rng.random(count) > 0.1),
            "z_loss": 40 + rng.normal(0, 1, count),
        }
        if rng.random() < 0.3:
            at = int(rng.integers(count))
            for values in meters.values():
                values[at : at + 5] *= rng.uniform(1, 12)
        if rng.random() < 0.15:
            meters["closs"][rng.integers(count)] = rng.choice([np.nan, np.inf])
        return {name: values.astype(np.float32).astype(float) for name, values in meters.items()}

    def process(self, meters: dict[str, np.ndarray], start: int, stop: int) -> None:
        """Train these iterations and print every tenth."""
        paces = self.rng.normal(3, 0.05, stop - start)
        paces[0] += self.rng.uniform(0, 40)
        begun = self.clock
        for k in range(-(-start // 10) * 10, stop, 10):
            window = slice(max(start, k + 1 - WINDOW), k + 1)
            printed = []
            for name, values in meters.items():
                with np.errstate(invalid="ignore"):
                    recent = np.mean(values[window].astype(np.float32), dtype=np.float32)
                    printed.append(f"{name}: {recent:.4f} ({np.mean(values[start : k + 1]):.4f})")
            self.clock = begun + float(np.sum(paces[: k + 1 - start]))
            pace = np.mean(paces[max(0, k + 1 - WINDOW - start) : k + 1 - start])
            self.lines.append(
                f"{self._stamp()}Epoch: [0]  [{k}/{self.total}]  lr: 0.000005  "
                f"{'  '.join(printed)}  time: {pace:.4f}  data: 0.0100\n"
            )
            self.batches.append(meters)

    def _stamp(self) -> str:
        if not self.stamped:
            return ""
        at = datetime(2025, 11, 24) + timedelta(seconds=self.clock)
        return f"[rank0:INFO|misc.py:146] {at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d} >> "

    def resumed(self, start: int, stop: int) -> None:
        """Die, and begin again at an iteration with other batches."""
        after, before = self.meters(), self.batches[-1]
        self.clock += 900
        self.process({n: np.r_[before[n][:start], after[n][start:]] for n in after}, start, stop)


def assert_within_bounds(run: Interrupted, cut: int, copies: int, pieces: int) -> None:
    text = [line for line in run.lines[cut:] for _ in range(copies)]
    parser = OutputLogParser("output.log", middle=cut > 0)
    size = -(-len(text) // pieces)
    blocks = []
    for at in range(0, len(text), size):
        blocks += parser.feed("".join(text[at : at + size]).encode())
    truths = iter(run.batches[cut:])
    for block in (block for block in blocks if isinstance(block, IntervalBlock)):
        for row in range(block.rows):
            truth = next(truths)
            first, last = int(block.first[row]), int(block.last[row])
            for name, column in block.metrics.items():
                if first < 0 or (column.present is not None and not column.present[row]):
                    continue
                real = float(np.mean(truth[name][first : last + 1]))
                mean, bound = column.values[row], block.bound[name].values[row]
                if not np.isfinite(real):
                    assert not np.isfinite(mean)
                    continue
                assert abs(mean - real) <= bound * (1 + 1e-9), (name, first, last)
                assert mean >= 0
    assert next(truths, None) is None


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    stamped=st.booleans(),
    start=st.one_of(st.just(0), st.integers(0, 1500)),
    length=st.integers(20, 1600),
    back=st.integers(1, 300),
    copies=st.sampled_from([1, 1, 2]),
    share=st.one_of(st.just(0.0), st.floats(0, 0.9)),
    pieces=st.sampled_from([1, 7, 60]),
)
def test_a_resume_that_falls_back_and_a_lost_head_break_no_bound(
    seed: int,
    stamped: bool,
    start: int,
    length: int,
    back: int,
    copies: int,
    share: float,
    pieces: int,
) -> None:
    die = start + length
    run = Interrupted(np.random.default_rng(seed), die + 500, stamped)
    run.process(run.meters(), start, die)
    # As far back as the line that was printed last, so that the log shows it.
    last = (die - 1) // 10 * 10
    run.resumed(max(0, min(last, die - back)), run.total)
    assert_within_bounds(run, int(share * len(run.lines)), copies, pieces)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lines=st.integers(102, 200),
    late=st.integers(1, 10),
    stamped=st.booleans(),
    pieces=st.sampled_from([1, 7, 60]),
)
def test_a_resume_between_two_lines_breaks_no_bound_once_the_window_moves(
    seed: int, lines: int, late: int, stamped: bool, pieces: int
) -> None:
    last = 10 * lines
    run = Interrupted(np.random.default_rng(seed), last + 600, stamped)
    run.process(run.meters(), 0, last + 1)
    run.resumed(last + late, run.total)
    assert_within_bounds(run, 0, 1, pieces)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    last=st.integers(2, 99),
    late=st.integers(1, 10),
    pieces=st.sampled_from([1, 7, 60]),
)
def test_time_stamps_show_a_resume_between_two_lines_at_any_place(
    seed: int, last: int, late: int, pieces: int
) -> None:
    run = Interrupted(np.random.default_rng(seed), 10 * last + 400, stamped=True)
    run.process(run.meters(), 0, 10 * last + 1)
    run.resumed(10 * last + late, run.total)
    assert_within_bounds(run, 0, 1, pieces)
