"""Loss terms and the total that weights them."""

from trainer.objectives.term import Term
from trainer.objectives.total import Losses, ObjectiveError, Objectives

__all__ = ["Losses", "ObjectiveError", "Objectives", "Term"]
