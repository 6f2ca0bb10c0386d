"""What the end of a task looks like to whoever started the command."""

import logging

import pytest

from consumer.commands.failures import died
from consumer.kafka.errors import LogUnavailable


def _group(error: Exception) -> BaseExceptionGroup[BaseException]:
    error.add_note("this ended the task 'correlate'")
    return BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])


def test_an_expected_error_is_told_in_its_own_words_with_the_task_it_ended() -> None:
    told = died(_group(LogUnavailable("Kafka does not answer")), (LogUnavailable,))
    assert str(told) == "Kafka does not answer (this ended the task 'correlate')"
    assert told.exit_code == 1


def test_an_unexpected_error_is_named_and_its_trace_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        told = died(_group(KeyError("surprise")), (LogUnavailable,))
    assert "KeyError: 'surprise'" in str(told)
    assert caplog.records[0].exc_info
