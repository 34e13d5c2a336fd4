"""The demo's error tracker: Bugsink, which takes sentry-sdk's envelopes, in a virtual environment of its own.

Bugsink brings Django and forty packages more, which the dashboard does not need: `prepare` installs what
`requirements-bugsink.txt` locks beside the environment that runs the demo, once, and makes an empty database that each
new installation is a copy of. `Bugsink` is the server (`demo/tracker_serve.py` runs under that environment's Python).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import fasteners

from demo.servers import HOST, HttpServer, ServerError

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements-bugsink.txt"
SERVE = Path(__file__).resolve().with_name("tracker_serve.py")
INSTALL_SECONDS = 300.0
PROJECTS = ("conductores-backend", "mirador")


class Stopping(Exception):
    """Whoever asked for the preparation is ending."""


def home(cache_dir: Path) -> Path:
    """Where the environment is kept: inside the one that runs this, else in `cache_dir`."""
    beside = Path(sys.prefix)
    inside = sys.prefix != sys.base_prefix and os.access(beside, os.W_OK)
    return (beside if inside else cache_dir) / "bugsink"


def ready(cache_dir: Path) -> Path | None:
    """The environment's folder when it is whole and made from the present lock file."""
    folder = home(cache_dir)
    try:
        made = (folder / "made-from").read_text()
    except OSError:
        return None
    return folder if made == _fingerprint() else None


def prepare(cache_dir: Path, *, running: Callable[[subprocess.Popen[bytes] | None], None] = lambda _: None) -> Path:
    """The environment's folder, installed when it is not there: about 20 s and 150 MB, once.

    `running` is told each process that is started (None when it has ended) and may raise Stopping. Raises ServerError
    with a sentence when it cannot be had, as without PyPI. Two that ask at once wait for one installation.
    """
    folder = home(cache_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = fasteners.InterProcessLock(folder.with_name("bugsink.lock"))
    if not lock.acquire(timeout=INSTALL_SECONDS):
        raise ServerError("another installation of it does not end")
    try:
        if found := ready(cache_dir):
            return found
        fresh = folder.with_name("bugsink.new")
        shutil.rmtree(fresh, ignore_errors=True)
        # No pip inside: the one that is here installs into it.
        _run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], running)
        python = _python(fresh)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
        _run([*pip, "--quiet", "--retries", "1", "--timeout", "10", "--no-deps", "-r", str(REQUIREMENTS)], running)
        _run([str(python), "-P", str(SERVE), "template", str(fresh / "template")], running)
        (fresh / "made-from").write_text(_fingerprint())
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        return folder
    finally:
        lock.release()


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _fingerprint() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sha256(REQUIREMENTS.read_bytes() + version.encode()).hexdigest()


def _run(argv: list[str], running: Callable[[subprocess.Popen[bytes] | None], None]) -> None:
    # After all else that this machine has to do: the demo's start waits for nothing here.
    gently = ["nice", "-n", "10"] if shutil.which("nice") else []
    # A session of its own: Ctrl-C reaches the demo, which ends this.
    with subprocess.Popen(
        [*gently, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            running(process)
            said = process.communicate(timeout=INSTALL_SECONDS)[1].decode(errors="replace").strip().splitlines()
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ServerError(f"its installation did not end within {INSTALL_SECONDS:.0f} s") from None
            raise
    running(None)
    if process.returncode:
        errors = [line for line in said if line.startswith("ERROR")] or said
        last = errors[-1][-160:].removeprefix("ERROR: ") if errors else f"code {process.returncode}"
        raise ServerError(f"its packages could not be installed ({last})")


class Bugsink(HttpServer):
    """A Bugsink with the projects `PROJECTS`; `data_dir` holds its database.

    `token` reads everything through its web API (/api/canonical/0/); people sign in as `demo`, password `demo`. What
    DSNs and token say is known before it starts, and stays the same over restarts on the same folder and port.
    """

    title = "Bugsink"
    ready = "/health/ready"

    def __init__(self, environment: Path, data_dir: Path, *, port: int | None = None, log: Path | None = None) -> None:
        super().__init__(SERVE, data_dir, program=_python(environment), port=port, log=log)
        self.environment = environment
        self.access = access(self.data_dir)

    @property
    def token(self) -> str:
        """What its web API is asked with."""
        return str(self.access["token"])

    def project(self, name: str) -> int:
        """The number of a project."""
        return PROJECTS.index(name) + 1

    def dsn(self, name: str) -> str:
        """Where sentry-sdk sends a project's errors."""
        return dsn(self.access, name, self.port)

    def prepare_data(self) -> None:
        """A copy of the empty database, where there is none or one that an older release made."""
        if (self.data_dir / "made-from").exists() and (self.data_dir / "made-from").read_text() == _fingerprint():
            return
        for name in ("db.sqlite3", "snappea.sqlite3"):
            for old in self.data_dir.glob(f"{name}*"):
                old.unlink()
            shutil.copy(self.environment / "template" / name, self.data_dir / name)
        (self.data_dir / "made-from").write_text(_fingerprint())

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        self.prepare_data()
        return ["-P", str(SERVE), "serve", str(self.data_dir), str(self.port)]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 5 s."""
        if self._child is not None:
            self._child.stop(signals=((signal.SIGTERM, 5.0),))
            self._child = None


def access(data_dir: Path) -> dict[str, str]:
    """Token and keys of the projects, made at the first asking and kept in `data_dir`."""
    path = data_dir / "access.json"
    if path.exists():
        found: dict[str, str] = json.loads(path.read_text())
        return found
    data_dir.mkdir(parents=True, exist_ok=True)
    made = {"token": secrets.token_hex(20), **{name: str(uuid4()) for name in PROJECTS}}
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump(made, file)
    return made


def dsn(keys: dict[str, str], name: str, port: int) -> str:
    """The DSN of a project on a port of this machine."""
    return f"http://{UUID(keys[name]).hex}@{HOST}:{port}/{PROJECTS.index(name) + 1}"
