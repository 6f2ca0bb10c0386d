"""The laws that hold in every world once it has settled, whatever went wrong in it."""

from collections.abc import Callable, Iterator

from tests.simulation import audit_sending as sending
from tests.simulation import audit_state as state
from tests.simulation.world import World

Auditor = Callable[[World], Iterator[str]]

AUDITORS: tuple[Auditor, ...] = (
    state.views_equal_the_log,
    state.ledgers_equal_the_log,
    state.counts_equal_a_recount,
    state.totals_equal_a_recount,
    state.every_order_is_judged,
    state.one_termination_for_each_episode,
    state.every_wanted_stop_is_decided,
    state.folds_tell_the_truth,
    state.nothing_is_forgotten,
    sending.nobody_is_left_waiting,
    sending.confirmed_means_cancelled,
    sending.every_request_was_wanted,
    sending.attempts_come_before_requests,
    sending.allowance_is_kept,
    sending.requests_are_small_and_of_one_account,
    sending.no_live_call_is_cut,
    sending.rate_is_kept,
)


def audit(world: World) -> None:
    """Blame the world for every law that was broken."""
    for auditor in AUDITORS:
        for what in auditor(world):
            world.blame(auditor.__name__.replace("_", "-"), what)
