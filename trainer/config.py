"""The settings of a training: frozen dataclasses, TOML presets, `--set key=value` on top.

A key is dotted (`optim.lr`) or, where only one section has it, its last part (`lr`). Whatever is
not known is refused with a sentence that names the nearest key.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_type_hints

from trainer.data.dataset import DataConfig
from trainer.data.dialogue import VOCAB
from trainer.model.config import SIZES, ModelConfig
from trainer.objectives import ObjectiveError, Objectives
from trainer.objectives.design import DesignConfig, alone
from trainer.ranges import Range, check_ranges
from vlamon.guard_modes import GUARD_MODES

PRESETS = Path(__file__).parent / "presets"


class ConfigError(ValueError):
    """A setting that cannot be; the sentence is for the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """The optimizer and its learning rate."""

    name: str = "adamw"
    """`adamw`, or `sgd` for experiments."""
    lr: Annotated[float, Range(above=0)] = 5e-6
    """Peak learning rate; the reference run's is constant."""
    betas: Annotated[tuple[float, float], Range(0, below=1)] = (0.9, 0.95)
    """Adam's decay rates."""
    weight_decay: Annotated[float, Range(0)] = 0.15
    """Decoupled decay of matrices; gains and biases have none."""
    clip_grad: Annotated[float, Range(0)] = 4.0
    """Largest gradient norm, 0 for no clipping."""
    warmup_steps: Annotated[int, Range(0)] = 0
    """Steps of linear warm-up."""
    schedule: str = "constant"
    """`constant`, or `cosine` down to `final_lr` × lr at the last step."""
    final_lr: Annotated[float, Range(0, 1)] = 0.1
    """Share of the peak that a cosine ends at."""

    def __post_init__(self) -> None:
        _one_of("optim.name", self.name, ("adamw", "sgd"))
        _one_of("optim.schedule", self.schedule, ("constant", "cosine"))
        check_ranges(self, "optim")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How long and in what pieces."""

    steps: Annotated[int, Range(1)] = 1000
    """Optimizer steps of the whole training."""
    steps_per_epoch: Annotated[int, Range(1)] = 100
    """Optimizer steps between two validations and two lines of `log_train.txt`."""
    batch: Annotated[int, Range(1)] = 8
    """Samples a rank takes in one forward pass."""
    accumulate: Annotated[int, Range(1)] = 1
    """Forward passes per optimizer step."""
    dtype: str = "fp32"
    """`fp32`, or `bf16` (autocast; weights and optimizer stay fp32)."""
    compile: bool = False
    """Run the model through torch.compile."""
    validation_samples: Annotated[int, Range(0)] = 64
    """Samples of each validation set; 0 for no validation."""
    checkpoint_every: Annotated[int, Range(0)] = 0
    """Steps between two durable checkpoints; 0 for one at the end of every epoch."""
    keep_checkpoints: Annotated[int, Range(1)] = 2
    """Durable checkpoints that stay on disk."""

    def __post_init__(self) -> None:
        _one_of("loop.dtype", self.dtype, ("fp32", "bf16"))
        check_ranges(self, "loop")


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardConfig:
    """How explosions are met; see docs/guard.md."""

    mode: str = "auto"
    """One of `vlamon.guard_modes`."""
    every: int = 50
    """Steps between two snapshots in memory; wider where they could not be trusted in time."""
    slots: int = 4
    """Snapshots kept in memory."""
    cooldown: int = 100
    """Steps after a rollback within which another explosion goes one snapshot further back."""
    ladder: tuple[str, ...] = ("rollback",)
    """What is done about an explosion, the mildest first: `clip`, `skip`, `lr`, `rollback`."""

    def __post_init__(self) -> None:
        _one_of("guard.mode", self.mode, tuple(GUARD_MODES))


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything about a training but where it runs."""

    model: ModelConfig
    """Widths of the model."""
    data: DataConfig = field(default_factory=DataConfig)
    """The tabletop."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Steps, batches, epochs."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """Detection and rollback."""
    objectives: DesignConfig = field(default_factory=DesignConfig)
    """Weighting, pull, energy model."""
    weights: Mapping[str, float | str] = field(default_factory=dict)
    """Loss weights that differ from the terms' own: numbers, or schedules such as `0:10,2000:1`."""


def preset_names() -> list[str]:
    """The presets that ship with the trainer."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load(preset: str, overrides: Iterable[str] = ()) -> TrainConfig:
    """The configuration of a preset (a name, or a TOML file) with `key=value`s applied."""
    path = PRESETS / f"{preset}.toml"
    if not path.exists():
        path = Path(preset)
    if path.suffix != ".toml" or not path.is_file():
        raise ConfigError(
            f"no preset is called {preset!r}: there are {', '.join(preset_names())},"
            " or give the path of a TOML file"
        )
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    config = build(tables, str(path))
    for override in overrides:
        config = _override(config, override)
    check_together(config)
    return config


def stated(config: TrainConfig, overrides: Iterable[str]) -> frozenset[str]:
    """The full names of the settings that a command line names."""
    return frozenset(_full_key(config, each.partition("=")[0].strip()) for each in overrides)


def check_together(config: TrainConfig) -> None:
    """Raise where settings that are each right cannot be together."""
    model, design = config.model, config.objectives
    if model.vocab < VOCAB:
        raise ConfigError(
            f"model.vocab is {model.vocab}: the dialogues have ids up to {VOCAB - 1}, so it must be"
            f" at least {VOCAB}"
        )
    for name, width, heads in (
        ("model", model.hidden, model.heads),
        ("model.head", model.head.width, model.head.heads),
    ):
        if width % heads:
            what = "hidden" if name == "model" else "width"
            raise ConfigError(f"{name}.{what} is {width}: {name}.heads={heads} must divide it")
    if model.hidden // model.heads % 2:
        each = model.hidden // model.heads
        raise ConfigError(
            f"model.hidden / model.heads is {each}: it must be even, since RoPE rotates pairs of"
            " dimensions"
        )
    if model.kv_heads is not None and model.heads % model.kv_heads:
        raise ConfigError(f"model.kv_heads={model.kv_heads} must divide model.heads={model.heads}")
    shards = model.norm_shards or 1
    if (model.heads % shards) or (model.kv_heads or model.heads) % shards:
        raise ConfigError(
            f"model.norm_shards={shards} must divide model.heads and, where it is set,"
            " model.kv_heads"
        )
    if design.weighting == "gradnorm" and not design.pull_every:
        raise ConfigError(
            "objectives.weighting=gradnorm learns from the pull: objectives.pull_every must be"
            " at least 1"
        )
    if max(design.energy_layers) > model.layers:
        raise ConfigError(
            f"objectives.energy_layers names {max(design.energy_layers)}, but a model of"
            f" {model.layers} layers has hidden states 0 to {model.layers}"
        )
    if design.energy == "off":
        try:
            alone(design.coupling)
        except ObjectiveError as error:
            raise ConfigError(str(error)) from None


def build(tables: Mapping[str, Any], where: str) -> TrainConfig:
    """A configuration from nested tables; `where` names their origin in errors."""
    tables = dict(tables)
    model = dict(tables.pop("model", {}))
    size = model.pop("size", None)
    if size not in SIZES:
        raise ConfigError(f"{where}: model.size must be one of {', '.join(SIZES)}, not {size!r}")
    config = TrainConfig(model=SIZES[size])
    for key, value in _leaves({"model": model, **tables}):
        config = _set(config, key, value, where)
    return config


def as_tables(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain nested data, for run.json and checkpoints."""
    return dataclasses.asdict(config)


def difference(config: Any, before: Mapping[str, Any], name: str) -> str:
    """The first setting that differs in a run directory; empty where all are the same."""
    for item in fields(config):
        now, key = getattr(config, item.name), f"{name}.{item.name}"
        if is_dataclass(now):
            if changed := difference(now, before.get(item.name, {}), key):
                return changed
            continue
        if item.name not in before:
            return f"it lacks {key}"
        then = before[item.name]
        if json.loads(json.dumps(now)) != json.loads(json.dumps(then)):
            return f"{key} was {then!r} and is {now!r}"
    unknown = sorted(before.keys() - {item.name for item in fields(config)})
    return f"{name}.{unknown[0]} is unknown to this version" if unknown else ""


def keys(config: Any, prefix: str = "") -> list[str]:
    """Every dotted key that can be set."""
    found = []
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            found += keys(value, f"{prefix}{item.name}.")
        elif item.name == "weights":
            found += [f"weights.{term}" for term in Objectives().terms]
        else:
            found.append(prefix + item.name)
    return found


def _override(config: TrainConfig, override: str) -> TrainConfig:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: write it as key=value, such as optim.lr=1e-4")
    return _set(config, _full_key(config, key.strip()), text.strip(), "--set")


def _full_key(config: TrainConfig, key: str) -> str:
    known = keys(config)
    if key in known:
        return key
    ends = [full for full in known if full.rsplit(".", 1)[-1] == key]
    # The reference project's own names of its loss weights.
    term = key.removesuffix("s").removesuffix("_weight")
    if f"weights.{term}" in known and "_weight" in key:
        ends = [f"weights.{term}"]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ConfigError(f"--set {key} is ambiguous: say {' or '.join(ends)}")
    near = difflib.get_close_matches(key, known + [k.rsplit(".", 1)[-1] for k in known], n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
    raise ConfigError(f"no setting is called {key!r}{hint}")


def _set(config: TrainConfig, key: str, value: Any, where: str) -> TrainConfig:
    if key not in keys(config):
        key = _full_key(config, key)
    try:
        changed: TrainConfig = _replace(config, key.split("."), value)
    except ConfigError:
        raise
    except (ValueError, ObjectiveError) as error:
        said = str(error)  # a range names its field itself
        named = said if said.startswith(f"{key} ") else f"{key}: {said}"
        raise ConfigError(f"{where}: {named}") from None
    horizon = changed.data.horizon
    head = dataclasses.replace(changed.model.head, horizon=horizon)
    return dataclasses.replace(changed, model=dataclasses.replace(changed.model, head=head))


def _replace(node: Any, path: list[str], value: Any) -> Any:
    name = path[0]
    if name == "weights":
        Objectives({path[1]: value})
        stated = value if ":" in str(value) else float(value)
        return dataclasses.replace(node, weights={**node.weights, path[1]: stated})
    if len(path) > 1:
        return dataclasses.replace(node, **{name: _replace(getattr(node, name), path[1:], value)})
    return dataclasses.replace(node, **{name: _typed(get_type_hints(type(node))[name], value)})


def _typed(kind: Any, value: Any) -> Any:
    """A TOML value or a command line's text as the type of the field."""
    if typing.get_origin(kind) is UnionType or typing.get_origin(kind) is typing.Union:
        if value is None or value == "none":
            return None
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is tuple:
        parts = value.strip("()[] ").split(",") if isinstance(value, str) else value
        parts = [part.strip("'\" ") if isinstance(part, str) else part for part in parts]
        wanted = typing.get_args(kind)
        if wanted[-1] is Ellipsis:
            wanted = wanted[:1] * len(parts)
        if len(parts) != len(wanted):
            raise ValueError(f"needs {len(wanted)} numbers separated by commas, not {value!r}")
        return tuple(_typed(k, v) for k, v in zip(wanted, parts, strict=True))
    if kind is bool:
        text = str(value).lower()
        if text not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            raise ValueError(f"must be true or false, not {value!r}")
        return text in ("true", "1", "yes", "on")
    try:
        if kind is int and float(value) == int(float(value)):
            return int(float(value))
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        name = {"int": "a whole number", "float": "a number"}.get(kind.__name__, kind.__name__)
        raise ValueError(f"must be {name}, not {value!r}") from None


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tables.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def _one_of(key: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ConfigError(f"{key} must be one of {', '.join(options)}, not {value!r}")
