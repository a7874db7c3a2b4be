"""What the three losses of the ActionHead share: its error against the decoded label bins."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from trainer.model.vla import Outputs


def action_error(outputs: Outputs, size: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Mean of `size(error)` over the labelled dimensions of the actions both sides have.

    A row may have fewer actions than the head's horizon, a truncated block fewer dimensions; a
    batch in which no dimension is labelled gives None.
    """
    layout = outputs.batch.layout
    if outputs.actions is None or not sum(layout.labelled[: outputs.actions.shape[1]]):
        return None
    shown = min(outputs.actions.shape[1], layout.actions.shape[1])
    valid = layout.action_valid[:, :shown]
    error = outputs.actions[:, :shown].float() - layout.actions[:, :shown]
    return (size(error) * valid).sum() / valid.sum()
