"""The command `recon`: answers --help before it imports anything heavy."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    os.umask(0o077)
    from recon.system.interruption import asked, heeding

    status = 0
    try:
        with heeding(_end_children):
            from recon.cli import run_cli
            from recon.system.output import write_uncaught

            write_uncaught()
            status = run_cli(sys.argv[1:])
    except KeyboardInterrupt:
        pass
    if asked():
        _end_children()
        status = 128 + asked()
    sys.exit(status)


def _end_children() -> None:
    """End the processes that pages, pings and questions leave through, where there are any."""
    if (child := sys.modules.get("recon.system.child_process")) is not None:
        child.end_all()


if __name__ == "__main__":
    main()
