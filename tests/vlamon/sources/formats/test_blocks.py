"""Rows that take several lines: console tables, and JSON below a heading."""

from __future__ import annotations

from tests.vlamon.sources.formats.reading import evaluations, parsed, rows
from vlamon.records import BatchBlock
from vlamon.sources.formats import sniff

TABLES = """\
Using cpu device
---------------------------------
| rollout/           |          |
|    ep_rew_mean     | 130      |
| time/              |          |
|    fps             | 2581     |
|    total_timesteps | 2048     |
---------------------------------
Eval num_timesteps=4000, episode_reward=217.40 +/- 3.45
---------------------------------
| eval/              |          |
|    mean_reward     | 217      |
| time/              |          |
|    total_timesteps | 4000     |
---------------------------------
-----------------------------------------
| rollout/                |             |
|    ep_rew_mean          | 123         |
| time/                   |             |
|    total_timesteps      | 4096        |
| train/                  |             |
|    approx_kl            | 0.010322048 |
|    loss                 | 51.4        |
-----------------------------------------
"""
BLOCKS = """\
Set the environment variable D4RL_SUPPRESS_IMPORT_ERROR=1 to suppress this message.
{
    "train": {"num_epochs": 2000, "loss": 1.0}
}
Train Epoch 1
{
    "Loss": 0.5,
    "Time_Epoch": 0.25
}

Epoch 1 Memory Usage: 1669 MB

Validation Epoch 1
{
    "Loss": 0.75
}
Train Epoch 2
{
    "Loss": 0.25,
    "Time_Epoch": 0.25
}
"""


def test_a_table_is_one_row_at_its_timestep() -> None:
    found = sniff(TABLES.encode())
    assert found is not None
    assert found.name == "tables"
    assert rows("tables", TABLES) == [
        (2048, {"rollout/ep_rew_mean": 130.0, "time/fps": 2581.0}),
        (4096, {"rollout/ep_rew_mean": 123.0, "train/approx_kl": 0.010322048, "train/loss": 51.4}),
    ]
    assert evaluations("tables", TABLES) == [("eval", 4000, {"mean_reward": 217.0})]


def test_a_table_without_its_border_counts_at_the_end() -> None:
    assert [step for step, _ in rows("tables", TABLES.rstrip().rstrip("-"))] == [2048, 4096]


def test_a_box_without_a_step_is_no_row() -> None:
    box = "+------+-----+\n| name | loss |\n| a | 0.5 |\n+--------------+\n"
    assert rows("tables", box) == []
    assert sniff(box.encode()) is None


def test_a_block_of_json_belongs_to_the_heading_above() -> None:
    found = sniff(BLOCKS.encode())
    assert found is not None
    assert found.name == "json-blocks"
    blocks = [r for r in parsed("json-blocks", BLOCKS)[1] if isinstance(r, BatchBlock)]
    assert [epoch for block in blocks for epoch in block.epoch.tolist()] == [1, 2]
    assert [value for b in blocks for value in b.columns["Loss"].values.tolist()] == [0.5, 0.25]
    assert all(block.averaged for block in blocks)
    ((split, _, metrics),) = evaluations("json-blocks", BLOCKS)
    assert (split, metrics) == ("val", {"Loss": 0.75})


def test_a_block_that_was_cut_is_no_row() -> None:
    assert rows("json-blocks", 'Train Epoch 1\n{\n    "Loss": 0.5,\n') == []
    text = 'Train Epoch 1\n{\n    "Loss": 0.5,\nTrain Epoch 2\n{\n    "Loss": 0.25\n}\n'
    assert [metrics for _, metrics in rows("json-blocks", text)] == [{"Loss": 0.25}]
