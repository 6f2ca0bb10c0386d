import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.service.service import Role
from consumer.settings import load_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "callbreaker"


def load(name: str) -> Any:
    return yaml.safe_load((CHART / name).read_text())


def closed_objects(schema: dict[str, Any], values: dict[str, Any]) -> Iterator[tuple[set[str], set[str]]]:
    """Keys that the schema takes and keys that values.yaml has, for each object that takes no others."""
    properties = {key: part for key, part in schema["properties"].items() if key != "global"}
    if schema.get("additionalProperties") is False:
        yield set(properties), set(values)
    for key, part in properties.items():
        if "properties" in part:
            yield from closed_objects(part, values[key])


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay maps over maps, as helm does with a values file."""
    both = {key: merged(base[key], over[key]) for key in base.keys() & over if isinstance(base[key], dict)}
    return base | over | both


@pytest.mark.parametrize("name", ["default-values.yaml", "full-values.yaml", "roles-values.yaml"])
def test_configuration_that_the_chart_renders_is_one_that_starts(name: str, tmp_path: Path) -> None:
    config = merged(load("values.yaml"), load(f"ci/{name}"))["config"]
    file = tmp_path / "callbreaker.yaml"
    file.write_text(yaml.safe_dump(config))
    environ = {variable: f"value-of-{variable}" for variable in re.findall(r"\$\{(\w+)}", file.read_text())}

    settings = load_settings(file, environ)

    assert settings.http.host == "0.0.0.0"
    assert settings.kafka.bootstrap_servers
    assert str(settings.data_dir) == config["data_dir"]


def test_chart_installs_the_version_of_this_tree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert load("Chart.yaml")["appVersion"] == project["version"]


def test_every_value_the_schema_takes_is_in_values_yaml() -> None:
    pairs = list(closed_objects(json.loads((CHART / "values.schema.json").read_text()), load("values.yaml")))
    assert len(pairs) == 7
    for taken, present in pairs:
        assert taken == present


def test_roles_that_can_be_deployed_alone_are_those_of_the_command_line() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]["roles"]["propertyNames"]["enum"]) == set(Role)


def test_every_value_is_described_beside_it_or_above_it() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        if re.match(r" *\w+:", line):
            assert "# " in line or above.startswith("#"), line


def test_pod_is_given_longer_to_stop_than_it_takes() -> None:
    values = load("values.yaml")
    shutdown_seconds, forget_the_pod_seconds = 30, 5
    assert values["terminationGracePeriodSeconds"] > shutdown_seconds + forget_the_pod_seconds


def test_only_webhooks_and_signals_are_published() -> None:
    template = (CHART / "templates" / "ingress.yaml").read_text()
    assert re.findall(r"path: (.+)", template) == ["{{ . }}"]
    assert re.findall(r"range list (.+) }}", template) == ['"/webhooks" "/signals"']


def test_user_of_the_image_is_the_user_of_the_pod() -> None:
    image_user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    deployment = (CHART / "templates" / "deployment.yaml").read_text()
    assert image_user is not None
    assert f"runAsUser: {image_user[1]}\n" in deployment
    assert f"fsGroup: {image_user[2]}\n" in deployment


def test_pods_tell_each_other_the_address_of_the_pod() -> None:
    (variable,) = re.findall(
        r"name: (\w+)\n +valueFrom: {fieldRef: {fieldPath: status.podIP}}",
        (CHART / "templates" / "deployment.yaml").read_text(),
    )
    assert load_settings(None, {variable: "10.0.0.1"}).http.advertise == "10.0.0.1"
