"""How long tests wait for what must come."""

PATIENCE_SECONDS = 90.0
"""Enough on a machine that is busy with other things too: it ends a test that hangs, and says nothing about speed."""
