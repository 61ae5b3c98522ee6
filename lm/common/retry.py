"""Trying again: what a server, or the way to it, is to blame for may succeed the next time."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from lm.common.errors import UserError

T = TypeVar("T")

TRIES, FIRST_SECONDS = 5, 2.0
_PASSING_STATUS = (408, 429)  # of HTTP, beside those from 500 on
# What s3fs makes of such a status.
_PASSING_ERRNO = {errno.EIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)}
_NETWORK = ("aiohttp", "asyncio")
_CLIENTS = (*_NETWORK, "aiobotocore", "botocore", "gcsfs", "google", "s3fs")


def may_pass(error: Exception) -> bool:
    """Says whether what failed may succeed if it is tried again: what a server or the way to it is to blame for."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return code in _PASSING_STATUS or code >= 500
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in _PASSING_ERRNO
    return _package(error) in _NETWORK


def retry(
    work: Callable[[], T],
    what: str,
    *,
    tries: int = TRIES,
    on: Callable[[Exception], bool] = may_pass,
    wait: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Does `work`, again if it fails in a way that may pass, after pauses that double, of which half is left to chance.

    `what` is the address and what was to be done there, for the message.

    Raises:
        UserError: it failed for the last time, or in a way that no other try mends.
    """
    for attempt in range(tries):
        try:
            return work()
        except Exception as error:
            passing = on(error)
            if not (passing or isinstance(error, OSError) or _package(error) in _CLIENTS):
                raise
            if passing and attempt < tries - 1:
                wait(FIRST_SECONDS * 2**attempt * (0.5 + 0.5 * chance()))
                continue
            times = f" {tries} times, at last" if passing else ""
            words = " ".join(str(error).split())[:200]
            raise UserError(
                f"{what}: failed{times} with {type(error).__name__} ({words}); what was done until then is kept, and "
                "the same command continues"
            ) from error
    raise AssertionError("no tries")


def _package(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]
