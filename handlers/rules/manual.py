"""``manual``: somebody outside says stop: a QA tool posts to ``/signals/NAME`` what it wants stopped, and why.

It goes the way of every rule: through the limits, in the rule's mode, shown as what it is.
"""

from consumer.model.rules import SignalRule

manual = SignalRule("manual", "1", "signal")
