"""What every fuzzer shares: how many inputs it tries, and where they come from.

A fuzzer is a test in `tests/fuzz/test_<door>.py`, one file for each door through which text or
bytes from outside come in. It calls the door in this process, with inputs that Hypothesis makes
anew each time, and asserts that each is either read right or refused with an error of
`recon.errors`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

INPUTS = int(os.environ.get("RECON_FUZZ_INPUTS", "100"))
"""How many inputs each fuzzer tries: 100 in `make test`, thousands in `make test-all`."""

fuzzed = settings(
    max_examples=INPUTS,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
"""The settings of a fuzzer; write `@fuzzed` above `@given`."""
