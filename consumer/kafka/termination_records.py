"""Reading the records of ``terminations`` and ``termination-log``, for every role that folds them."""

import logging
from collections.abc import Sequence

from consumer.kafka.consumer_client import LogRecord
from consumer.model.codec import CodecError
from consumer.model.termination_codec import decode_termination_records
from consumer.model.terminations import Record

logger = logging.getLogger(__name__)


def records_in(record: LogRecord) -> Sequence[Record]:
    """Give what a record tells, of one call or of all calls of a request; one that is not ours is skipped loudly."""
    try:
        return decode_termination_records(record.value)
    except CodecError as error:
        logger.error("%s/%d@%d is skipped: %s", record.topic, record.partition, record.offset, error)
        return ()
