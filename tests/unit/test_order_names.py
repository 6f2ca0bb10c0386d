import pytest

from consumer.kafka.order_names import FEW, AimedNames, named
from consumer.model.scopes import Scope, call_keys
from tests.unit.values import ACCOUNT, waiting_call

CALL = waiting_call("call-1", campaign_id="campaign-1", agent_id="agent-1", number="+918882876897")


def names(count: int, prefix: str = "+9170") -> list[str]:
    return [f"{prefix}{n:08}" for n in range(count)]


def test_a_call_of_which_no_order_knows_a_name_has_no_hits() -> None:
    known = AimedNames()
    assert known.hits(CALL) == ()
    for scope in (Scope.campaign("campaign-2"), Scope.numbers_in_campaign("campaign-2", ["+918882876897"])):
        known.add(ACCOUNT, named(scope.index_keys()[0])[0], [named(key)[1] for key in scope.index_keys()])
    known.add("another", *(kind_and_names := (named(("campaign", "campaign-1"))[0], ["campaign-1"])))
    assert known.hits(CALL) == ()
    known.add(ACCOUNT, *kind_and_names)
    assert known.hits(CALL) == [named(("campaign", "campaign-1"))]


@pytest.mark.parametrize("count", [1, FEW + 1])
@pytest.mark.parametrize("key", call_keys(CALL), ids=lambda key: "-".join(key[::2]))
def test_each_name_of_a_call_is_a_hit_also_among_many(key: tuple[str, ...], count: int) -> None:
    known = AimedNames()
    kind, name = named(key)
    known.add(ACCOUNT, kind, [name, *names(count - 1, "other")])
    assert (kind, name) in known.hits(CALL)
    assert known.may_hold(ACCOUNT, (kind, name))
