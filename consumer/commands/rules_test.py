"""``rules test``: rules against events written down beside them."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.failures import failures_shown
from consumer.commands.options import AsJson

app = typer.Typer(no_args_is_help=True, help="Rules: test them, list those in force, set their modes.")


@app.callback()
def rules() -> None:
    """Rules: test them, list those in force, set their modes."""


@app.command("test")
def rules_test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Tests in YAML, beside the rules or with them.")],
    as_json: AsJson = False,
) -> None:
    """Run the tests of rules: events go in, and the orders that are made are held against those expected."""
    # What this needs takes a second to import; a client command is done in half of that.
    from consumer.commands.rules_testing import run  # noqa: PLC0415 -- as in commands.serve

    with failures_shown():
        passed = run(file, as_json=as_json)
    if not passed:
        raise typer.Exit(1)
