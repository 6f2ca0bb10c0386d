"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration; callbreaker.yaml in this directory if it is there."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(envvar="CALLBREAKER_URL", help="The operator API; where the configuration says, by default."),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="CALLBREAKER_TOKEN",
        help="An operator's token; by default the one that a service on this machine made for itself.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_FILE = Path("callbreaker.yaml")
DEFAULT_DATA_DIR = Path(".callbreaker")


def configuration_file(config: Path | None) -> Path | None:
    """Give the file that is meant: the one named, else callbreaker.yaml where there is one."""
    return DEFAULT_FILE if config is None and DEFAULT_FILE.exists() else config
