"""The lever, the modes of rules and a changed configuration, with the service and its commands as real processes."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.command_line import call, free_port, running, until
from tests.end_to_end.test_cli import _configure

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]


def test_lever_modes_and_a_changed_file_without_a_restart(tmp_path: Path) -> None:
    def told(*arguments: str) -> str:
        done = call(*arguments, "--config", "callbreaker.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def rules() -> dict[str, str]:
        return {one["name"]: one["mode"] for one in json.loads(told("rules", "list", "--json"))["items"]}

    _configure(tmp_path, free_port(), free_port())
    file = tmp_path / "callbreaker.yaml"
    with running("run", cwd=tmp_path) as service:
        service.until_it_says("callbreaker")
        until(lambda: call("rules", "list", "--config", "callbreaker.yaml", cwd=tmp_path).returncode == 0, 60)
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
        until(lambda: rules() == {"loud": "shadow", "opt-out": "enforce"}, 30)
        file.write_text(
            sound.replace("rules:\n", "rules:\n  - {name: bad, when: 'evnt.status', stop: {scope: call}}\n")
        )
        until(lambda: "the changed configuration is refused" in service.err.read_text(), 30)
        said = service.err.read_text()
        assert "callbreaker.yaml, line " in said
        assert "rules[0]" in said
        assert "evnt" in said
        assert rules() == {"loud": "shadow", "opt-out": "enforce"}
