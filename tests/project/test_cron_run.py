"""Debian's own cron, started for a minute, runs the line of the crontab.

It wants root, and a spool at a fixed place: so it runs in a mount namespace, over an empty spool,
and sees nothing of this machine's own crontabs. Where there is no cron to start, this is skipped;
RECON_CRON names one that is not on the path.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

CRONTAB = Path(__file__).resolve().parents[2] / "cron" / "crontab"
CRON = os.environ.get("RECON_CRON") or shutil.which("cron")

IN_A_NAMESPACE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool
[ ! -d /etc/cron.d ] || mount -t tmpfs tmpfs /etc/cron.d
[ ! -f /etc/crontab ] || mount --bind /dev/null /etc/crontab
mkdir -p /var/spool/cron/crontabs
install -m 600 "$1/crontab" /var/spool/cron/crontabs/root
"$2" -f &
for _ in $(seq 140); do [ ! -e "$1/ended" ] || break; sleep 0.5; done
kill $!
"""


def can_have_namespaces() -> bool:
    tried = ["unshare", "--mount", "mount", "--make-rprivate", "/"]
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(CRON is None, reason="cron is not installed, and RECON_CRON names none")
@pytest.mark.skipif(not can_have_namespaces(), reason="needs root, and a namespace for its mounts")
def test_cron_runs_the_night(tmp_path: Path) -> None:
    program = tmp_path / "recon"
    program.write_text(
        f'#!/bin/sh\necho "recon $*, secrets in $CREDENTIALS_DIRECTORY"\n'
        f"touch {tmp_path}/ended\nexit 1\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    text = CRONTAB.read_text(encoding="utf-8")
    assert text.count("\n0 11 * * * ") == 1
    text = text.replace("\n0 11 * * * ", "\n* * * * * ")
    text = text.replace("/opt/recon/.venv/bin/recon", str(program))
    (tmp_path / "crontab").write_text(text.replace("/var/lib/recon", str(tmp_path)), "utf-8")

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", IN_A_NAMESPACE, "sh", str(tmp_path), str(CRON)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    log = tmp_path / "night.log"
    assert log.exists(), done.stderr
    assert log.read_text(encoding="utf-8") == (
        "recon run --config /etc/recon/recon.toml, secrets in /etc/recon/secrets\n"
    )
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
