"""Ask a database of vulnerabilities about every locked package; skip it where none is reachable.

`python -m supply_chain.audit [URL]`. Exits 0 where nothing is known, and where nobody could be
asked, which is said; else as pip-audit does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from supply_chain.locked import LOCK, TEST_LOCK

DATABASE = "https://api.osv.dev/v1/query"
TIMEOUT_S = 10.0


def audit(database: str, *locks: Path) -> int:
    """Ask the database at a URL about the packages of these locks; return the exit status."""
    if problem := _unreachable(database):
        sys.stdout.write(
            f"audit SKIPPED: the vulnerability database {urlsplit(database).netloc} cannot be "
            f"reached from here ({problem}): nothing was checked\n"
        )
        return 0
    command = [
        *(sys.executable, "-m", "pip_audit", "--require-hashes"),
        *(f"--requirement={lock}" for lock in locks),
        *("--disable-pip", "--progress-spinner", "off"),
        *("--vulnerability-service", "osv", "--osv-url", database),
    ]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - a program of our own


def _unreachable(database: str) -> str:
    """Return why a database does not answer, or nothing: any HTTP answer is one."""
    try:
        asked = Request(database, b"{}", {"Content-Type": "application/json"})
        urlopen(asked, timeout=TIMEOUT_S).close()
    except HTTPError:
        return ""
    except OSError as error:
        return str(getattr(error, "reason", error))
    return ""


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1] if sys.argv[1:] else DATABASE, LOCK, TEST_LOCK))
