"""`vlamon mcp`: the answers of `vlamon query` for an agent, over MCP on stdin and stdout."""

from __future__ import annotations

import click


@click.command("mcp")
@click.option(
    "--allow-commands",
    is_flag=True,
    help="Serve checkpoint, rollback, pause, resume, stop, set and note, each with a reason.",
)
def command(allow_commands: bool) -> int:
    """Serve runs to an agent over the Model Context Protocol (stdin and stdout).

    It reads only, unless --allow-commands is given. How an agent watches a run: docs/agents.md.
    """
    from vlamon.agents.server import serve

    serve(allow_commands)
    return 0
