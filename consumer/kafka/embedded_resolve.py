"""Fetch jars with jgo; run as a script in a process of its own, `embedded_resolve.py COORDINATES LOCK_FILE`.

A process of its own because jgo blocks, logs, and reads JAVA_HOME. Standard output is one JSON object a line:
`{"fetched": NAME}` for every jar that arrived, at the end `{"class_path": [PATH, …]}`; a failure is on standard error.
"""

import fcntl
import json
import logging
import re
import sys
import zipfile
from pathlib import Path

FETCHED = re.compile(r"^Downloaded .* to .*?([^/\\]+\.jar)$")


class _Fetched(logging.Handler):
    """jgo tells of a download in its debug log only, and of a wrong checksum in a warning only."""

    def __init__(self) -> None:
        super().__init__()
        self.mismatches: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if found := FETCHED.match(message):
            _say({"fetched": found[1]})
        elif message.startswith("Checksum mismatch"):
            self.mismatches.append(message)


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _is_whole(jar: Path) -> bool:
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def main(coordinates: str, lock_file: Path) -> None:
    import jgo  # noqa: PLC0415 (slow to import, and only this process needs it)

    fetched = _Fetched()
    log = logging.getLogger("jgo")
    log.handlers[:] = [fetched]
    log.setLevel(logging.DEBUG)
    log.propagate = False
    with lock_file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first starts at once would write the same files
        jars = jgo.build(coordinates, update=True).all_jars  # without update it takes a half-made environment for whole
    damaged = fetched.mismatches + [f"{jar} is damaged" for jar in jars if not _is_whole(jar)]
    if damaged:
        sys.exit("; ".join(damaged))
    _say({"class_path": [str(jar) for jar in jars]})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
