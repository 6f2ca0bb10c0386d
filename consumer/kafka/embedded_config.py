"""What an embedded broker is told: server.properties, log4j2.properties and the options of its JVM, as text."""

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
QUIET_FROM_JDK = 24


@dataclass(frozen=True, slots=True)
class Node:
    """One broker and controller in one process (KRaft combined mode)."""

    id: int
    client_port: int
    controller_port: int


def server_properties(node: Node, nodes: tuple[Node, ...], log_dir: str) -> str:
    """Configure one node for one machine; names and defaults: kafka.apache.org/43/configuration/broker-configs.

    `log_dir` is relative to the broker's working directory: a comma in an absolute path would be two directories.
    """
    replicas = min(3, len(nodes))
    in_sync = 2 if replicas == 3 else 1
    # After a kill -9 the broker's own registration must expire before it may come back. Alone it has nobody to fail
    # over to, and a fence by mistake ends with its next heartbeat.
    session_milliseconds = 1500 if len(nodes) == 1 else 3000
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": ",".join(f"{peer.id}@{HOST}:{peer.controller_port}" for peer in nodes),
        "listeners": f"CLIENT://{HOST}:{node.client_port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{node.client_port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": log_dir,
        # durability: that of a production cluster of this size
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        # internal topics: every partition costs files, memory and start time
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # quick to notice and to settle
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "broker.session.timeout.ms": session_milliseconds,
        "broker.heartbeat.interval.ms": session_milliseconds // 6,
        # small: the defaults are for a machine of its own (the cleaner's buffer alone is 128 MB of heap)
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        "log.index.size.max.bytes": 2 << 20,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j2_properties(log_file: str) -> str:
    """Kafka's own log: at most 4 files of 4 MB."""
    return f"""\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log_file}
appender.file.filePattern = {log_file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %m (%c{{1}})%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 4MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
logger.settings.name = org.apache.kafka.common.config
logger.settings.level = warn
logger.clients.name = org.apache.kafka.clients
logger.clients.level = warn
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


def jvm_options(heap_mb: int, jdk: int, directory: Path) -> list[str]:
    """Options for a quick start on few cores; `directory` (absolute) is the broker's own, and names it in `ps`."""
    quiet = ["--sun-misc-unsafe-memory-access=allow"] if jdk >= QUIET_FROM_JDK else []  # JEP 498
    return [
        *quiet,
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xlog:disable",
        "-Xlog:all=error:stderr",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:ErrorFile=../logs/jvm-crash-%p.log",
        "-Djava.awt.headless=true",
        "-Djava.io.tmpdir=tmp",
        "-Dlog4j2.configurationFile=log4j2.properties",
        f"-Dcallbreaker.broker={directory}",
    ]
