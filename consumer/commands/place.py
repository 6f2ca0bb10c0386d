"""Where the operator API is and with which token: as told, else as the configuration on this machine says."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.commands.failures import USAGE, CommandError
from consumer.commands.options import DEFAULT_DATA_DIR, configuration_file
from consumer.service.local_token import kept_token, token_path
from consumer.settings.file import PREFIX, Document, read_document


@dataclass(frozen=True, slots=True)
class Place:
    """An address and a token for it."""

    url: str
    token: str


def find_place(url: str | None, token: str | None, config: Path | None) -> Place:
    """Fill in what was not told; of the configuration only address and directory are used, so no secret is needed.

    Raises:
        ConfigurationError: the file cannot be read.
        CommandError: there is no token to be found.

    """
    tree = _configured(configuration_file(config))
    data_dir = Path(str(_get(tree, "data_dir") or DEFAULT_DATA_DIR))
    token = token or kept_token(data_dir)
    if token is None:
        raise CommandError(
            f"There is no token: neither --token nor CALLBREAKER_TOKEN is set, and no running service keeps one in "
            f"{token_path(data_dir)}. Use the token that `callbreaker run` printed, or one of `operators`.",
            USAGE,
        )
    return Place(_web_address(url) if url else _address(_get(tree, "http")), token)


def _configured(file: Path | None) -> Any:
    """Read the configuration, unchecked. What overrides need is loaded only where there are any: it takes half a second."""
    document = Document() if file is None else read_document(file, os.environ)
    if not any(name.upper().startswith(PREFIX) for name in os.environ):
        return document.tree
    from consumer.settings import Settings  # noqa: PLC0415 -- as in commands.serve
    from consumer.settings.overrides import override  # noqa: PLC0415 -- as above

    return override(document, Settings, os.environ).tree


def _web_address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise CommandError(
            f"{url!r} is no web address; write --url or CALLBREAKER_URL as http://127.0.0.1:8080.", USAGE
        )
    return url


def _address(http: Any) -> str:
    host, port = _get(http, "host") or "127.0.0.1", _get(http, "port") or 8080
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 -- where a listener on all is found
    return f"http://{f'[{host}]' if ':' in str(host) else host}:{port}"


def _get(tree: Any, key: str) -> Any:
    return tree.get(key) if isinstance(tree, dict) else None
