"""What rules may never stop."""

from dataclasses import dataclass

from consumer.model.calls import Call


@dataclass(frozen=True, slots=True)
class Protected:
    """Campaigns, agents and numbers (E.164) that only an operator's own order reaches."""

    campaigns: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()

    def covers(self, call: Call) -> bool:
        return call.campaign_id in self.campaigns or call.agent_id in self.agents or call.number in self.numbers
