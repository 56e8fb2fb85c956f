"""``p2praft completion``: the script that has a shell complete our words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from p2praft.cli.options import json_option
from p2praft.cli.output import emit

COMPLETE = "_P2PRAFT_COMPLETE"
"""The variable in which the shell asks for completions."""
INSTALL = {
    "bash": 'eval "$(p2praft completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(p2praft completion zsh)"   # in ~/.zshrc',
    "fish": "p2praft completion fish > ~/.config/fish/completions/p2praft.fish",
}


@click.command("completion", epilog="\b\nInstall it:\n  " + "\n  ".join(INSTALL.values()))
@click.argument("shell", type=click.Choice(sorted(INSTALL)))
@json_option
@click.pass_context
def completion_command(context: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that completes p2praft's words in SHELL."""
    found = get_completion_class(shell)
    assert found is not None
    script = found.source_template % found(context.find_root().command, {}, "p2praft", COMPLETE).source_vars()
    if as_json:
        emit({"shell": shell, "script": script, "install": INSTALL[shell]})
    else:
        print(script)
