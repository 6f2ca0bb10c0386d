from consumer.guard.silence import SilenceWatch
from consumer.model.controls import Alert
from consumer.model.rules import configured
from handlers.rules.no_events import no_events
from tests.unit.values import ACCOUNT

SCOPE = (ACCOUNT, "campaign", "k")
NAME = f"silent/{ACCOUNT}/k/quiet"
RULE = configured(no_events, name="quiet", params={"after": "10m"})


class Waiting:
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def waiting(self, scope: str) -> int:
        assert scope == f"{ACCOUNT}/campaign/k"
        return self.calls


def test_a_campaign_whose_calls_wait_in_silence_alerts_until_it_is_heard_of_again() -> None:
    watch, calls, known = SilenceWatch([RULE]), Waiting(3), dict[str, Alert]()
    watch.heard(SCOPE, 60)
    assert watch.look(130.0, calls, known) == []
    assert watch.look(719.0, calls, known) == []
    (alert,) = watch.look(731.0, calls, known)
    assert (alert.name, alert.active, alert.since) == (NAME, True, 731.0)
    assert "3 of its calls wait" in alert.text
    known[alert.name] = alert
    assert watch.look(760.0, calls, known) == []
    watch.heard(SCOPE, 780)
    (over,) = watch.look(800.0, calls, known)
    assert (over.name, over.active) == (NAME, False)


def test_where_no_call_waits_silence_is_no_wonder() -> None:
    watch = SilenceWatch([RULE])
    watch.heard(SCOPE, 60)
    assert watch.look(120.0, Waiting(0), {}) == []
    assert watch.look(9_000.0, Waiting(0), {}) == []
    (over,) = watch.look(9_020.0, Waiting(0), {NAME: Alert(NAME, "quiet", 1.0)})
    assert not over.active


def test_silence_counts_from_when_somebody_listens() -> None:
    watch = SilenceWatch([RULE])
    watch.heard(SCOPE, 60)
    assert watch.look(9_000.0, Waiting(1), {}) == []  # a start after a long time
    assert len(watch.look(9_600.0, Waiting(1), {})) == 1


def test_other_campaigns_alerts_are_left_alone_and_a_rule_that_is_gone_takes_its_own_back() -> None:
    watch, other = SilenceWatch([RULE]), Alert(f"silent/{ACCOUNT}/kk/quiet", "x", 1.0)
    watch.heard(SCOPE, 60)
    watch.look(70.0, Waiting(1), {})
    own = Alert(NAME, "quiet", 1.0)
    assert watch.look(9_000.0, Waiting(1), {own.name: own, other.name: other}) == []
    watch.take([])
    assert [alert.name for alert in watch.look(9_020.0, Waiting(1), {own.name: own, other.name: other})] == [NAME]
