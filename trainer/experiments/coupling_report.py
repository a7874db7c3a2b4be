"""Table, tests and plot of the coupling runs, for docs/coupling.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.experiments.coupling_runs import RunResult

MEASURES: dict[str, tuple[str, Callable[[RunResult], float]]] = {
    "energy_variance": ("energy variance", lambda run: run.energy_variance),
    "energy_noise": ("step-to-step noise", lambda run: run.energy_noise),
    "energy_level": ("energy loss, mean", lambda run: run.energy_level),
    "jolt_echo": ("echo of a jolt", lambda run: run.jolt_echo),
    "final_l1": ("final L1", lambda run: run.final_l1),
    "ranking": ("ranking", lambda run: run.ranking),
}


@dataclass(frozen=True, slots=True)
class CouplingTable:
    """Runs by coupling, in seed order, for the seeds that every coupling has."""

    couplings: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: dict[str, tuple[RunResult, ...]]

    def values(self, coupling: str, measure: str) -> NDArray[np.float64]:
        """One number a seed."""
        return np.asarray([MEASURES[measure][1](run) for run in self.runs[coupling]])


def paired(results: Sequence[RunResult], couplings: Sequence[str]) -> CouplingTable:
    """The table of the seeds that all couplings have finished."""
    have = {name: {run.seed: run for run in results if run.coupling == name} for name in couplings}
    seeds = sorted(set.intersection(*(set(runs) for runs in have.values())))
    runs = {name: tuple(have[name][seed] for seed in seeds) for name in couplings}
    return CouplingTable(tuple(couplings), tuple(seeds), runs)


def wilcoxon(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sided p of the signed-rank test; 1 where all pairs are equal."""
    from scipy import stats

    if np.all(first == second):
        return 1.0
    return float(stats.wilcoxon(first, second).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for how many there are."""
    order = np.argsort(values)
    adjusted = [1.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted


def markdown(table: CouplingTable) -> str:
    """All that the document quotes."""
    lines = [f"{len(table.seeds)} seeds a coupling; medians, quartiles in brackets.", ""]
    lines += _summary(table)
    for measure in ("energy_variance", "jolt_echo", "final_l1", "ranking"):
        lines += ["", *_against_joint(table, measure)]
    if can_be_significant(len(table.seeds), len(list(combinations(table.couplings, 2)))):
        lines += ["", *_pairs(table, "energy_variance"), "", *_pairs(table, "final_l1")]
    return "\n".join(lines)


def can_be_significant(seeds: int, comparisons: int) -> bool:
    """Whether so many seeds can give a corrected p below 0.05: all pairs differ the same way."""
    return 2.0 ** (1 - seeds) * comparisons < 0.05


def _summary(table: CouplingTable) -> list[str]:
    heads = [head for head, _ in MEASURES.values()]
    lines = [
        f"| coupling | {' | '.join(heads)} | explosions energy / L1 | updates |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for name in table.couplings:
        runs = table.runs[name]
        cells = [_quartiles(table.values(name, measure)) for measure in MEASURES]
        bangs = sum(run.energy_explosions > 0 for run in runs)
        policy = sum(run.policy_explosions > 0 for run in runs)
        updates = {(run.policy_updates, run.energy_updates) for run in runs}
        shown = ", ".join(f"{policy} + {energy}" for policy, energy in sorted(updates))
        lines.append(f"| `{name}` | {' | '.join(cells)} | {bangs} / {policy} runs | {shown} |")
    return lines


def _quartiles(values: NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def _against_joint(table: CouplingTable, measure: str) -> list[str]:
    """Each coupling against `joint`, Holm-corrected over the couplings."""
    others = [name for name in table.couplings if name != "joint"]
    base = table.values("joint", measure)
    adjusted = holm([wilcoxon(table.values(name, measure), base) for name in others])
    lines = [
        f"**{MEASURES[measure][0]}** against `joint` (Wilcoxon signed rank, paired by seed, Holm):",
        "",
        "| coupling | median of the paired ratios | lower in | p |",
        "|---|---|---|---|",
    ]
    for name, p in zip(others, adjusted, strict=True):
        values = table.values(name, measure)
        ratio = np.median(values / np.where(base == 0, np.nan, base))
        lower = int((values < base).sum())
        lines.append(f"| `{name}` | ×{ratio:.2f} | {lower} of {len(base)} | {_p(p)} |")
    return lines


def _pairs(table: CouplingTable, measure: str) -> list[str]:
    """Every pair: sign of the difference and its Holm-corrected p."""
    names = table.couplings
    pairs = list(combinations(names, 2))
    raw = [wilcoxon(table.values(a, measure), table.values(b, measure)) for a, b in pairs]
    found = dict(zip(pairs, holm(raw), strict=True))
    lines = [
        f"**{MEASURES[measure][0]}**, every pair (Holm over {len(pairs)}): the row is lower (<)",
        "or higher (>) than the column at p < 0.05, · otherwise.",
        "",
        f"| | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in names:
        cells = []
        for column in names:
            p = found.get((row, column), found.get((column, row), 1.0))
            gap = np.median(table.values(row, measure) - table.values(column, measure))
            cells.append("·" if p >= 0.05 or row == column else ("<" if gap < 0 else ">"))
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def marks(energy: str) -> tuple[str, str]:
    """What the tables of an energy model stand between in the document."""
    return f"<!-- coupling {energy}: begin -->", f"<!-- coupling {energy}: end -->"


def write(table: CouplingTable, energy: str, docs: Path) -> None:
    """Puts the tables between the document's marks and draws the plot."""
    document = docs / "coupling.md"
    begin, end = marks(energy)
    text = document.read_text("utf-8") if document.exists() else ""
    if begin not in text:
        text += f"\n## {energy}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{markdown(table)}\n{end}{after}", encoding="utf-8")
    draw(table, docs / "images" / f"coupling-{energy}.svg")


def draw(table: CouplingTable, plot: Path) -> None:
    """A dot a seed, a bar at the median; one panel a measure."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "vlamon"  # the same runs give the same file
    from matplotlib import pyplot

    shown = ("energy_variance", "jolt_echo", "final_l1", "ranking")
    figure, axes = pyplot.subplots(1, len(shown), figsize=(13, 4), sharey=True)
    for axis, measure in zip(axes, shown, strict=True):
        for place, name in enumerate(table.couplings):
            values = table.values(name, measure)
            spread = np.linspace(-0.25, 0.25, len(values))
            axis.plot(values, place + spread, "o", ms=3, alpha=0.5, color=f"C{place}")
            middle = float(np.median(values))
            axis.plot([middle, middle], [place - 0.35, place + 0.35], color="black", lw=2)
        joint = float(np.median(table.values("joint", measure)))
        axis.axvline(joint, color="grey", lw=0.8, ls=":")
        axis.set_title(MEASURES[measure][0], fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        if measure in ("energy_variance", "jolt_echo"):
            axis.set_xscale("log")
    axes[0].set_yticks(range(len(table.couplings)), table.couplings)
    axes[0].invert_yaxis()
    figure.tight_layout()
    plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(plot, metadata={"Date": None})
    pyplot.close(figure)
