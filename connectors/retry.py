"""How long a source is waited for, and how much is read of it: these bounds are in one place."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from recon.errors import VenueBusy

BYTES_PER_VALUE = 32
"""Bytes of an answer for each value in it: fewer are refused, as they fill more memory."""
MOST_BYTES = 128 * 1024 * 1024
"""What is read of one account in one fetch unless its `max_fetch_mb` says otherwise."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on one source; each holds against a server that drips, floods or says nothing."""

    request_timeout_s: float = 15.0
    """One request, from the first byte sent to the last byte read."""
    attempts: int = 6
    """Tries of one request, the first included."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    """Full jitter: a wait is drawn between 0 and min(longest, first · 2^n)."""
    total_s: float = 900.0
    """One account's whole fetch. tenacity cannot cut off a hanging call; the caller does."""
    most_bytes: int = MOST_BYTES
    """One account's whole fetch: all answers or files together, decompressed."""
    is_rate_limited: bool = True
    """Whether the client keeps to the venue's limits by itself, before the venue has to say so."""

    @property
    def most_values(self) -> int:
        """The values in all JSON answers of one fetch: each takes some 100 bytes of memory."""
        return self.most_bytes // BYTES_PER_VALUE

    def retrying(self) -> AsyncRetrying:
        """Return the retry policy for one request: only `VenueBusy` is worth another try."""
        return AsyncRetrying(
            retry=retry_if_exception_type(VenueBusy),
            stop=stop_after_attempt(self.attempts) | stop_after_delay(self.total_s),
            wait=wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s),
            reraise=True,
        )
