"""`vlamon completion SHELL`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click

WHERE = {
    "bash": "vlamon completion bash > ~/.local/share/bash-completion/completions/vlamon",
    "zsh": "vlamon completion zsh > ~/.zfunc/_vlamon   # a directory of $fpath",
    "fish": "vlamon completion fish > ~/.config/fish/completions/vlamon.fish",
}


@click.command(epilog="\n\n".join(WHERE.values()))
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell; where to put it stands below."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "vlamon", "_VLAMON_COMPLETE").source())
    return 0
