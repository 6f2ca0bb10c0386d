import re
from pathlib import Path

import pytest

from consumer.settings import KNOWN_PROVIDERS, Settings, load_settings
from handlers.providers.capability_table import ROWS, renewed
from handlers.providers.table import PROVIDERS

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"
TEXT = DOCUMENT.read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def load(text: str, folder: Path) -> Settings:
    file = folder / "callbreaker.yaml"
    file.write_text(text)
    secrets = {name: f"{name.lower()}-of-some-length" for name in re.findall(r"\$\{(\w+)\}", text)}
    return load_settings(file, secrets)


def test_the_documented_table_is_the_one_in_the_code() -> None:
    assert renewed(TEXT) == TEXT, "run: python -m handlers.providers.capability_table docs/providers.md"
    assert all(f"| {what} |" in TEXT for what in ROWS)


def test_every_provider_is_known_to_the_configuration_and_has_its_section() -> None:
    assert set(PROVIDERS) == set(KNOWN_PROVIDERS)
    assert all(f"\n## {name.capitalize()}\n" in TEXT for name in PROVIDERS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_documented_account_is_one_that_works(example: str, tmp_path: Path) -> None:
    (account,) = load(example, tmp_path).accounts.values()
    assert account.name == f"acme-{account.provider}"


def test_there_is_an_account_for_every_provider(tmp_path: Path) -> None:
    found = [account.provider for text in EXAMPLES for account in load(text, tmp_path).accounts.values()]
    assert found == list(PROVIDERS)
