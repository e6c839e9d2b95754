"""The bounds on the time that recon waits for a source, and on the size of its answers."""

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
"""The least bytes of JSON for each value: denser JSON is refused, as it takes too much memory."""
MOST_BYTES = 128 * 1024 * 1024
"""The most bytes that one fetch of an account reads, unless its `max_fetch_mb` is set."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on one source. Each holds against a server that drips, floods or never answers."""

    request_timeout_s: float = 15.0
    """The limit of one request, from the first byte sent to the last byte read."""
    attempts: int = 6
    """The most tries of one request, the first included."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    """Full jitter: a wait is drawn from 0 to min(longest, first · 2^n)."""
    total_s: float = 900.0
    """The limit of an account's whole fetch. The caller enforces it: tenacity stops no call."""
    most_bytes: int = MOST_BYTES
    """The limit of all answers or files of one account's fetch together, decompressed."""
    is_rate_limited: bool = True
    """Whether the client itself keeps to the venue's rate limits."""

    @property
    def most_values(self) -> int:
        """The most values in all JSON answers of one fetch: each takes some 100 bytes of memory."""
        return self.most_bytes // BYTES_PER_VALUE

    def retrying(self) -> AsyncRetrying:
        """Return the retry policy for one request. Only `VenueBusy` is retried."""
        return AsyncRetrying(
            retry=retry_if_exception_type(VenueBusy),
            stop=stop_after_attempt(self.attempts) | stop_after_delay(self.total_s),
            wait=wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s),
            reraise=True,
        )
