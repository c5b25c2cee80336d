"""A PostgreSQL server of the tests' own, on loopback and in a temporary folder; and eyes on what it holds."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "s3cret+word"  # as an address has it, the + as %2B


def binaries() -> Path | None:
    """The folder of the server's programs; None where it is not installed."""
    found = [Path(path).parent for path in (shutil.which("initdb"),) if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder.resolve() for folder in found if (folder / "pg_ctl").exists()), None)


class Server:
    """Databases `mlflow` and `searches` on one server; root may not run it, so that a user `postgres` does."""

    def __init__(self, programs: Path) -> None:
        self._programs, self.folder = programs, Path(tempfile.mkdtemp(prefix="patchbench-postgresql-"))
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        secret = self.folder.with_suffix(".password")
        secret.write_text(PASSWORD)
        try:
            how = ("--auth=scram-sha-256", "--username=bench", "--encoding=UTF8", "--no-locale", "--no-sync")
            self._call("initdb", f"--pwfile={secret}", *how)
        finally:
            secret.unlink()
        self.start()
        with self.connection("postgres") as made:
            for name in ("mlflow", "searches"):
                made.execute(f"create database {name}")

    def start(self) -> None:
        settings = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "start", "--wait", f"--log={self.folder}/log", "--options", settings)

    def kill(self) -> None:
        self._call("pg_ctl", "stop", "--wait", "--mode=immediate")

    def url(self, name: str, *, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://bench:{password.replace('+', '%2B')}@127.0.0.1:{self.port}/{name}"

    @property
    def environment(self) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.url("mlflow"), "PATCHBENCH_SEARCHES": self.url("searches")}

    @contextlib.contextmanager
    def connection(self, name: str) -> Iterator[Any]:
        how = {"host": "127.0.0.1", "port": self.port, "user": "bench", "password": PASSWORD, "dbname": name}
        with contextlib.closing(psycopg.connect(**how, autocommit=True)) as opened:
            yield opened

    @contextlib.contextmanager
    def locked(self, name: str, *tables: str) -> Iterator[None]:
        """Nobody else can read or write these tables."""
        with self.connection(name) as other, other.transaction():
            other.execute(f"lock table {', '.join(tables)} in access exclusive mode")
            yield

    def mirrored(self, key: str) -> dict[str, list[str]]:
        """What MLflow holds of a folder of results: statuses of each training's runs by digest, of launches by ''."""
        query = """select coalesce(d.value, ''), runs.status from runs join tags o using (run_uuid)
            left join tags d on d.run_uuid = runs.run_uuid and d.key = 'digest'
            where o.key = 'results' and o.value = %s and lifecycle_stage = 'active'"""
        found: dict[str, list[str]] = {}
        with self.connection("mlflow") as opened:
            for digest, status in opened.execute(query, (key,)).fetchall():
                found.setdefault(digest, []).append(status)
        return found

    def _call(self, program: str, *arguments: str) -> None:
        """Its output goes to a file: a server that is started would hold a pipe open."""
        command = [str(self._programs / program), f"--pgdata={self.folder}", *arguments]
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False, **self._user)
            output.seek(0)
            assert done.returncode == 0, output.read().decode()
