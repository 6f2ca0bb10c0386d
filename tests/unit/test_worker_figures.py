from prometheus_client import REGISTRY, Metric

from consumer.ingest import metrics
from consumer.workers.figures import Figures, heard, summed, told


def samples(collected: list[Metric], name: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    (metric,) = [metric for metric in collected if metric.name == name]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in metric.samples}


def test_what_two_workers_counted_is_added_to_what_is_counted_here() -> None:
    metrics.WEBHOOKS.labels("acme", 200).inc()
    metrics.SECONDS.observe(0.002)
    here = list(REGISTRY.collect())
    worker = heard(told(failing=True))
    assert worker.failing
    together = list(summed([worker, worker]))
    assert [metric.name for metric in together] == [metric.name for metric in here]
    for name in ("callbreaker_webhooks", "callbreaker_webhook_seconds"):
        before, after = samples(here, name), samples(together, name)
        assert list(after) == list(before)
        assert before
        for key, value in before.items():
            assert after[key] == (value if key[0].endswith("_created") else 3 * value)
    cpu = "process_cpu_seconds"
    assert samples(together, cpu).keys() == samples(here, cpu).keys()


def test_what_only_a_worker_has_counted_is_there_too() -> None:
    metrics.WEBHOOKS.labels("counted-once", 200).inc()
    line = told(failing=False).replace(b'"counted-once"', b'"only-there"')
    (total,) = [
        value
        for (name, labels), value in samples(list(summed([heard(line), Figures()])), "callbreaker_webhooks").items()
        if name == "callbreaker_webhooks_total" and ("account", "only-there") in labels
    ]
    assert total >= 1
