"""The command `recon`: answers --help before it imports anything heavy."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    os.umask(0o077)
    from recon.cli import run_cli  # noqa: PLC0415 - after the umask, before nothing else
    from recon.output import write_uncaught  # noqa: PLC0415

    write_uncaught()
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
