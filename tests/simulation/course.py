"""The course of a world: until nothing is left to do, and to its end."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tests.simulation.loop import Livelock, running_process
from tests.simulation.world import World

LONGEST_SECONDS = 900.0
LOOK_EVERY_SECONDS = 1.0


def run(world: World) -> bool:
    """Let the world go on until it has settled; says whether it has."""
    with _told(world):
        try:
            while not world.settled:
                if world.loop.time() > LONGEST_SECONDS:
                    world.blame("settles", f"after {LONGEST_SECONDS:.0f} s there is still something to do")
                    return False
                world.loop.run(LOOK_EVERY_SECONDS)
        except Livelock as error:
            world.blame("settles", str(error))
            return False
    return True


def end(world: World) -> None:
    """Take the world apart, so that the next finds nothing of it."""
    with _told(world):
        world.loop.bury([life.process for node in world.nodes for life in node.lives])
    for node in world.nodes:
        node.machine.disk.lose()


@contextmanager
def _told(world: World) -> Iterator[None]:
    """Keep what the real parts log out of the way, or put it into the trace."""
    root = logging.getLogger("consumer")
    before = root.level, root.propagate, root.handlers[:], logging.root.manager.disable
    if world.trace is None:
        logging.disable(logging.CRITICAL)
    else:
        logging.disable(logging.NOTSET)
        root.setLevel(logging.INFO)
        root.propagate = False
        root.handlers[:] = [_IntoTrace(world)]
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.propagate = before[1]
        root.handlers[:] = before[2]
        logging.disable(before[3])


class _IntoTrace(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.note(running_process().name, f"· {record.getMessage()}")
