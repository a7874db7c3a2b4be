"""Each coupling touches what it says, and nothing else; and resumes bit for bit."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.experiments.toy import MODEL, ToyTask
from trainer.model.batch import Batch
from trainer.model.energy import EnergyConfig
from trainer.model.vla import VLA
from trainer.objectives import ObjectiveError, Objectives
from trainer.objectives.coupling import REMEDIES, Cache, Coupling, EmaTarget
from trainer.objectives.energy_task import KINDS, EnergyTask, _to_horizon

BATCHES = [batch for batch, _ in zip(ToyTask(0, train=64).batches(), range(24), strict=False)]


class Pair:
    """A toy policy with an energy model, stepped as a loop would."""

    def __init__(self, coupling: str | Coupling, kind: str = "hinge", frozen: bool = False) -> None:
        torch.manual_seed(0)
        self.policy = VLA(MODEL)
        if frozen:
            self.policy.model.embed_tokens.requires_grad_(False)
        named = Coupling.named(coupling) if isinstance(coupling, str) else coupling
        self.energy = KINDS[kind].model(MODEL.hidden, EnergyConfig(width=16, heads=2))
        self.task = EnergyTask(self.policy, self.energy, named, kind=kind, learning_rate=1e-3)
        off = {"closs": 0.0, "z_loss": 0.0}
        self.objectives = Objectives({**off, "loss_ct": 1.0, "energy": 1.0})
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, 1e-3)

    def step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        shown = None
        if self.task.policy_turn(step):
            outputs = self.policy(batch, keep_layers=self.task.keep_layers, project=False)
            losses = self.objectives(self.task.before_update(outputs, step))
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(self.task.factors()[0] * losses.total)
            self.optimizer.step()
            self.task.policy_updated()
            shown = float(losses.values["loss_ct"].detach())
        metrics = self.task.update(batch, step)
        self.task.observe(shown, float(metrics["energy"]) if "energy" in metrics else None)
        return metrics

    def run(self, first: int, end: int) -> list[float]:
        seen = [self.step(step, BATCHES[step]) for step in range(first, end)]
        return [float(metrics["energy"]) for metrics in seen if "energy" in metrics]

    def state(self) -> dict[str, Any]:
        return copy.deepcopy(
            {
                "policy": self.policy.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "task": self.task.state_dict(),
                "rng": torch.get_rng_state(),
            }
        )

    def load(self, state: dict[str, Any]) -> None:
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.task.load_state_dict(state["task"])
        torch.set_rng_state(state["rng"])


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {n for n, p in module.named_parameters() if not torch.equal(p, before[n])}


@pytest.mark.parametrize("loss", ["hinge", "swap"])
@pytest.mark.parametrize("name", sorted(set(REMEDIES) - {"entangled"}))
def test_the_energy_loss_leaves_no_gradient_on_the_policy(name: str, loss: str) -> None:
    pair = Pair(name, loss)
    step = 5 if name == "alternate" else 0
    outputs = pair.policy(BATCHES[0], keep_layers=pair.task.keep_layers, project=False)
    assert pair.task.before_update(outputs, step).energy is None
    before = weights(pair.policy)
    metrics = pair.task.update(BATCHES[0], step)
    assert float(metrics["energy_grad_norm"]) > 0
    assert all(p.grad is None for p in pair.policy.parameters())
    assert not moved(pair.policy, before)


def test_entangled_is_the_coupling_whose_energy_gradient_reaches_the_decoder() -> None:
    pair = Pair("entangled")
    outputs = pair.policy(BATCHES[0], keep_layers=True, project=False)
    energy = pair.task.before_update(outputs, 0).energy
    assert energy is not None
    (gradient,) = torch.autograd.grad(energy, pair.policy.model.embed_tokens.weight)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(REMEDIES))
def test_what_was_frozen_stays_frozen_and_modes_come_back(name: str) -> None:
    pair = Pair(name, frozen=True)
    pair.policy.model.norm.eval()
    modes = [module.training for module in pair.policy.modules()]
    flags = [p.requires_grad for p in pair.policy.parameters()]
    before = weights(pair.policy)
    pair.run(0, 6)
    assert "model.embed_tokens.weight" not in moved(pair.policy, before)
    assert [p.requires_grad for p in pair.policy.parameters()] == flags
    assert [module.training for module in pair.policy.modules()] == modes


def test_freeze_backbone_trains_the_action_head_alone() -> None:
    pair = Pair("freeze_backbone")
    before = weights(pair.policy)
    pair.run(0, 3)
    changed = moved(pair.policy, before)
    assert changed
    assert all(name.startswith("action_head.") for name in changed)
    learning = [name for name, each in pair.policy.named_parameters() if each.requires_grad]
    assert learning == [name for name in before if name.startswith("action_head.")]


def test_alternation_steps_only_its_group() -> None:
    pair = Pair("alternate")
    for step in range(20):
        policy, energy = weights(pair.policy), weights(pair.energy)
        pair.step(step, BATCHES[step])
        policy_turn = step // 5 % 2 == 0
        assert bool(moved(pair.policy, policy)) == policy_turn
        assert bool(moved(pair.energy, energy)) == (not policy_turn)


def negatives(pair: Pair, step: int, batch: Batch) -> Tensor:
    outputs = pair.policy(batch, keep_layers=True, project=False)
    pair.task.before_update(outputs, step)
    inputs = pair.task._pending
    assert inputs is not None
    assert inputs.negatives is not None
    return inputs.negatives


def shake(head: nn.Module) -> None:
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1)


@pytest.mark.parametrize("name", ["cache", "ema_target+cache", "cache+ema_target"])
def test_cached_negatives_stand_still_for_samples_that_were_never_seen(name: str) -> None:
    """A pass over the data is longer than the cache lasts, so no sample comes back in time."""
    pair = Pair(Coupling.named(name, refresh=3))
    new = BATCHES[5]
    negatives(pair, 0, BATCHES[0])
    before = negatives(pair, 1, new)
    shake(pair.policy.action_head)
    pair.task.policy_updated()
    assert torch.equal(negatives(pair, 2, new), before)
    assert not torch.equal(negatives(pair, 3, new), before)


def test_the_cache_is_taken_anew_again_and_again() -> None:
    cache = Cache(refresh=3)
    cache.prepare(VLA(MODEL))
    live = VLA(MODEL).action_head
    taken = []
    for step in range(8):
        cache.cached(step, live)
        taken.append(cache.taken)
    assert taken == [0, 0, 0, 3, 3, 3, 6, 6]  # the seed's cache never aged again


def test_a_live_weight_of_zero_switches_the_energy_model_off() -> None:
    pair = Pair("joint")
    pair.run(0, 2)
    pair.task.weight = lambda: 0.0
    before = weights(pair.energy)
    assert pair.step(2, BATCHES[2]) == {}
    assert not moved(pair.energy, before)


def test_no_clipping_of_the_energy_model_s_gradient_at_zero() -> None:
    free, held = Pair("joint"), Pair("joint")
    free.task.clip_grad, held.task.clip_grad = 0.0, 1e-12
    for pair in (free, held):
        pair.run(0, 1)
    assert all(
        float(p.grad.abs().max()) < 1e-11 for p in held.energy.parameters() if p.grad is not None
    )
    assert any(
        float(p.grad.abs().max()) > 1e-6 for p in free.energy.parameters() if p.grad is not None
    )


def test_the_ema_target_follows_the_head_slowly() -> None:
    pair = Pair("ema_target")
    part = pair.task.coupling.parts[0]
    assert isinstance(part, EmaTarget)
    assert part.target is not None
    start = weights(part.target)
    pair.run(0, 1)
    live = weights(pair.policy.action_head)
    for name, parameter in part.target.named_parameters():
        expected = start[name] + 0.01 * (live[name] - start[name])
        torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-7)
        assert not parameter.requires_grad


def test_isolation_sees_the_policy_after_its_update_and_joint_before() -> None:
    def first_energy(name: str, skip: bool) -> float:
        pair = Pair(name)
        if skip:
            for group in pair.optimizer.param_groups:
                group["lr"] = 0.0
        else:
            for group in pair.optimizer.param_groups:
                group["lr"] = 0.05
        return pair.run(0, 1)[0]

    assert first_energy("joint", skip=True) == first_energy("joint", skip=False)
    assert first_energy("separate", skip=True) != first_energy("separate", skip=False)


def test_adaptive_scales_down_the_loss_that_varies_too_much() -> None:
    coupling = Coupling.named("adaptive")
    for step in range(10):
        coupling.observe(0.1, 1.0 + 0.5 * (-1) ** step)
    assert coupling.weights() == (1.0, 0.1)  # it decides once it has seen more than ten
    coupling.observe(0.1, 1.5)
    assert coupling.weights() == (1.0, 0.3)
    for step in range(10):
        coupling.observe(0.1 + 0.3 * (-1) ** step, 1.0)
    assert coupling.weights() == (0.5, 1.0)
    for _ in range(10):
        coupling.observe(0.1, 1.0)
    assert coupling.weights() == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *[(name, "hinge") for name in sorted(REMEDIES)],
        ("separate+ema_target", "hinge"),
        ("cache+alternate", "hinge"),
        ("isolate", "swap"),
        ("joint", "reference"),
        ("entangled", "reference"),
        ("cache", "reference"),
        ("separate", "reference_swap"),
    ],
)
def test_every_coupling_resumes_bit_for_bit(name: str, loss: str) -> None:
    whole = Pair(name, loss)
    expected = whole.run(0, 12)
    first = Pair(name, loss)
    seen = first.run(0, 6)
    state = first.state()
    second = Pair(name, loss)
    second.load(state)
    assert seen + second.run(6, 12) == expected
    for ours, theirs in zip(second.policy.parameters(), whole.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(second.energy.parameters(), whole.energy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_names_compose_and_unknown_ones_are_refused() -> None:
    both = Coupling.named("separate+cache")
    assert both.inputs() == "after"
    assert both.quiet()
    with pytest.raises(ObjectiveError, match="no coupling is called 'sepparate'; there are joint"):
        Coupling.named("joint+sepparate")


def test_a_batch_without_policy_rows_updates_nothing() -> None:
    from tests.trainer.rows import mixed_batch

    pair = Pair("separate")
    before = weights(pair.energy)
    assert pair.task.update(mixed_batch(policy=0, world=2), 0) == {}
    assert not moved(pair.energy, before)


@pytest.mark.parametrize("name", ["cache", "cache+separate"])
def test_the_cache_ages_also_where_a_rank_has_no_policy_rows(name: str) -> None:
    """Else the ranks would keep heads of different steps."""
    from tests.trainer.rows import mixed_batch

    pair = Pair(Coupling.named(name, refresh=3))
    for step in range(8):
        pair.task.update(mixed_batch(policy=0, world=2), step)
    assert pair.task.state_dict()["coupling"]["cache"]["taken"] == 6


def test_the_reference_s_negatives_are_the_first_layer_s_actions_on_its_raw_states() -> None:
    pair = Pair("joint", "reference")
    batch, head = BATCHES[0], pair.policy.action_head.eval()
    outputs = pair.policy.eval()(batch, keep_layers=True, project=False)
    found = pair.task.layer_actions(outputs, head)
    layout = batch.layout
    raw = outputs.decoded.layers[0][layout.policy_rows, : layout.longest_prefix]
    assert found.shape[1] == 1
    torch.testing.assert_close(found[:, 0], head(raw, layout.prefix_length))


def test_chosen_layers_are_counted_from_the_embedding_to_the_normed_last() -> None:
    pair = Pair("joint", "reference")
    outputs = pair.policy.eval()(BATCHES[0], keep_layers=True, project=False)
    task = EnergyTask(
        pair.policy, pair.energy, Coupling.named("joint"), kind="reference", layers=(0, 3)
    )
    found = task.layer_actions(outputs, pair.policy.action_head)
    layout = outputs.batch.layout
    embedded = outputs.decoded.embedded[layout.policy_rows, : layout.longest_prefix]
    head = pair.policy.action_head
    torch.testing.assert_close(found[:, 0], head(embedded, layout.prefix_length))
    torch.testing.assert_close(found[:, 1], outputs.actions)


def test_chunks_are_cut_or_filled_up_to_the_horizon() -> None:
    steps = torch.arange(1.0, 13.0).reshape(2, 3, 2)
    longer = _to_horizon(steps, 5)
    assert longer.shape == (2, 5, 2)
    assert torch.equal(longer[:, :3], steps)
    assert not longer[:, 3:].any()
    assert torch.equal(_to_horizon(steps, 2), steps[:, :2])
    assert torch.equal(_to_horizon(steps, 3), steps)
    assert _to_horizon(torch.ones(2, 3, dtype=torch.bool), 4).tolist() == 2 * [[True] * 3 + [False]]


def test_a_step_of_a_chunk_that_lacks_a_dimension_is_not_there() -> None:
    pair = Pair("joint")
    batch = BATCHES[0]
    layout = batch.layout
    valid = layout.action_valid.clone()
    valid[0, 0, 3] = False
    cut = replace(batch, layout=replace(layout, action_valid=valid))
    outputs = pair.policy(cut, keep_layers=True, project=False)
    found = pair.task._inputs(outputs, pair.policy.action_head)
    assert found is not None
    shown = min(found.valid.shape[1], valid.shape[1])
    assert torch.equal(found.valid[:, :shown], valid[:, :shown].all(-1))
    assert not found.valid[0, 0]


def test_the_energy_model_learns_and_no_gradient_that_is_not_finite_gets_in() -> None:
    pair = Pair("isolate")
    before = weights(pair.energy)
    pair.step(0, BATCHES[0])
    assert moved(pair.energy, before)
    before = weights(pair.energy)
    with torch.no_grad():
        pair.policy.model.norm.weight.fill_(torch.nan)
    metrics = pair.task.update(BATCHES[1], 1)
    assert not torch.isfinite(metrics["energy_grad_norm"])
    assert not moved(pair.energy, before)
