"""What ``run`` and its relatives do: check, start, say where everything is, end in order."""

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

import uvloop

from consumer import logs
from consumer.commands.configuration import read_settings
from consumer.commands.failures import USAGE, CommandError, died
from consumer.commands.terminal import show_facts
from consumer.kafka.embedded import EmbeddedKafka, EmbeddedKafkaError, Progress
from consumer.kafka.errors import LogError, TopicMismatch
from consumer.service.listening import ListenError
from consumer.service.local_token import token_path
from consumer.service.loop_watch import ending_a_blocked_loop
from consumer.service.rules_file import ConfigurationFile
from consumer.service.service import Role, Service
from consumer.service.shutdown import ending_on_signal
from consumer.settings import ConfigurationError, Problem, Settings
from consumer.workers.crew import WorkerDied

EXPECTED = (EmbeddedKafkaError, ListenError, LogError, WorkerDied)

logger = logging.getLogger(__name__)


def set_up_logs() -> None:
    """Log to standard error as the environment says. Raises ``CommandError``."""
    try:
        logs.configure(logs.level_from_environment())
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None


def serve(file: Path | None, roles: frozenset[str]) -> None:
    """Serve until a signal. Raises what ``failures_shown`` shows."""
    set_up_logs()
    settings = read_settings(file)
    _refuse_what_cannot_be_served(settings, file, roles)
    logs.MASK.never_show(logs.secrets_in(settings))
    configuration = ConfigurationFile.at(file, lambda: _read_again(file)) if file else None
    service = Service(settings, frozenset(map(Role, roles)), configuration=configuration, on_progress=_log_progress)
    try:
        uvloop.run(_serve(service, file))
    except TopicMismatch as error:
        raise CommandError(str(error), USAGE) from None
    except ExceptionGroup as group:
        raise died(group, EXPECTED) from None


def _read_again(file: Path) -> Settings:
    """Read a configuration that has changed; its secrets are hidden in the log from here on. As ``read_settings``."""
    settings = read_settings(file)
    logs.MASK.never_show(logs.secrets_in(settings))
    return settings


def serve_kafka(data_dir: Path, port: int, nodes: int) -> None:
    """Serve brokers alone until a signal. Raises ``EmbeddedKafkaError``."""
    set_up_logs()
    uvloop.run(
        _serve_kafka(EmbeddedKafka(data_dir, port=port, nodes=nodes, on_progress=_log_progress), data_dir, nodes)
    )


async def _serve(service: Service, file: Path | None) -> None:
    starting = asyncio.ensure_future(service.__aenter__())

    def end() -> None:
        starting.cancel()
        service.end()

    with ending_on_signal(end, kill=service.kill):
        try:
            await starting
        except asyncio.CancelledError:
            return
        try:
            _announce(service, file)
            with ending_a_blocked_loop(service.kill):
                await service.run()
        finally:
            await service.__aexit__()
    logger.info("ended in order")


async def _serve_kafka(kafka: EmbeddedKafka, data_dir: Path, nodes: int) -> None:
    async def work() -> None:
        async with kafka:
            factor = min(nodes, 3)
            show_facts(
                "callbreaker kafka",
                [
                    ("Kafka", f"{kafka.bootstrap_servers} (data in {data_dir / 'kafka'})"),
                    ("for workers", f"CALLBREAKER__KAFKA__BOOTSTRAP_SERVERS={kafka.bootstrap_servers}"),
                    ("", f"CALLBREAKER__KAFKA__REPLICATION_FACTOR={factor}"),
                ],
            )
            await kafka.supervise()

    working = asyncio.ensure_future(work())
    with (
        ending_on_signal(working.cancel, kill=lambda: kill_all(kafka.pids)),
        contextlib.suppress(asyncio.CancelledError),
    ):
        await working


def kill_all(pids: tuple[int, ...]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _refuse_what_cannot_be_served(settings: Settings, file: Path | None, roles: frozenset[str]) -> None:
    """Refuse what is sound as a configuration, but not for these roles."""
    name = str(file) if file else "environment"
    problems = []
    if len(roles) == 1 and settings.kafka.bootstrap_servers is None:
        problems.append(
            Problem(
                name,
                None,
                "kafka.bootstrap_servers",
                f"the role {min(roles)} alone needs a Kafka that the other roles reach too, and none is configured",
                "start `callbreaker kafka` and set what it prints, name your own cluster, or use `callbreaker run`",
            )
        )
    if problems:
        raise ConfigurationError(tuple(problems))


def _announce(service: Service, file: Path | None) -> None:
    settings, started = service.settings, service.started
    facts = [("configuration", str(file) if file else "none: the defaults and the environment")]
    if Role.CONSOLE in service.roles:
        facts.append(("page", f"{started.url}/"))
    if Role.INGEST in service.roles:
        names = list(settings.accounts) or ["ACCOUNT (none is configured yet)"]
        facts += [("webhooks" if name is names[0] else "", f"{started.url}/webhooks/{name}") for name in names]
    facts.append(("health", f"{started.url}/readyz"))
    embedded = settings.kafka.bootstrap_servers is None
    facts.append(
        ("Kafka", started.kafka_servers + (f" (its own, in {settings.data_dir / 'kafka'})" if embedded else ""))
    )
    if started.token:
        logs.MASK.never_show([started.token])
        facts.append(("token", f"{started.token} (made for this run; also in {token_path(settings.data_dir)})"))
    roles = "" if len(service.roles) == len(Role) else f" {', '.join(sorted(service.roles))}"
    show_facts(f"callbreaker{roles} is up", facts)


def _log_progress(progress: Progress) -> None:
    logger.info("Kafka is %s: %s", progress.stage, progress.detail)
