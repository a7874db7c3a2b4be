"""The coupling experiment: paired, repeatable, equally long runs, and a report that agrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.experiments import coupling, coupling_runs
from trainer.experiments.coupling_report import holm, markdown, marks, paired, wilcoxon, write
from trainer.experiments.coupling_runs import RunResult, run
from trainer.experiments.toy import ToyTask


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupling_runs, "UPDATES", 12)
    monkeypatch.setattr(coupling_runs, "WARM_UP", 3)
    monkeypatch.setattr(coupling_runs, "JOLTS", (6,))


def result(name: str, seed: int, variance: float) -> RunResult:
    return RunResult(
        energy="hinge",
        coupling=name,
        seed=seed,
        energy_variance=variance,
        energy_noise=0.1,
        jolt_echo=1.0,
        energy_explosions=0,
        policy_explosions=0,
        final_l1=0.2,
        ranking=0.9,
        energy_level=1.0,
        seconds=1.0,
        policy_updates=10,
        energy_updates=10,
    )


@pytest.mark.usefixtures("short")
def test_every_coupling_gets_the_same_updates_and_a_run_repeats_exactly() -> None:
    for name in ("joint", "alternate", "entangled"):
        first, again = run(name, 1), run(name, 1)
        assert (first.policy_updates, first.energy_updates) == (12, 12)
        assert replace(first, seconds=0.0) == replace(again, seconds=0.0)


@pytest.mark.usefixtures("short")
def test_couplings_that_detach_leave_the_policy_of_joint_untouched() -> None:
    joint = run("joint", 2, "hinge").final_l1
    assert run("separate", 2, "hinge").final_l1 == run("cache", 2, "hinge").final_l1 == joint
    assert run("entangled", 2, "hinge").final_l1 != joint


def test_the_toy_s_data_depends_on_the_seed_alone() -> None:
    first, again = next(ToyTask(3, train=32).batches()), next(ToyTask(3, train=32).batches())
    assert first.input_ids.equal(again.input_ids)
    assert not first.input_ids.equal(next(ToyTask(4, train=32).batches()).input_ids)


@pytest.mark.usefixtures("short")
def test_an_interrupted_experiment_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "coupling.jsonl"
    both = ("reference", "hinge")
    coupling.main(runs, tmp_path, 1, ["cache"], both)  # and `joint`, which it is held against
    assert "seed  0  hinge      cache" in capsys.readouterr().out
    coupling.main(runs, tmp_path, 2, ["joint", "cache"], both)
    said = capsys.readouterr().out
    assert "seed  0" not in said
    assert "seed  1  reference  joint" in said
    for energy in both:
        assert "<svg" in (tmp_path / "images" / f"coupling-{energy}.svg").read_text("utf-8")


def test_a_coupling_that_is_not_there_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        coupling.main(tmp_path / "c.jsonl", tmp_path, 1, ["cash"], ["hinge"])
    assert "no coupling is called cash; there are joint," in capsys.readouterr().err


def test_only_seeds_that_every_coupling_finished_are_compared() -> None:
    results = [result("joint", seed, 1.0) for seed in range(5)]
    results += [result("cache", seed, 0.5) for seed in (0, 2, 3)]
    table = paired(results, ["joint", "cache"])
    assert table.seeds == (0, 2, 3)


def test_a_clear_difference_is_found_and_none_is_invented() -> None:
    random = np.random.default_rng(0)
    results = []
    for seed in range(20):
        base = float(random.uniform(0.5, 1.5))
        results.append(result("joint", seed, base))
        results.append(result("cache", seed, base / 2))
        results.append(result("adaptive", seed, base * float(random.uniform(0.9, 1.1))))
    table = paired(results, ["joint", "cache", "adaptive"])
    text = markdown(table)
    assert "| `cache` | ×0.50 | 20 of 20 | < 0.001 |" in text
    assert (
        wilcoxon(
            table.values("adaptive", "energy_variance"), table.values("joint", "energy_variance")
        )
        > 0.05
    )


def test_holm_corrects_and_never_reorders() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([1.0, 0.9]) == [1.0, 1.0]


def test_a_matrix_of_pairs_is_shown_only_where_it_could_show_something() -> None:
    def text(seeds: int) -> str:
        runs = [result(name, seed, 1.0) for name in ("joint", "cache") for seed in range(seeds)]
        return markdown(paired(runs, ["joint", "cache"]))

    assert "every pair" not in text(5)  # the smallest p of five pairs is 0.0625
    assert "every pair" in text(6)


def test_equal_runs_have_p_one() -> None:
    values = np.array([0.3, 0.2, 0.4])
    assert wilcoxon(values, values) == 1.0


def test_the_report_keeps_what_people_wrote_around_it(tmp_path: Path) -> None:
    document = tmp_path / "coupling.md"
    begin, end = marks("hinge")
    document.write_text(f"# Coupling\nbefore\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    runs = [result(name, seed, 1.0 + seed) for name in ("joint", "cache") for seed in range(3)]
    write(paired(runs, ["joint", "cache"]), "hinge", tmp_path)
    text = document.read_text("utf-8")
    assert text.startswith("# Coupling\nbefore\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "old" not in text
    assert "3 seeds a coupling" in text
