"""`vlamon mcp`: the answers of `vlamon query` for an agent, over MCP on stdin and stdout."""

from __future__ import annotations

import click


@click.command("mcp")
@click.option(
    "--allow-orders",
    is_flag=True,
    help="Serve checkpoint, rollback, pause, resume, stop, set and note, each with a reason.",
)
def command(allow_orders: bool) -> int:
    """Serve runs to an agent over the Model Context Protocol (stdin and stdout).

    It reads only, unless --allow-orders is given. docs/agents.md tells an agent how to watch a run.
    """
    from vlamon.agents.server import serve

    serve(allow_orders)
    return 0
