"""What the command line loads before it knows the command: nothing that only some command needs."""

import subprocess
import sys

import pytest

from consumer.commands.options import DEFAULT_DATA_DIR
from consumer.settings import Settings

HEAVY = ("aiohttp", "aiokafka", "asyncio", "common_expression_language", "uvloop", "yarl")
OURS = ("consumer.kafka", "consumer.model.accounts", "consumer.service.service", "consumer.settings.settings")
ASK = """
import sys
from consumer.commands import place
import consumer.cli
place.find_place("http://127.0.0.1:1", "token", None)
print(*sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a process that has read its command line and knows whom to ask."""
    return set(subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.split())


def test_a_client_command_loads_nothing_that_runs_the_service(loaded: set[str]) -> None:
    assert "consumer.client" in loaded
    assert loaded.isdisjoint(HEAVY + OURS)


def test_the_directory_where_a_client_looks_for_a_token_is_the_services_default() -> None:
    assert Settings.model_fields["data_dir"].default == DEFAULT_DATA_DIR
