"""Whether what rules want of an account still works: the stops that only rules wanted, and what came of them lately. Pure.

A rule that goes by wrong data stops calls that are not there, or of which nothing is ever confirmed; a provider that answers
with errors now and then hides which calls it has stopped. Then nothing more is sent for rules until a person has looked.
"""

from collections import Counter, deque

from consumer.model.terminations import AnswerClass, State

WINDOW_SECONDS = 600.0
AT_LEAST = 20
REMEMBERED = 2_000
PROVEN = frozenset((State.CONFIRMED, State.MISSED))
"""A call that connected or ended first is missed: nothing is wrong with what we know of it."""
UNPROVEN = frozenset((State.UNCONFIRMED, State.NOT_FOUND, State.FAILED))
ERRORS = frozenset((AnswerClass.UNKNOWN, AnswerClass.POISON, AnswerClass.CONFLICT, AnswerClass.NOT_FOUND))


class Trust:
    """Outcomes and answers of one account. ``now`` is in seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=REMEMBERED)
        self._answers: deque[tuple[float, bool]] = deque(maxlen=REMEMBERED)

    def settled(self, outcome: State, now: float) -> None:
        """Note how a stop that was asked for, and that only rules wanted, has ended."""
        if outcome in PROVEN or outcome in UNPROVEN:
            self._outcomes.append((now, outcome in UNPROVEN))

    def answered(self, answer: AnswerClass, now: float) -> None:
        """Note what was answered to a request in which only rules wanted calls."""
        self._answers.append((now, answer in ERRORS))

    def forget(self) -> None:
        """Begin anew: a person has looked."""
        self._outcomes.clear()
        self._answers.clear()

    def lost(self, now: float) -> str | None:
        """Say in words why nothing more should be sent for rules; None while all is well."""
        bad, of = _share(self._outcomes, now)
        if of >= AT_LEAST and 2 * bad > of:
            return (
                f"of the last {of} stops that rules wanted, {bad} were not confirmed: their calls were unknown to the "
                "provider, refused by it, or never said to be stopped"
            )
        bad, of = _share(self._answers, now)
        if of >= AT_LEAST and 2 * bad > of:
            return f"of the last {of} requests for rules, the provider answered {bad} with an error"
        return None


def _share(noted: deque[tuple[float, bool]], now: float) -> tuple[int, int]:
    """How many of those noted within the window were bad, and how many there were."""
    while noted and now - noted[0][0] > WINDOW_SECONDS:
        noted.popleft()
    count = Counter(bad for _, bad in noted)
    return count[True], len(noted)
