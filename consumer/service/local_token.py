"""The token of a service without operators, kept where the command line on the same machine finds it."""

import os
from pathlib import Path

MODE = 0o600


def token_path(data_dir: Path) -> Path:
    return data_dir / "token"


def keep_token(data_dir: Path, token: str) -> None:
    """Write the token, readable by its owner only; it replaces one that a killed service left behind."""
    data_dir.mkdir(parents=True, exist_ok=True)
    fresh = data_dir / "token.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as file:
        file.write(token)
    fresh.replace(token_path(data_dir))


def forget_token(data_dir: Path) -> None:
    token_path(data_dir).unlink(missing_ok=True)


def kept_token(data_dir: Path) -> str | None:
    """Read the token; None where no service keeps one that we may read."""
    try:
        return token_path(data_dir).read_text().strip() or None
    except OSError:
        return None
