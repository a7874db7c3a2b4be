"""A second reading of strangers' logs, by eye and one plain expression a file; no vlamon in it.

Each function was written from looking at its file alone. It gives every row with a loss as the file
shows it: which split, which step or epoch, and the values on the line. A difference between the two
readings is a mistake of one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

NUMBER = r"-?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"


@dataclass(frozen=True, slots=True)
class Seen:
    """One row with a loss."""

    values: Mapping[str, float]
    """What the line says, by the names that it prints."""
    step: int | None = None
    """Step through all epochs; None where the file does not count steps."""
    epoch: float | None = None
    """Epoch as printed; None where the file has none, or only a rounded one."""
    split: str = ""
    """Empty for a row of the training itself."""
    within: float = 0.0
    """How far vlamon may be off: only where the value has to be calculated."""


Rows = Iterator[Seen]


def _pairs(text: str, sign: str = "=") -> dict[str, float]:
    found = re.findall(rf"([\w/]+){sign} *({NUMBER})(?=[,\s\]]|$)", text)
    return {name: float(value) for name, value in found}


def buildnanogpt(text: str) -> Rows:
    waiting: float | None = None
    line = re.compile(
        r"validation loss: ([\d.]+)|step +(\d+) \| loss: ([\d.]+) \| lr (\S+) \| norm: ([\d.]+) \|"
    )
    for held_out, step, loss, rate, norm in line.findall(text):
        if held_out:
            waiting = float(held_out)
            continue
        if waiting is not None:
            yield Seen({"loss": waiting}, int(step), split="val")
            waiting = None
        yield Seen({"loss": float(loss), "lr": float(rate), "norm": float(norm)}, int(step))


def fairseq(text: str) -> Rows:
    for kind, said in re.findall(r"\[(train_inner|valid|train)\]\[INFO\] - (\{.*\})", text):
        prefix = {"train_inner": "", "valid": "valid_", "train": "train_"}[kind]
        printed = json.loads(said)
        values = {
            name.removeprefix(prefix): float(value)
            for name, value in printed.items()
            if "loss" in name and name.startswith(prefix)
        }
        split = {"train_inner": "", "valid": "val", "train": "train"}[kind]
        updates = int(printed[f"{prefix}num_updates"])
        yield Seen(values, updates, float(printed["epoch"]), split)


def hf_trainer_buffered_stdout(text: str) -> Rows:
    # The schedule warms up by the same amount each step: the rate says which step a dict is of.
    found = re.findall(r"\{'loss': ([\d.]+), 'learning_rate': (\S+), 'epoch': ([\d.]+)\}", text)
    first = float(found[0][1])
    for loss, rate, epoch in found:
        values = {"loss": float(loss), "learning_rate": float(rate)}
        yield Seen(values, round(float(rate) / first), float(epoch))


def keras_no_epoch(text: str) -> Rows:
    names, *rows = (line.split(",") for line in text.split())
    for row in rows:
        yield Seen(dict(zip(names, map(float, row), strict=True)))


def lerobot_utf16(text: str) -> Rows:
    (every,) = re.findall(r"'log_freq': (\d+),", text)
    line = re.compile(r"step:(\S+) smpl:\S+ ep:\S+ epch:(\S+) (loss:.*)")
    for row, (printed, epoch, said) in enumerate(line.findall(text), 1):
        step = row * int(every)
        shown = f"{step / 1000:.0f}K" if step >= 1000 else str(step)
        assert printed == shown, (printed, shown)
        yield Seen(_pairs(said, ":"), step, float(epoch))


def lightning_console_tqdm(text: str) -> Rows:
    last: dict[int, Seen] = {}
    for drawn in re.split(r"[\r\n]", text):
        bar = re.match(r"Epoch 0: .*\| (\d+)/489 \[.*?v_num=0, (.*)\]", drawn)
        if bar is not None:
            said = bar.group(2) + ","
            values = {n: float(v) for n, v in re.findall(r"(\S+)=(\S+?),", said)}
            last[int(bar.group(1))] = Seen(values, int(bar.group(1)), 0.0)
    yield from last.values()


def llmc_main(text: str) -> Rows:
    for step, said in re.findall(r"^s:(\d+) (.*)$", text, re.MULTILINE):
        values = _pairs(said, ":")
        if "tel" in values:
            yield Seen({"loss": values["tel"]}, int(step), split="val")
        elif "trl" in values:
            rest = {"lr": values["lr"], "norm": values["norm"]}
            yield Seen({"train_loss": values["trl"], **rest}, int(step))


def mae_fp16_inf_grad(text: str) -> Rows:
    for line in text.splitlines():
        row = json.loads(line)
        values = {n.removeprefix("train_"): v for n, v in row.items() if n.startswith("train_")}
        yield Seen(values, epoch=row["epoch"], split="train")


def metriclogger_dino(text: str) -> Rows:
    """The batches since the line before: of the average over b of them, and over a of them."""
    line = re.compile(r"Epoch: \[(\d+)/100\] +\[ *(\d+)/1562\] .*?loss: \S+ \(([\d.]+)\)")
    epoch_before, count_before, sum_before = -1, 0, 0.0
    for begun, iteration, average in line.findall(text):
        epoch, count = int(begun), int(iteration) + 1
        if epoch != epoch_before:
            count_before, sum_before = 0, 0.0
        total = float(average) * count
        mean = (total - sum_before) / (count - count_before)
        yield Seen({"loss": mean}, epoch * 1562 + count - 1, float(epoch), within=1e-6)
        epoch_before, count_before, sum_before = epoch, count, total


def mmcv_text(text: str) -> Rows:
    for epoch, batch, said in re.findall(r"INFO - Epoch \[(\d+)\]\[(\d+)/632\]\t(.*)", text):
        values = _pairs(re.sub(r"(eta|memory): [\d:]+, ", "", said), ":")
        yield Seen(values, (int(epoch) - 1) * 632 + int(batch), float(epoch))


def progressmeter_deepspeed(text: str) -> Rows:
    for epoch, batch, said in re.findall(r"^Epoch: \[(\d+)\]\[ *(\d+)/32\](.*)$", text, re.M):
        found = re.findall(r"\t(\w+) ([\d.]+) \([\d.]+\)", said)
        values = {name: float(value) for name, value in found}
        yield Seen(values, int(epoch) * 32 + int(batch), float(epoch))


def robomimic(text: str) -> Rows:
    for epoch, block in re.findall(r"^Train Epoch (\d+)\n(\{[^}]*\})", text, re.MULTILINE):
        yield Seen(json.loads(block), epoch=float(epoch))


def sb3_progress(text: str) -> Rows:
    header, *lines = text.splitlines()
    names = header.split(",")
    for line in lines:
        cells = dict(zip(names, line.split(","), strict=True))
        values = {name: float(cell) for name, cell in cells.items() if cell}
        if "train/loss" in values:
            step = int(values.pop("time/total_timesteps"))
            yield Seen(values, step)


def sb3_tables(text: str) -> Rows:
    for table in re.split(r"^-+$", text, flags=re.MULTILINE):
        group, values = "", {}
        for name, value in re.findall(r"^\| (.+?) +\| (\S*) *\|$", table, re.MULTILINE):
            if value:
                values[group + name.strip()] = float(value)
            else:
                group = name.strip()
        if "train/loss" in values:
            step = int(values.pop("time/total_timesteps"))
            yield Seen(values, step)


def step_resets_each_epoch(text: str) -> Rows:
    line = re.compile(
        r"^\[(\d+)/30\] iter: (\d+)/278\. lr:(\S+) \. Loss: (\S+), Acc:(\S+)$"
        r"|^(Val|Test) loss: (\S+), Acc: (\S+), precision: (\S+), recall: (\S+), F1_score: (\S+)$",
        re.MULTILINE,
    )
    epoch = 0
    for found in line.findall(text):
        if found[0]:
            epoch = int(found[0])
            rate, loss, accuracy = map(float, found[2:5])
            values = {"lr": rate, "Loss": loss, "Acc": accuracy}
            yield Seen(values, (epoch - 1) * 278 + int(found[1]), float(epoch))
        else:
            names = ("loss", "Acc", "precision", "recall", "F1_score")
            values = dict(zip(names, map(float, found[6:]), strict=True))
            yield Seen(values, epoch=float(epoch), split=found[5].lower())


def swift_logging(text: str) -> Rows:
    for line in text.splitlines():
        row = json.loads(line)
        if "loss" in row:
            step = int(row["global_step/max_steps"].partition("/")[0])
            values = {n: row[n] for n in ("loss", "grad_norm", "learning_rate", "token_acc")}
            yield Seen(values, step, row["epoch"])


def torchtitan(text: str) -> Rows:
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    for step, loss, norm in re.findall(r"step: +(\d+)  loss: +(\S+)  grad_norm: +(\S+)", plain):
        yield Seen({"loss": float(loss), "grad_norm": float(norm)}, int(step))


def ultralytics_results(text: str) -> Rows:
    names, *rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    for row in rows:
        values = dict(zip(names, map(float, row), strict=True))
        epoch = values.pop("epoch")
        yield Seen(values, epoch=epoch)


def without_losses(text: str) -> Rows:
    """Files that end, or were cut, before their first loss, or print none at all."""
    return iter(())


READERS: dict[str, Callable[[str], Rows]] = {
    "accelerate_tqdm": without_losses,
    "buildnanogpt": buildnanogpt,
    "fairseq": fairseq,
    "hf_trainer_buffered_stdout": hf_trainer_buffered_stdout,
    "keras_no_epoch": keras_no_epoch,
    "lerobot_utf16": lerobot_utf16,
    "lightning_console_tqdm": lightning_console_tqdm,
    "llamafactory_trainer_log": without_losses,
    "llmc_main": llmc_main,
    "mae_fp16_inf_grad": mae_fp16_inf_grad,
    "megatron": without_losses,
    "metriclogger_dino": metriclogger_dino,
    "mmcv_text": mmcv_text,
    "mmengine_text": without_losses,
    "progressmeter_deepspeed": progressmeter_deepspeed,
    "progressmeter_swav": without_losses,
    "robomimic": robomimic,
    "sb3_progress": sb3_progress,
    "sb3_tables": sb3_tables,
    "step_resets_each_epoch": step_resets_each_epoch,
    "swift_logging": swift_logging,
    "swift_stdout": without_losses,
    "torchtitan": torchtitan,
    "torchtitan_crashed_end": without_losses,
    "tqdm_segments": without_losses,
    "ultralytics_results": ultralytics_results,
    "verl": without_losses,
    "vla_distill": without_losses,
}
"""How each file, by its name without suffix, is read a second time."""


def second_reading(stem: str, raw: bytes) -> list[Seen] | None:
    """The rows of a file, None for one that nobody has looked at."""
    reader = READERS.get(stem)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return None if reader is None else list(reader(raw.decode(encoding, "replace")))
