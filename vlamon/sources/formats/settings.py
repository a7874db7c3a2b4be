"""Distinguishes names of metrics and settings: logs echo their configuration in the same form.

`gradient_accumulation_steps=1`, `aux_loss_coef: 0.01`, `max_grad_norm=1.0`, `FOO_ERROR=1` and
`handler.py:145` are no metrics, although some of their words are those of one.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = re.compile(r"[^\W_]+")
_SETTING = re.compile(
    r"weight|weights|coef|coeff|coeffs|coefficient|coefficients|scale|scales|scaling|scaler|"
    r"factor|factors|threshold|thresh|type|types|fn|func|function|steps|freq|frequency|"
    r"interval|every|window|eps|epsilon|clip|clipping|decay|mult|max|lambda|alpha|beta|ratio|"
    r"penalty|smoothing|warmup|patience|patch|enable|enabled|use|name|names|metric|suppress|"
    r"ignore|layers|gamma|num|seed|port|version|bits|mode|reduction|margin|temperature"
)
"""Words that settings have and metrics have not."""
_CODE = re.compile(r"\.(?:py|cc|cpp|cu|cuh|c|h|hpp|rs|go|sh|js|ts|yaml|yml|json|java)$")
_SHOUTED = ("_LOSS", "_ACC", "_LR")
"""What a metric's name ends in that is written like an environment variable's."""
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_METRIC = re.compile(
    r"loss|perplex|reward|accuracy|损失|准确率|精度|误差|奖励|困惑度|范数|^(?:[a-z0-9]*acc\d?|"
    r"[a-z]*(?<!layer)(?<!batch)(?<!rms)(?<!group)norm|grdn|error|err|ppl|mse|mae|rmse|psnr|"
    r"score|f1|auc|bleu|fid|iou|miou|(?-i:mAP)\d*|return|returns|nll|elbo|bpb|bpc|ce|kl)$",
    re.IGNORECASE,
)
_NAMES = 4096
"""Names whose kind is remembered; a log repeats its own on every line."""
_RATE = frozenset(("lr", "learning_rate", "学习率"))


@lru_cache(_NAMES)
def is_setting(name: str) -> bool:
    """Whether this is a setting's name, an environment variable's, or a place in a source file."""
    words = {word.lower() for word in _WORDS.findall(name)}
    shouted = _ENVIRONMENT.fullmatch(name) is not None and not name.endswith(_SHOUTED)
    return any(map(_SETTING.fullmatch, words)) or shouted or is_code(name)


@lru_cache(_NAMES)
def is_code(name: str) -> bool:
    """Whether this is a place in a source file: the `train.py` of `train.py:232`."""
    return _CODE.search(name) is not None


@lru_cache(_NAMES)
def is_metric(name: str) -> bool:
    """Whether a value of this name says that a training prints it: a loss, a score, a norm."""
    if is_setting(name):
        return False
    return any(_METRIC.search(word) for word in _WORDS.findall(name))


@lru_cache(_NAMES)
def is_rate(name: str) -> bool:
    """Whether this is a learning rate: a metric beside a step, a setting alone."""
    return name.lower().rpartition("/")[2] in _RATE
