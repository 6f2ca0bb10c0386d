"""From the options of ``backtest`` to its result: what is tried, on what, and whether the expectations are met."""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from consumer.backtest.course import Made
from consumer.backtest.expect import Expectation, ExpectationError, check, parse
from consumer.backtest.from_file import FileError, FileEvents, as_seconds
from consumer.backtest.from_log import OnProgress
from consumer.backtest.plan import Plan
from consumer.backtest.result import FIGURES, Named, all_figures, result_of
from consumer.backtest.run import Done, over_file, over_log
from consumer.commands.backtest_shown import show
from consumer.commands.failures import USAGE, CommandError
from consumer.commands.terminal import err, show_json
from consumer.commands.trial import accounts_of_trial, plan_of_trial, settings_of_trial
from consumer.kafka.embedded import DataDirInUseError, EmbeddedKafka, EmbeddedKafkaError
from consumer.kafka.embedded_state import load_cluster
from consumer.kafka.errors import LogError
from consumer.model.codec import encode_order
from consumer.model.durations import parse_duration
from consumer.model.orders import Mode, StopOrder
from consumer.model.refusals import RefusedError
from consumer.model.rule_set import RuleSet
from consumer.model.termination_codec import encode_termination_record
from consumer.service.assembly import connection_of, rules_of, topics_of
from consumer.service.memory import quiet_gc
from consumer.settings import Settings
from handlers.providers.table import PROVIDERS

EXPECTED = (FileError, LogError, EmbeddedKafkaError)


class Asked(NamedTuple):
    """The options of the command."""

    rules: Path
    events: Path | None = None
    since: str | None = None
    until: str | None = None
    expect: tuple[str, ...] = ()
    provider: str | None = None
    decisions: Path | None = None
    config: Path | None = None


def run(asked: Asked, *, as_json: bool) -> bool:
    """Run the backtest and print its result; says whether all expectations are met.

    Raises:
        ConfigurationError: something is wrong with the rules or the configuration.
        CommandError: something is wrong with the options.
        FileError, LogError, EmbeddedKafkaError: the events cannot be read.

    """
    if (asked.events is None) == (asked.since is None and asked.until is None):
        raise CommandError("Say what to try the rules on: --from T (and --to T), or --events FILE.jsonl.", USAGE)
    begin, end = _moment("--from", asked.since), _moment("--to", asked.until)
    settings, as_configured = settings_of_trial(asked.rules, asked.config, provider=asked.provider)
    plan = _plan(settings, as_configured if asked.events else None, begin)
    wishes = _wishes(asked.expect, plan)
    with quiet_gc(), _written(plan, asked.decisions) as plan, _progress() as on_progress:
        if asked.events is not None:
            source = FileEvents(asked.events, accounts_of_trial(settings, asked.provider), PROVIDERS)
            done = over_file(plan, source, on_progress)
        else:
            done = uvloop.run(_on_log(plan, settings, end, on_progress))
    tested = plan.tested(with_signals=asked.events is None)
    return _told(done, tested, wishes, as_json=as_json)


def _told(done: Done, tested: list[Named], wishes: list[Expectation], *, as_json: bool) -> bool:
    verdicts = check(wishes, all_figures(done.tally))
    result = result_of(done.read, tested, done.tally, verdicts)
    if as_json:
        show_json(result)
    else:
        show(result)
    return all(verdict.met for verdict in verdicts)


def _plan(settings: Settings, as_configured: Settings | None, begin: float | None) -> Plan:
    """Compile what is tried, and what is in force beside it where that is not recorded."""
    plan = plan_of_trial(settings, start=begin)
    names = {rule.name for rule in plan.rules}
    others = rules_of(as_configured) if as_configured else ()
    in_force = [rule for rule in others if rule.name not in names and rule.mode is not Mode.SHADOW]
    return replace(plan, beside=RuleSet.of(in_force))


def _wishes(texts: tuple[str, ...], plan: Plan) -> list[Expectation]:
    try:
        return [parse(text, [rule.name for rule in plan.rules], FIGURES) for text in texts]
    except ExpectationError as error:
        raise CommandError(str(error), USAGE) from None


async def _on_log(plan: Plan, settings: Settings, end: float | None, on_progress: OnProgress) -> Done:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it cannot get over, it raises
    async with _kafka(settings) as servers:
        connection = connection_of(settings, servers)
        return await over_log(plan, connection, topics_of(settings), until=end, on_progress=on_progress)


@asynccontextmanager
async def _kafka(settings: Settings) -> AsyncIterator[str]:
    """Give the servers: those configured, else the embedded broker's, which is started if no service has it up."""
    if settings.kafka.bootstrap_servers is not None:
        yield settings.kafka.bootstrap_servers
        return
    kafka = EmbeddedKafka(settings.data_dir)
    try:
        await kafka.start()
    except DataDirInUseError:
        cluster = load_cluster(settings.data_dir.absolute() / "kafka", 1)
        if cluster is None:
            raise
        yield ",".join(f"127.0.0.1:{node.client_port}" for node in cluster.nodes)
        return
    try:
        yield kafka.bootstrap_servers
    finally:
        await kafka.stop()


@contextmanager
def _written(plan: Plan, path: Path | None) -> Iterator[Plan]:
    """Have everything that the rules make written to a file, a line each."""
    if path is None:
        yield plan
        return
    try:
        with path.open("wb") as file:

            def write(made: Made) -> None:
                record = encode_order(made) if isinstance(made, StopOrder) else encode_termination_record(made)
                file.write(record + b"\n")

            yield plan.with_witness(write)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """Show on a terminal how far it is; a pipe gets none of it."""
    events = TextColumn("{task.fields[events]:,} events", justify="right")
    columns = (events, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", events=0)

        def on_progress(done: int, total: int, events: int) -> None:
            progress.update(task, completed=done, total=total, events=events)

        yield on_progress


def _moment(option: str, text: str | None) -> float | None:
    """Read a time: ISO 8601, seconds since the epoch, or a duration, which is so long ago."""
    if text is None:
        return None
    seconds = as_seconds(float(text) if text.replace(".", "", 1).isdigit() else text)
    if seconds is not None:
        return seconds
    try:
        return time.time() - parse_duration(text)
    except RefusedError:
        raise CommandError(
            f"{option} {text!r} is no time: write 2026-11-20T08:00Z, or 24h for a day ago.", USAGE
        ) from None
