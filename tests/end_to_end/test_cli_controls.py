"""The lever, the modes of rules and a changed configuration, with the service and its commands as real processes."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.command_line import call, running, until
from tests.end_to_end.test_cli import _configure, ask_api
from tests.ports import free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(400)]


def test_lever_modes_and_a_changed_file_without_a_restart(tmp_path: Path) -> None:
    def told(*arguments: str) -> str:
        done = call(*arguments, "--config", "callbreaker.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def rules() -> dict[str, str]:
        return {one["name"]: one["mode"] for one in json.loads(told("rules", "list", "--json"))["items"]}

    def modes() -> dict[str, str]:
        return {one["name"]: one["mode"] for one in ask_api(tmp_path, port, "rules")[1]["items"]}

    port = free_port()
    _configure(tmp_path, port, free_port())
    file = tmp_path / "callbreaker.yaml"
    with running("run", cwd=tmp_path) as service:
        service.until_it_says("callbreaker is up")
        until(lambda: bool(modes()))
        assert "is released" in told("lever", "show")
        assert "is engaged by local" in told("lever", "engage", "--reason", "looks wrong")
        assert "looks wrong" in told("lever", "show")
        assert "is released by local" in told("lever", "release", "--reason", "is right")

        assert rules() == {"opt-out": "enforce"}
        assert "is in mode canary 0.25" in told(
            *("rules", "mode", "opt-out", "canary", "--share", "0.25", "--reason", "careful")
        )
        assert "local: careful" in told("rules", "list")
        assert "is in mode enforce" in told("rules", "mode", "opt-out", "configured", "--reason", "as it was")
        refused = call(
            "rules", "mode", "opt-out", "loud", "--reason", "r", "--config", "callbreaker.yaml", cwd=tmp_path
        )
        assert refused.returncode == 2

        sound = file.read_text()
        more = "  - {name: loud, when: 'event.status == \"failed\"', stop: {scope: number}, mode: shadow}\n"
        file.write_text(sound.replace("rules:\n", f"rules:\n{more}"))
        until(lambda: modes() == {"loud": "shadow", "opt-out": "enforce"})
        file.write_text(
            sound.replace("rules:\n", "rules:\n  - {name: bad, when: 'evnt.status', stop: {scope: call}}\n")
        )
        until(lambda: "the changed configuration is refused" in service.err.read_text())
        said = service.err.read_text()
        assert "callbreaker.yaml, line " in said
        assert "rules[0]" in said
        assert "evnt" in said
        assert rules() == {"loud": "shadow", "opt-out": "enforce"}
