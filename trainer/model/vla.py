"""The whole model: decoder, token head, ActionHead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainer.model import tokens
from trainer.model.action_head import ActionHead
from trainer.model.batch import Batch
from trainer.model.chameleon import ChameleonModel, Decoded, action_mask
from trainer.model.config import ModelConfig
from trainer.model.label_projection import TokenStatistics, project_labels


@dataclass(frozen=True, slots=True)
class Outputs:
    """Everything that a loss or a metric may look at."""

    batch: Batch
    """What went in."""
    hidden: Tensor
    """[B, T, D] after the final norm."""
    tokens: TokenStatistics
    """Logit statistics at the label-valid positions."""
    actions: Tensor | None
    """[P, horizon, 7] of the ActionHead for the policy rows; None without such rows."""
    decoded: Decoded
    """Layers (if asked for) and the last MLP."""
    image_weight: float
    """Weight of image codes in closs."""
    image_weight_ids: tuple[int, int]
    """First id that has that weight, and the first one behind them."""
    masked: TokenStatistics | None = None
    """Logit statistics where image codes were masked; None for a batch without masks."""
    patches: Tensor | None = None
    """[K, P] pixels expected at the masked positions; None without a codebook."""
    true_patches: Tensor | None = None
    """[K, P] pixels of the codes that were masked."""
    energy: Tensor | None = None
    """Energy loss on attached hidden states, where a coupling entangles it with the policy."""
    head_rng: Tensor | None = None
    """State of the random numbers before the heads' dropout, kept where the pull is measured."""
    idle: Tensor | None = None
    """A zero that hangs on the ActionHead, where nothing else of the batch has a gradient."""

    def touch(self) -> Tensor:
        """A zero that passes a gradient of zero to everything that a loss could have used.

        A rank among several has to answer for every parameter that its forward went through.
        """
        found = [self.hidden, self.actions, self.patches, self.energy, self.idle]
        for tokens_ in (self.tokens, self.masked):
            if tokens_ is not None:
                found += [tokens_.logsumexp, tokens_.target_logit]
        return touch([tensor for tensor in found if tensor is not None and tensor.requires_grad])


class _Touch(torch.autograd.Function):
    """Not a sum times zero: an infinity among the tensors would make that NaN."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return tensors[0].new_zeros((), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(tensor) for tensor in ctx.saved_tensors)


def touch(tensors: Sequence[Tensor]) -> Tensor:
    """A zero with a gradient of zero for each of the tensors; a plain zero for none."""
    if not tensors:
        return torch.zeros(())
    apply: Any = _Touch.apply
    zero: Tensor = apply(*tensors)
    return zero


class VLA(nn.Module):
    """Chameleon decoder with a token head and an ActionHead; names as in Hugging Face's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = ChameleonModel(config)
        self.lm_head = nn.Linear(config.hidden, config.vocab, bias=False)
        self.action_head = ActionHead(config.hidden, config.head)
        self.image_weight_ids = tokens.IMAGE_WEIGHT_IDS["reference"]
        self.codebook: Tensor | None = None  # no buffer: snapshots need no copies of it
        self.reset_parameters()

    def show_codebook(self, patches: Tensor) -> None:
        """Gives the pixels [codes, P] of each image code, for losses on decoded patches."""
        self.codebook = patches.to(self.lm_head.weight.device, torch.float32)

    def compile_layers(self) -> None:
        """Compile the decoder's layers, which share their code, rather than the whole.

        Labels and policy rows differ from batch to batch; compiled as one, the model was compiled
        again for minutes. The heads stay as they are: the pull goes back through them several
        times, which compiled code does not allow. In place, so that parameters keep their names.
        """
        for layer in self.model.layers:
            layer.compile(dynamic=True)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Normal weights for the decoder; the ActionHead keeps torch's usual ones."""
        std = self.config.init_std
        for module in (*self.model.modules(), self.lm_head):
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(0.0, std)

    def forward(
        self, batch: Batch, *, keep_layers: bool = False, trace: bool = False, project: bool = True
    ) -> Outputs:
        """One pass over a batch.

        `trace` keeps what `objectives.pull` needs to redo the heads; without `project` there are
        no token statistics (for passes that only need hidden states and actions).
        """
        layout = batch.layout
        mask = None
        if layout.masks_actions:
            mask = action_mask(layout.action_block, layout.after_images)
        decoded = self.model(batch.input_ids, mask, keep_layers)
        return self.heads(batch, decoded, decoded.hidden, trace=trace, project=project)

    def heads(
        self,
        batch: Batch,
        decoded: Decoded,
        hidden: Tensor,
        *,
        trace: bool = False,
        project: bool = True,
        frozen: bool = False,
    ) -> Outputs:
        """Both heads on the trunk's hidden states; `frozen` asks no gradient for the token head."""
        rng = _rng_state(hidden.device) if trace else None
        weight = self.lm_head.weight.detach() if frozen else self.lm_head.weight
        shown = len(batch.layout.label_at) if project else 0
        at_labels = hidden.flatten(0, 1)[batch.layout.label_at[:shown]]
        masked = patches = true_patches = None
        if batch.masked is not None and len(batch.masked.codes):
            at_masks = hidden.flatten(0, 1)[batch.masked.at]
            masked = project_labels(at_masks, weight, batch.masked.codes)
            if self.codebook is not None:
                patches, true_patches = self._patches(at_masks, weight, batch.masked.codes)
        return Outputs(
            masked=masked,
            patches=patches,
            true_patches=true_patches,
            batch=batch,
            hidden=hidden,
            tokens=project_labels(at_labels, weight, batch.layout.targets[:shown]),
            actions=self._actions(batch, hidden),
            decoded=decoded,
            image_weight=self.config.image_weight,
            image_weight_ids=self.image_weight_ids,
            head_rng=rng,
            idle=self._idle(batch, hidden),
        )

    def _idle(self, batch: Batch, hidden: Tensor) -> Tensor | None:
        """With a frozen trunk a batch without policy rows reaches no parameter at all."""
        frozen = not (hidden.requires_grad or self.lm_head.weight.requires_grad)
        if batch.layout.longest_prefix or not frozen or not torch.is_grad_enabled():
            return None
        return touch([p for p in self.action_head.parameters() if p.requires_grad])

    def _patches(self, hidden: Tensor, weight: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Expected pixels under the softmax over the codebook's codes, and the true ones."""
        assert self.codebook is not None
        first = tokens.IMAGE_CODE_FIRST
        logits = hidden @ weight[first : first + len(self.codebook)].t()
        return logits.float().softmax(-1) @ self.codebook, self.codebook[codes - first]

    def _actions(self, batch: Batch, hidden: Tensor) -> Tensor | None:
        layout = batch.layout
        if not layout.longest_prefix:
            return None
        prefix = hidden[layout.policy_rows, : layout.longest_prefix]
        actions: Tensor = self.action_head(prefix, layout.prefix_length)
        return actions

    @torch.no_grad()
    def act_head(self, batch: Batch) -> Tensor:
        """[B, horizon, 7] normalised actions for prompts: rows that end before the first action."""
        hidden = self.model(batch.input_ids, self._mask(batch.input_ids)).hidden
        actions: Tensor = self.action_head(hidden, batch.lengths)
        return actions

    @torch.no_grad()
    def act_tokens(self, batch: Batch, actions: int | None = None) -> Tensor:
        """[B, actions, 7] normalised actions for the same prompts, written greedily.

        Blocks do not see each other, so all of them are written at once: 7 passes, whatever the
        horizon. Only the 256 bins compete where a bin belongs: the block structure is given, so
        that a young model's stray tokens cost accuracy and not the whole rollout.
        """
        count = actions or self.config.head.horizon
        device = batch.input_ids.device
        rows = torch.arange(batch.rows, device=device).unsqueeze(1)
        room = count * tokens.ACTION_BLOCK
        ids = torch.nn.functional.pad(batch.input_ids, (0, room), value=tokens.PAD)
        starts = torch.arange(count, device=device) * tokens.ACTION_BLOCK
        begin = batch.lengths.unsqueeze(1) + starts
        ids[rows, begin] = tokens.ACTION_BEGIN
        ids[rows, begin + tokens.ACTION_BLOCK - 1] = tokens.ACTION_END
        mask = self._mask(ids)
        weight = self.lm_head.weight[tokens.ACTION_BIN_FIRST :][: tokens.BINS]
        for dim in range(tokens.ACTION_DIMS):
            hidden = self.model(ids, mask).hidden[rows, begin + dim]
            best = (hidden @ weight.t()).argmax(dim=-1) + tokens.ACTION_BIN_FIRST
            ids[rows, begin + dim + 1] = best
        dims = torch.arange(1, tokens.ACTION_DIMS + 1, device=device)
        return tokens.decode_action_ids(ids[rows.unsqueeze(2), begin.unsqueeze(2) + dims])

    def _mask(self, input_ids: Tensor) -> Tensor:
        """The training mask for rows that are still being written."""
        begins = input_ids == tokens.ACTION_BEGIN
        ended = (input_ids == tokens.ACTION_END).cumsum(1) - (input_ids == tokens.ACTION_END).int()
        number = begins.cumsum(1)
        inside = (number > ended) & (number > 0)
        images = (input_ids == tokens.IMAGE_END).flip(1).cumsum(1).flip(1)
        block = torch.where(inside, number, 0)
        first_of_block = images == 0
        return action_mask(block, first_of_block & inside)


def _rng_state(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()
