"""The SDK's own client is answered, reads only unless allowed more, and orders with a reason."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.commands.training import environment, training, vlamon

mcp = pytest.importorskip("mcp", reason="needs the MCP SDK: pip install 'vlamon[mcp]'")
if not hasattr(mcp, "Client"):
    pytest.skip("needs version 2 of the MCP SDK", allow_module_level=True)


def client(home: Path, *options: str) -> Any:
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "vlamon", "mcp", *options],
        env=environment(VLAMON_HOME=str(home)),
    )
    return mcp.Client(command)


async def answer(session: Any, tool: str, /, **arguments: Any) -> Any:
    result = await session.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


async def test_an_agent_watches_a_run_and_may_not_touch_it(tmp_path: Path) -> None:
    socket = tmp_path / "vla.sock"
    with training(socket, VLAMON_HOME=str(tmp_path)):
        async with client(tmp_path) as session:
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {
                "runs", "status", "metrics", "around_step", "events", "diagnose", "explain",
                "compare",
            }  # fmt: skip
            assert all(tool.annotations.read_only_hint for tool in tools.values())
            assert "step" in tools["around_step"].input_schema["required"]
            status = await answer(session, "status", run=str(socket))
            assert status["running"] is True
            assert status["run"]["name"] == "demo"
            curves = await answer(session, "metrics", run=str(socket), names=["closs"], points=5)
            assert 1 <= len(curves["metrics"]["closs"]) <= 5
            wrong = await session.call_tool("status", {"run": "nope"})
            assert wrong.is_error
            assert "no run is called 'nope'" in wrong.content[0].text


async def test_commands_need_the_flag_and_a_reason_and_are_recorded(tmp_path: Path) -> None:
    socket = tmp_path / "vla.sock"
    with training(socket, VLAMON_HOME=str(tmp_path)):
        async with client(tmp_path, "--allow-commands") as session:
            run, why = str(socket), "closs 95 at step 4000"
            done = await answer(session, "checkpoint", run=run, reason=why)
            assert (done["ok"], done["reason"]) == (True, why)
            refused = await answer(session, "rollback", run=run, reason=why, to=3)
            assert (refused["ok"], refused["error"]) == (False, "no trusted snapshot yet")
            set_to = await answer(session, "set", run=run, reason=why, name="lr_scale", value="0.5")
            assert set_to["ok"] is True
            for reason in ({}, {"reason": " "}):
                wrong = await session.call_tool("pause", {"run": run, **reason})
                assert wrong.is_error
            told: list[Any] = []
            for _ in range(100):  # the journal, which is read, is flushed each second
                told = (await answer(session, "events", run=run, kinds=["control"]))["events"]
                if len(told) == 3:
                    break
                await asyncio.sleep(0.1)
    assert [event["data"]["args"]["reason"] for event in told] == [why] * 3


def test_without_the_sdk_it_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    done = vlamon(["mcp"], PYTHONPATH=path)
    assert done.returncode == 2
    assert "pip install 'vlamon[mcp]'" in done.stderr
    assert done.stderr.count("\n") == 1
