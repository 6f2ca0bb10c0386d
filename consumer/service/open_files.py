"""How many files a process may have open: each partition takes three, the file of its view and two beside it."""

import resource
from contextlib import suppress

MOST = 65_536


def allow_open_files() -> None:
    """Raise the limit of open files as far as this user may, up to ``MOST``; where a system counts otherwise, it stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
