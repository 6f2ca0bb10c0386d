import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.kafka.errors import InUse
from consumer.kafka.only_here import only_here

HOLD = """
import sys
from pathlib import Path
from consumer.kafka.only_here import only_here
with only_here(Path(sys.argv[1]), "correlate"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_whom_to_end_and_what_to_set(tmp_path: Path) -> None:
    views = tmp_path / "data" / "views"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(views)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InUse) as refused, only_here(views, "correlate"):
            pass
        assert f"process {other.pid} runs correlate with the data in {tmp_path / 'data'}" in str(refused.value)
        assert "CALLBREAKER__DATA_DIR" in str(refused.value)
        with only_here(views, "terminate"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait(10)
    with only_here(views, "correlate") as folder:
        assert folder == views / "correlate"
        assert (views / "correlate.lock").read_text() == str(os.getpid())
