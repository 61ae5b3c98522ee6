"""What may pass is tried again, with longer and longer pauses; what lasts, or is our own fault, is not."""

from __future__ import annotations

from typing import Any

import pytest

from lm.common.errors import UserError
from lm.common.retry import retry


def outcomes(*results: Any) -> Any:
    """Returns a callable that gives or raises these, one a call."""
    left = iter(results)

    def work() -> Any:
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    return work


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), HttpError(503), HttpError(429)])
def test_what_may_pass_is_tried_again_after_pauses_that_double(error: Exception) -> None:
    waited: list[float] = []
    found = retry(outcomes(error, error, error, "done"), "it", wait=waited.append, chance=lambda: 1.0)
    assert found == "done"
    assert waited == [2.0, 4.0, 8.0]


def test_pauses_are_partly_left_to_chance() -> None:
    waited: list[float] = []
    work = outcomes(ConnectionError(), ConnectionError(), 1)
    retry(work, "it", wait=waited.append, chance=iter([0.0, 0.5]).__next__)
    assert waited == [1.0, 3.0]


def test_the_last_failure_is_told_in_one_line() -> None:
    work = outcomes(*[HttpError(503)] * 2, TimeoutError("slow\nserver"))
    with pytest.raises(UserError) as caught:
        retry(work, "gs://bucket/a", tries=3, wait=lambda _: None)
    message = str(caught.value)
    assert message.startswith("gs://bucket/a: failed 3 times, at last with TimeoutError (slow server)")
    assert "the same command continues" in message


def test_what_lasts_is_not_tried_again() -> None:
    waited: list[float] = []
    with pytest.raises(UserError, match=r"gs://bucket/a: failed with PermissionError \(no\)"):
        retry(outcomes(PermissionError("no")), "gs://bucket/a", wait=waited.append)
    with pytest.raises(ZeroDivisionError):  # a fault of ours
        retry(outcomes(ZeroDivisionError()), "gs://bucket/a", wait=waited.append)
    assert waited == []


def test_what_a_client_says_is_one_line() -> None:
    botocore = pytest.importorskip("botocore.exceptions")
    with pytest.raises(
        UserError, match=r"s3://bucket/a: failed with NoCredentialsError \(Unable to locate credentials\)"
    ):
        retry(outcomes(botocore.NoCredentialsError()), "s3://bucket/a")
