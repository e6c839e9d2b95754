"""A child process for tests of bounded processes: it does as its jobs say, also its worst."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from recon.system.bounded_child import BoundedChild
from recon.system.bounded_process import OUT_OF_MEMORY


def main() -> None:
    """Run the jobs of standard input until it ends."""
    child = BoundedChild()
    child.warmed_up()
    while line := child.jobs.readline():
        job: Any = json.loads(line)
        child.begin(job.get("memory_mb", 100), job.get("time_s", 60))
        kept = bytearray()
        if job["do"] == "allocate":
            try:
                kept = bytearray(job["size"])
            except MemoryError:
                os._exit(OUT_OF_MEMORY)
        elif job["do"] == "wait":
            time.sleep(600)
        elif job["do"] == "abort":
            os.abort()
        child.finish(
            {
                "pid": os.getpid(),
                "variables": sorted(os.environ),
                "folder": os.getcwd(),  # noqa: PTH109
                "kept": len(kept),
            }
        )


if __name__ == "__main__":
    main()
