"""Which errors are waited out, and which are a reading's own fault."""

import psycopg2
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import exc

from tasks.ingest_task import is_retried, patiently
from tasks.pipeline import Outcome, is_transient

PASSING = [
    exc.OperationalError("", {}, Exception()),
    exc.InterfaceError("", {}, Exception()),
    exc.ProgrammingError("", {}, Exception(), connection_invalidated=True),
    psycopg2.OperationalError(),
    psycopg2.InterfaceError(),
    psycopg2.errors.DeadlockDetected(),
    psycopg2.errors.QueryCanceled(),
    psycopg2.errors.AdminShutdown(),
    SoftTimeLimitExceeded(),
    MemoryError(),
]
LASTING = [
    exc.DataError("", {}, Exception()),
    exc.IntegrityError("", {}, Exception()),
    exc.ProgrammingError("", {}, Exception()),
    psycopg2.errors.InvalidTextRepresentation(),
    ValueError(),
    KeyError(),
    RecursionError(),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_nobody_s_fault(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_lasts_is_not_waited_out(error: Exception) -> None:
    assert not is_transient(error)
    assert not is_retried(error)


def test_a_task_whose_time_is_up_does_not_try_again() -> None:
    assert not is_retried(SoftTimeLimitExceeded())


def test_passing_errors_are_repeated_until_the_attempt_succeeds() -> None:
    errors = PASSING[:2].copy()
    outcome = Outcome()

    def attempt() -> Outcome:
        if errors:
            raise errors.pop()
        return outcome

    assert patiently(attempt, deadline_s=float("inf")) is outcome


@pytest.mark.parametrize(
    ("error", "deadline_s"), [(PASSING[0], 0.0), (LASTING[0], float("inf")), (SoftTimeLimitExceeded(), float("inf"))]
)
def test_the_error_is_raised_after_the_deadline_or_when_waiting_does_not_help(
    error: Exception, deadline_s: float
) -> None:
    attempts = []

    def attempt() -> Outcome:
        attempts.append(1)
        raise error

    with pytest.raises(type(error)):
        patiently(attempt, deadline_s)
    assert len(attempts) == 1
