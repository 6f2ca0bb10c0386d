"""What the correlator counts."""

from prometheus_client import Counter

EVENTS = Counter("callbreaker_events_correlated", "Call events folded, without duplicates.", ["account", "type"])
DUPLICATES = Counter("callbreaker_events_duplicate", "Call events that had been folded already.")
UNREADABLE = Counter("callbreaker_events_unreadable", "Records of call-events that are not call events.")
DECISIONS = Counter("callbreaker_decisions", "Decisions to stop a call, written to terminations.", ["account"])
RULE_ORDERS = Counter("callbreaker_rule_orders", "Stop orders proposed by a rule.", ["rule"])
RULE_FAILURES = Counter("callbreaker_rule_failures", "Times a rule raised instead of answering.", ["rule"])
