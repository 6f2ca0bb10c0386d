"""What workers count, told to the main process once a second and summed there."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson
from prometheus_client import REGISTRY, Metric

from consumer.ingest.metrics import webhooks_taken

OURS = "callbreaker_"
CREATED = "_created"


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure: of which metric, under which name and labels."""

    metric: str
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one worker has counted since it started; ``failing`` is whether Kafka does not take what it writes."""

    samples: tuple[Sample, ...] = ()
    webhooks_taken: int = 0
    failing: bool = False


def told(*, failing: bool) -> bytes:
    """Write the figures of this process as one line."""
    ours = [metric for metric in REGISTRY.collect() if metric.name.startswith(OURS)]
    samples = tuple(sample for metric in ours for sample in _samples(metric) if math.isfinite(sample.value))
    return orjson.dumps(Figures(samples, webhooks_taken(), failing)) + b"\n"


def heard(line: bytes) -> Figures:
    """Read what ``told`` wrote."""
    figures = orjson.loads(line)
    return Figures(**figures | {"samples": tuple(Sample(**sample) for sample in figures["samples"])})


def summed(workers: Iterable[Figures]) -> Iterable[Metric]:
    """Give the metrics of this process with the workers' added; what is not ours is of this process alone."""
    theirs: dict[str, list[Sample]] = {}
    for figures in workers:
        for sample in figures.samples:
            theirs.setdefault(sample.metric, []).append(sample)
    for metric in REGISTRY.collect():
        if metric.name in theirs:
            _add(metric, theirs[metric.name])
        yield metric


def _add(metric: Metric, samples: Iterable[Sample]) -> None:
    totals: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for sample in (*_samples(metric), *samples):
        key = (sample.name, frozenset(sample.labels.items()))
        before = totals.get(key)
        if before is None:
            totals[key] = sample.value
        else:
            totals[key] = min(before, sample.value) if sample.name.endswith(CREATED) else before + sample.value
    metric.samples = []
    for (name, labels), value in totals.items():
        metric.add_sample(name, dict(labels), value)


def _samples(metric: Metric) -> list[Sample]:
    return [Sample(metric.name, sample.name, sample.labels, sample.value) for sample in metric.samples]
