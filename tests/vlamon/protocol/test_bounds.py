"""Where the protocol ends: the last value that is taken, and the first that is refused."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from vlamon.hardware import Device, GpuSample, Process
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.block import Block
from vlamon.protocol.commands import CommandError, checked
from vlamon.protocol.fields import MOST_CONTAINERS
from vlamon.protocol.frames import (
    FROM_MONITOR,
    FROM_TRAINER,
    HEADER,
    VERSION,
    FrameReader,
    ProtocolError,
    pack,
    unpack,
)
from vlamon.protocol.sanitize import text
from vlamon.records import (
    EpochRow,
    Event,
    Gap,
    MetricsAnnounced,
    Reply,
    RunInfo,
    Snapshot,
    Status,
)

WIDEST = 1 << 62

# ---- frames ----


def test_version_and_sizes_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()
    assert VERSION == (1, 0)
    assert FROM_TRAINER == 1024 * 1024
    assert FROM_MONITOR == 16 * 1024
    assert "| frame from the trainer | 1 MiB |" in page
    assert "| frame from a monitor | 16 KiB |" in page


def payload_of(size: int) -> bytes:
    """A named map of just so many bytes."""
    bare = len(msgpack.packb({"t": "x", "b": b"\0" * 300}))
    payload: bytes = msgpack.packb({"t": "x", "b": b"\0" * (size - bare + 300)})
    assert len(payload) == size
    return payload


def test_a_payload_may_have_the_bytes_of_its_limit() -> None:
    assert unpack(payload_of(FROM_MONITOR), FROM_MONITOR)["t"] == "x"
    with pytest.raises(ProtocolError, match="16385 bytes is over the 16384 allowed"):
        unpack(payload_of(FROM_MONITOR + 1), FROM_MONITOR)


@pytest.mark.parametrize(
    ("value", "most"),
    [("x" * 65536, "x"), ([0] * 65536, [0]), ({str(key): 0 for key in range(4096)}, {"more": 0})],
    ids=["text", "list", "map"],
)
def test_texts_lists_and_maps_in_a_frame_are_bounded(value: Any, most: Any) -> None:
    assert unpack(pack({"t": "x", "v": value})[4:])["v"] == value
    longer = value | most if isinstance(value, dict) else value + most
    with pytest.raises(ProtocolError, match="not valid msgpack"):
        unpack(pack({"t": "x", "v": longer})[4:])


def test_a_reader_takes_a_frame_of_its_limit_and_counts_what_has_not_come() -> None:
    frame = HEADER.pack(FROM_MONITOR) + payload_of(FROM_MONITOR)
    reader = FrameReader(FROM_MONITOR)
    reader.feed(frame[:-1])
    assert list(reader.payloads()) == []
    assert reader.pending == len(frame) - 1
    reader.feed(frame[-1:] + b"\0\0")
    assert [len(payload) for payload in reader.payloads()] == [FROM_MONITOR]
    assert reader.pending == 2
    reader.feed(b"\0")
    assert reader.pending == 3


# ---- blocks ----


def block_of(rows: int, seq: int = 0, **changes: Any) -> Block:
    made = blocks.from_rows(
        seq, 0, [(seq + row, 0.5, 5.0, {"closs": row / 3}) for row in range(rows)]
    )
    return replace(made, **changes)


def plain_message(rows: int) -> dict[str, Any]:
    """A block of rows without a metric."""
    axis = b"\0" * (8 * rows)
    head = {"t": "batch", "seq": 0, "n": rows, "attempt": 0}
    return head | {"step": axis, "epoch": axis, "time": axis, "c": {}}


def test_a_block_has_as_many_rows_as_their_axes_fit_a_frame() -> None:
    most = FROM_TRAINER // 24
    assert blocks.from_message(plain_message(most)).rows == most
    assert blocks.from_message(plain_message(1)).rows == 1
    with pytest.raises(ProtocolError, match=f"says that it has {most + 1} rows"):
        blocks.from_message(plain_message(most + 1))


@pytest.mark.parametrize("key", ["c", "w"])
def test_a_block_has_a_thousand_metrics(key: str) -> None:
    value: Any = ["d", b"\0" * 8] if key == "c" else 1.0
    many = {f"m{n}": value for n in range(blocks.MAX_METRICS)}
    blocks.from_message(plain_message(1) | {key: many})
    with pytest.raises(ProtocolError):
        blocks.from_message(plain_message(1) | {key: many | {"more": value}})


@pytest.mark.parametrize("key", ["seq", "attempt"])
def test_numbers_of_a_block_count_from_0_up_to_62_bits(key: str) -> None:
    for value in (0, WIDEST - 1):
        blocks.from_message(plain_message(1) | {key: value})
    for value in (-1, WIDEST, 0.0, True):
        with pytest.raises(ProtocolError, match=f"wrong `{key}`"):
            blocks.from_message(plain_message(1) | {key: value})


@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_has_up_to_53_bits(sign: int) -> None:
    exact, beyond = sign * blocks.MAX_STEP, sign * (blocks.MAX_STEP + 1)
    made = blocks.from_rows(0, 0, [(exact, 0.5, 5.0, {"closs": 1.0})])
    assert blocks.record(made).step.tolist() == [exact]
    assert (made.first_step, made.last_step) == (exact, exact)
    with pytest.raises(ProtocolError, match="beyond 53 bits"):
        blocks.record(blocks.from_rows(0, 0, [(beyond, 0.5, 5.0, {"closs": 1.0})]))


def test_first_and_last_step_are_those_of_the_first_and_last_row() -> None:
    rows = [(step, 0.5, float(step), {"closs": 1.0}) for step in (300, 4, 70_000)]
    made = blocks.from_rows(0, 0, rows)
    assert (made.first_step, made.last_step) == (300, 70_000)
    assert blocks.times(made) == [300.0, 4.0, 70_000.0]


def test_blocks_join_up_to_4096_rows_and_to_the_bytes_of_a_block() -> None:
    first, rest = block_of(96, 5000), block_of(4000, 5096)
    assert blocks.can_join([first], first.size, rest)
    assert not blocks.can_join([block_of(97, 5000)], first.size, block_of(4000, 5097))
    room = blocks.MAX_BYTES - rest.size
    assert blocks.can_join([first], room, rest)
    assert not blocks.can_join([first], room + 1, rest)


def test_blocks_join_where_one_follows_the_other_under_the_same_weights() -> None:
    first, after = block_of(3), block_of(2, 3)
    weighted = replace(first, weights={"closs": 1.0})
    again, other = ({"weights": {"closs": weight}} for weight in (1.0, 2.0))
    assert blocks.can_join([weighted], 0, replace(after, **again))
    assert not blocks.can_join([weighted], 0, replace(after, **other))
    assert not blocks.can_join([first], 0, replace(after, **other))
    assert not blocks.can_join([first], 0, block_of(2, 4))
    assert not blocks.can_join([first], 0, replace(after, attempt=1))
    assert first.fits_with(after)
    assert not first.fits_with(block_of(2, 4))
    assert not first.fits_with(replace(after, attempt=1))
    assert not weighted.fits_with(replace(after, **again))


def test_a_part_of_a_block_has_its_weights_where_it_has_its_first_row() -> None:
    whole = block_of(5, weights={"closs": 2.0})
    assert blocks.cut(whole, 0, 5) is whole
    assert blocks.cut(whole, 0, 4).weights == {"closs": 2.0}
    assert blocks.cut(whole, 1, 5).weights == {}
    assert blocks.cut(whole, 1, 5).rows == 4
    assert blocks.join([whole]) is whole
    assert blocks.join([whole, block_of(2, 5)]).weights == {"closs": 2.0}
    assert "w" not in blocks.to_message(block_of(1))
    assert blocks.to_message(whole)["w"] == {"closs": 2.0}


def test_the_size_of_a_block_is_never_below_its_frame_and_close_to_it() -> None:
    """Else blocks could be joined that no frame holds."""
    gaps = [
        (row, 0.5, 5.0, {"closs": 1 / 3} | ({"loss_ct": 0.1} if row % 3 else {}))
        for row in range(1000)
    ]
    for made in (
        block_of(1),
        block_of(1000),
        block_of(1000, weights={f"{n:02}": 1 / 3 for n in range(50)}),
        blocks.from_rows(0, 0, gaps),
        blocks.from_rows(
            1 << 40, 1 << 20, [(0, 0.5, 5.0, {f"m{n:04}": 1 / 3 for n in range(900)})]
        ),
    ):
        frame = len(pack(blocks.to_message(made)))
        assert frame <= made.size <= 1.6 * frame + 64
    assert block_of(1000).size <= 1.01 * len(pack(blocks.to_message(block_of(1000))))


@pytest.mark.parametrize("metrics", [1, 100, 1000])
def test_rows_of_a_block_are_as_many_as_surely_fit(metrics: int) -> None:
    """With names as long as they may be; twice as many would not, or be more than a block has."""
    cells = {f"{n:04}".ljust(200, "x"): n / 3 for n in range(metrics)}
    rows = blocks.rows_per_block(metrics)
    assert 1 <= rows <= blocks.ROWS
    one = blocks.from_rows(0, 0, [(0, 0.5, 5.0, cells)] * rows)
    assert one.size <= blocks.MAX_BYTES + metrics
    assert rows == blocks.ROWS or 2 * one.size > blocks.MAX_BYTES
    assert blocks.rows_per_block(0) == blocks.ROWS


# ---- messages ----


def test_a_field_that_is_absent_is_what_the_record_says_without_it() -> None:
    device = Device(0, "", "", None, None, None, None, None, None, None, None)
    assert messages.decode({"t": "hello", "v": list(VERSION)}) == RunInfo("", "")
    assert messages.decode({"t": "metrics"}) == MetricsAnnounced(())
    assert messages.decode({"t": "event"}) == Event("", "note", 0, 0, 0.0)
    epoch = messages.decode({"t": "epoch"})
    assert isinstance(epoch, EpochRow)
    assert math.isnan(epoch.epoch)
    assert (epoch.split, epoch.metrics, epoch.attempt, epoch.step) == ("", {}, 0, None)
    sample = {"t": "gpu", "devices": [{}], "process": {}}
    assert messages.decode(sample) == GpuSample(0.0, (device,), Process(0, None, None, None))
    assert messages.decode({"t": "status"}) == Status("training", 0)
    held = messages.decode({"t": "status", "snapshots": [{}]})
    assert held == Status("training", 0, snapshots=(Snapshot(0, "", False),))
    assert messages.decode({"t": "reply"}) == Reply("", False)
    assert messages.decode({"t": "gap"}) == Gap(0, None, None)
    assert messages.decode({"t": "bye"}) == messages.Bye("", "")
    assert messages.decode_request({"t": "subscribe"}) == messages.Subscription()
    assert messages.decode_request({"t": "subscribe"}) == messages.Subscription(0, 0, "", True)
    assert messages.decode_request({"t": "rows"}) == messages.OlderRows(0, 0)
    assert messages.start_of({"t": "hello"}) == messages.Start() == messages.Start(0, 0, 0, 0)
    assert messages.OlderRows() == messages.OlderRows(0, 0)


@pytest.mark.parametrize(("key", "most"), [("id", 200), ("name", 100)])
def test_a_command_has_an_id_and_a_name_of_some_length(key: str, most: int) -> None:
    good = {"t": "command", "id": "c", "name": "pause"}
    for value in ("x", "x" * most):
        assert getattr(messages.decode_request(good | {key: value}), key) == value
    for wrong in ("", "x" * (most + 1), 3):
        with pytest.raises(ProtocolError, match=f"`command` has a wrong `{key}`"):
            messages.decode_request(good | {key: wrong})
    with pytest.raises(ProtocolError, match=f"`command` has no `{key}`"):
        messages.decode_request({name: each for name, each in good.items() if name != key})


def test_whole_numbers_stay_below_62_bits() -> None:
    for value in (WIDEST - 1, 1 - WIDEST):
        assert messages.decode({"t": "status", "step": value}) == Status("training", value)
    for wrong in (WIDEST, -WIDEST, 1.0, True):
        with pytest.raises(ProtocolError, match="`status` has a wrong `step`"):
            messages.decode({"t": "status", "step": wrong})
    assert messages.decode({"t": "gap", "rows": WIDEST - 1}) == Gap(WIDEST - 1, None, None)
    with pytest.raises(ProtocolError, match="`gap` has a wrong `rows`"):
        messages.decode({"t": "gap", "rows": -1})
    for number in (0, WIDEST - 1):
        assert messages.note_number({"t": "event", "k": number}) == number


def test_a_command_line_is_sent_up_to_200_words() -> None:
    info = RunInfo("r", "n", argv=tuple(map(str, range(300))))
    found = messages.decode(unpack(pack(messages.encode(info))[4:]))
    assert isinstance(found, RunInfo)
    assert found.argv == info.argv[:200]


@pytest.mark.parametrize("wrong", [None, 1, [], ["1"], [True], "1.0"])
def test_a_greeting_without_a_version_is_refused(wrong: Any) -> None:
    with pytest.raises(ProtocolError, match="names no protocol version"):
        messages.decode({"t": "hello", "v": wrong})


def test_a_version_is_told_by_its_major_and_minor_number() -> None:
    with pytest.raises(ProtocolError, match=r"speaks protocol 2\.3, this monitor 1\.0: upgrade"):
        messages.decode({"t": "hello", "v": [2, 3, 9]})


def test_a_subscription_may_leave_its_version_out_and_not_have_another_one() -> None:
    ours = ".".join(map(str, VERSION))
    for version in ([VERSION[0]], list(VERSION), [VERSION[0], 99]):
        assert messages.decode_request({"t": "subscribe", "v": version}) == messages.Subscription()
    for version, theirs in (([VERSION[0] + 1, 3], f"{VERSION[0] + 1}.3"), ([], ""), ("1", "?")):
        said = f"speaks protocol {ours}, the monitor {theirs}: "
        with pytest.raises(ProtocolError) as raised:
            messages.decode_request({"t": "subscribe", "v": version})
        assert said in str(raised.value)


def test_a_weight_of_a_metric_may_be_unknown_and_its_kind_may_not() -> None:
    def announced(spec: list[Any]) -> Any:
        return messages.decode({"t": "metrics", "metrics": [spec]})

    assert announced(["closs", "trained", None, ""]).metrics[0].weight is None
    assert announced(["closs", "watched", 2.0, "nat"]).metrics[0].weight == 2.0
    for wrong in (["closs", "felt", None, ""], ["closs", "trained", None], [3, "trained", 1.0, ""]):
        with pytest.raises(ProtocolError):
            announced(wrong)


# ---- commands ----


def test_ranges_of_settings_hold_their_ends() -> None:
    for name, least, most in (
        ("lr_scale", 1e-6, 100.0),
        ("clip_grad", 1e-6, 1e6),
        ("closs", 0, 1e6),
    ):
        for value in (least, most):
            assert checked("set", {"name": name, "value": value})["value"] == value
        for wrong in (least - 1e-7, most * 1.0001, True, None):
            with pytest.raises(CommandError):
                checked("set", {"name": name, "value": wrong})


def test_a_step_counts_from_0_and_has_an_end() -> None:
    for step in (0, 1 << 61):
        assert checked("rollback", {"to": step}) == {"to": step}
    for wrong in (-1, 1 << 62, 0.5, True, "soon"):
        with pytest.raises(CommandError):
            checked("rollback", {"to": wrong})


def test_texts_of_commands_and_of_scripts_are_cut() -> None:
    assert checked("note", {"text": "x" * 5000}) == {"text": "x" * 4000}
    assert text("x" * 9000) == "x" * 8192


@pytest.mark.parametrize("hollow", [{}, []], ids=["maps", "lists"])
def test_the_details_of_an_event_have_a_bound_wherever_their_lists_and_maps_lie(
    hollow: object,
) -> None:
    event = messages.encode(Event("e", "note", 1, 0, 1.0, "info", "x", {}))

    def with_containers(count: int) -> dict[str, Any]:
        within = [hollow] * (count - 4)  # the map itself, the list, and a map and a list in it
        return {**event, "data": {"a": [*within, {"b": [1, "c"]}]}}

    taken = messages.decode(with_containers(MOST_CONTAINERS))
    assert isinstance(taken, Event)
    assert len(taken.data["a"]) == MOST_CONTAINERS - 3
    with pytest.raises(ProtocolError):
        messages.decode(with_containers(MOST_CONTAINERS + 1))


def test_a_reader_holds_what_has_not_come_whole_and_no_more() -> None:
    reader, frame = FrameReader(), pack({"t": "note", "text": "a" * 10_000})
    tracemalloc.start()
    try:
        for _ in range(500):
            reader.feed(frame)
            assert len(list(reader.payloads())) == 1
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.pending == 0
    assert held < 20 * len(frame)
