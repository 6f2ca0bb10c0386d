"""What can go wrong between us and Kafka.

LogError
├── LogUnavailable      no broker answers in time; the data is still ours, try again       (retriable)
├── Backpressure        more is waiting to be written than may wait                        (retriable)
├── RecordTooLarge      the broker will never take this record
├── TopicMismatch       a topic is there, but not with the partitions we compute with
├── Refused             Kafka does not allow it, or cannot do it; trying again does not help
├── InUse               another process works on the same data
├── NotHeld             the partition asked about belongs to another process
├── NotCaughtUp         its view does not know yet all that the log knows                  (retriable)
├── ViewUnusable        the disk is full, or else something around a view's file is wrong
├── SpoolUnusable       the same of the file in which webhooks wait for Kafka
└── Stalled             a background task of the client died or stands still; start again
"""


class LogError(Exception):
    """Root of everything this package raises about Kafka."""

    retriable = False


class LogUnavailable(LogError):
    """Kafka does not answer in time."""

    retriable = True


class Backpressure(LogError):
    """Too much waits to be written."""

    retriable = True


class RecordTooLarge(LogError):
    """A record above the broker's limit."""


class TopicMismatch(LogError):
    """A topic with other partitions than configured: keys would be looked for in the wrong place."""


class Refused(LogError):
    """Kafka does not let us, or cannot."""


class InUse(LogError):
    """Another process works on the same data."""


class NotHeld(LogError):
    """The partition is held by another process, or is moving."""


class NotCaughtUp(LogError):
    """The partition is held here, but what its view says may be older than the log."""

    retriable = True


class ViewUnusable(LogError):
    """A view's file cannot be opened or written, and making it anew would not help."""


class SpoolUnusable(LogError):
    """The file in which webhooks wait for Kafka cannot be opened, and making it anew would lose them."""


class Stalled(LogError):
    """The Kafka client stopped working without saying so."""
