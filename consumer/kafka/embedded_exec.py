"""Become another program that dies with its parent; run as a script, `embedded_exec.py PARENT_PID PROGRAM ARG…`.

Linux only keeps the promise (prctl(2), PR_SET_PDEATHSIG, survives execve); elsewhere the pid file does. A wrapper,
because a preexec_fn is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent_pid: int, program: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent_pid:  # the parent died before the promise was made
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 (no shell is the point)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
