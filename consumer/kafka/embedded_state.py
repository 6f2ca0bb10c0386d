"""What an embedded cluster keeps in its directory: the lock, the cluster id, and the ports of its nodes."""

import base64
import contextlib
import fcntl
import json
import os
import random
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from consumer.kafka.embedded_config import HOST, Node
from consumer.kafka.embedded_errors import DataDirError, DataDirInUseError, PortTakenError

# Below the ports that Linux and macOS give to outgoing connections: a client that tries again and again to reach a
# broker that is away could otherwise be given the broker's own port, and talk to itself.
PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Cluster:
    id: str
    nodes: tuple[Node, ...]


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory; the kernel releases it however the process ends. Raises DataDirInUseError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise DataDirInUseError(
                f"{directory} is in use by process {lock.read().strip() or '(unknown)'}: "
                "stop that one, or give this one another data_dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def load_cluster(directory: Path, count: int) -> Cluster | None:
    """Read the cluster this directory holds, None for a new one. Raises DataDirError when it is of another size."""
    path = directory / "cluster.json"
    try:
        state = json.loads(path.read_text())
        cluster = Cluster(str(state["id"]), tuple(Node(**node) for node in state["nodes"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirError(f"{path} cannot be read ({error!r}): restore it, or use another data_dir.") from error
    if len(cluster.nodes) != count:
        raise DataDirError(
            f"{directory} holds a cluster of {len(cluster.nodes)} node(s), {count} asked for: "
            f"start it with {len(cluster.nodes)}, or use another data_dir."
        )
    return cluster


def save_cluster(directory: Path, cluster: Cluster) -> None:
    temporary = directory / "cluster.json.new"
    temporary.write_text(json.dumps(asdict(cluster)))
    temporary.replace(directory / "cluster.json")


def new_cluster_id() -> str:
    """22 characters of base64url, as Kafka's Uuid.randomUuid: never with a leading dash, which reads as an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text


def with_free_ports(cluster: Cluster, port: int) -> Cluster:
    """Keep the cluster's ports where they are free, else give new ones; with a `port`, node N listens on port + N - 1.

    Raises PortTakenError when a port asked for is not free.
    """
    taken: set[int] = set()
    nodes = []
    for node in cluster.nodes:
        if port:
            client = port + node.id - 1
            if not _is_free(client):
                raise PortTakenError(
                    f"port {client} on {HOST} is held by another process: stop it, or ask for another port (0: any)."
                )
        else:
            client = node.client_port if _is_free(node.client_port) else _free_port(taken)
        taken.add(client)
        controller = node.controller_port if _is_free(node.controller_port) else _free_port(taken)
        taken.add(controller)
        nodes.append(Node(node.id, client, controller))
    return Cluster(cluster.id, tuple(nodes))


def _free_port(taken: set[int]) -> int:
    candidates = random.sample(PORTS, 200)
    found = next((port for port in candidates if port not in taken and _is_free(port)), None)
    if found is None:
        raise PortTakenError(f"no free port found between {PORTS.start} and {PORTS.stop} on {HOST}: give one.")
    return found


def _is_free(port: int) -> bool:
    """Whether a broker could listen; like the broker's, this bind is not hindered by connections in TIME_WAIT."""
    if port <= 0:
        return False
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False
