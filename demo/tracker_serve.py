"""Bugsink's own process; runs under the Python of its environment (`demo.tracker`), never imported by the demo.

`template FOLDER` makes an empty database; `serve FOLDER PORT` answers on it, with the projects and the token that
`access.json` in it names. One process with threads; what a bigger installation leaves to its worker is done at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

HOST = "127.0.0.1"
MONTH = timedelta(days=30)


def configure(folder: Path, port: int) -> None:
    """Bugsink's settings, as the module that it looks for."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bugsink_conf"
    from bugsink.settings import default  # type: ignore[import-not-found]

    conf = types.ModuleType("bugsink_conf")
    vars(conf).update({name: value for name, value in vars(default).items() if name.isupper()})
    databases = {name: {**one} for name, one in default.DATABASES.items()}
    databases["default"]["NAME"] = str(folder / "db.sqlite3")
    databases["snappea"]["NAME"] = str(folder / "snappea.sqlite3")
    vars(conf).update(
        SECRET_KEY=key_of(folder),
        DATABASES=databases,
        DEBUG=False,
        ALLOWED_HOSTS=[HOST, "localhost"],
        TIME_ZONE="UTC",
        EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend",
        SNAPPEA={"TASK_ALWAYS_EAGER": True},
        BUGSINK={
            "BASE_URL": f"http://{HOST}:{port}",
            "SINGLE_USER": True,
            "SINGLE_TEAM": True,
            # Nothing leaves this machine.
            "PHONEHOME": False,
            "INGEST_STORE_BASE_DIR": str(folder / "ingestion"),
            "MAX_RETENTION_EVENT_COUNT": 20_000,
        },
    )
    sys.modules["bugsink_conf"] = conf
    import django  # type: ignore[import-not-found]

    django.setup()


def key_of(folder: Path) -> str:
    """The key of its sessions, made at the first start."""
    path = folder / "secret_key"
    if not path.exists():
        import secrets

        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text()


def make_template(folder: Path) -> None:
    """An empty database."""
    folder.mkdir(parents=True, exist_ok=True)
    configure(folder, 0)
    from django.core.management import call_command  # type: ignore[import-not-found]

    for database in ("default", "snappea"):
        call_command("migrate", database=database, verbosity=0)
    (folder / "secret_key").unlink()


def provide(access: dict[str, str]) -> None:
    """The user, the token and the projects that `access` names, where they are missing."""
    from bsmain.models import AuthToken  # type: ignore[import-not-found]
    from django.contrib.auth import get_user_model  # type: ignore[import-not-found]
    from projects.models import Project, ProjectMembership, ProjectRole  # type: ignore[import-not-found]
    from teams.models import Team  # type: ignore[import-not-found]

    users = get_user_model()
    user = users.objects.filter(username="demo").first() or users.objects.create_superuser("demo", password="demo")
    team, _ = Team.objects.get_or_create(name="Conductores del Mundo")
    names = [name for name in access if name != "token"]
    for number, name in enumerate(names, 1):
        project, _ = Project.objects.update_or_create(
            id=number, defaults={"name": name, "slug": name, "sentry_key": access[name], "team": team}
        )
        ProjectMembership.objects.get_or_create(
            project=project, user=user, defaults={"role": ProjectRole.ADMIN, "accepted": True}
        )
    if not AuthToken.objects.filter(token=access["token"]).exists():
        AuthToken.create_full_access(token=access["token"], description="Mirador")


def let_the_past_be_past() -> None:
    """An event that tells of the past counts for its own time, so that the demo's history stands where it belongs.

    Bugsink itself counts an event for the moment at which it came.
    """
    from ingest.views import BaseIngestAPIView  # type: ignore[import-not-found]

    digest: Callable[..., Any] = BaseIngestAPIView.digest_event.__func__

    def digest_event(cls: Any, event_metadata: dict[str, Any], event_data: dict[str, Any], **given: Any) -> Any:
        happened, now = _moment(event_data.get("timestamp")), datetime.now(UTC)
        if happened is not None and now - MONTH < happened < now - timedelta(minutes=2):
            event_metadata = {**event_metadata, "ingested_at": happened.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        return digest(cls, event_metadata, event_data, **given)

    BaseIngestAPIView.digest_event = classmethod(digest_event)


def _moment(stamp: Any) -> datetime | None:
    try:
        if isinstance(stamp, int | float):
            return datetime.fromtimestamp(stamp, UTC)
        found = datetime.fromisoformat(str(stamp))
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: each event would be a line."""


def serve(folder: Path, port: int) -> None:
    """Answer until SIGTERM."""
    configure(folder, port)
    let_the_past_be_past()
    provide(json.loads((folder / "access.json").read_text()))
    from bugsink.wsgi import application  # type: ignore[import-not-found]

    server = make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    server.serve_forever(poll_interval=0.25)
    # Half a second of tidying that serves nobody: the database is whole at any moment.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "template":
        make_template(Path(sys.argv[2]))
    else:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
