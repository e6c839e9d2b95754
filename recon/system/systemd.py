"""What a service tells systemd: that it is ready, that it is well, that it stops."""

from __future__ import annotations

import os
import socket

TIMEOUT_S = 1.0


def notify(*said: str) -> bool:
    """Tell the supervisor, one `NAME=value` each (sd_notify(3)); return whether one was told.

    Without a supervisor there is nothing to do. One that does not listen is no reason to stop.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # systemd's way to write a name that is in no folder
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(TIMEOUT_S)
            channel.sendto("\n".join(said).encode(), address)
    except OSError:
        return False
    return True
