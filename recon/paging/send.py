"""The child process that sends one page through one channel: JSON in, exit status out."""

from __future__ import annotations

import json
import logging
import sys


def main() -> int:
    """Send what standard input says. Return 0 where the channel took it."""
    import apprise  # noqa: PLC0415 - after the parent has let go

    logging.disable(logging.CRITICAL)  # apprise's warnings can show a key
    page = json.load(sys.stdin)
    channel = apprise.Apprise()
    if not channel.add(page["url"]):
        sys.stdout.write("apprise knows no such channel")
        return 2
    if not channel.notify(title=page["title"], body=page["body"], body_format="text"):
        sys.stdout.write("the channel did not take it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
