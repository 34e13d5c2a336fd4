"""The backend's cache and rate limit in Redis; without one, or while it is down, the backend works on without."""

from __future__ import annotations

import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.backend import metrics, telemetry

# A Redis that hangs may cost a request this much once, and then nobody anything for a while.
TIMEOUT = 0.25
REST_SECONDS = 5.0


class Cache:
    """Commands to Redis, each counted and traced; None where Redis does not answer. Safe for several threads."""

    def __init__(self, url: str | None) -> None:
        self._client = (
            redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                max_connections=20,
                retry=Retry(NoBackoff(), 0),
            )
            if url
            else None
        )
        self._rests_until = 0.0

    def get(self, key: str) -> str | None:
        """The kept text of a key."""
        found: str | None = self._ask("GET", key)
        return found

    def keep(self, key: str, value: str, seconds: int) -> None:
        """Keep a text for so many seconds."""
        self._ask("SET", key, value, "EX", seconds)

    def count(self, key: str, seconds: int) -> int:
        """One more of something, counted for so many seconds; 0 where nothing counts."""
        number = int(self._ask("INCR", key) or 0)
        if number == 1:
            self._ask("EXPIRE", key, seconds)
        return number

    def _ask(self, command: str, *arguments: Any) -> Any:
        if self._client is None or time.monotonic() < self._rests_until:
            return None
        status = "success"
        about = {"db.system.name": "redis", "db.operation.name": command}
        try:
            with telemetry.inner(command, about):
                return self._client.execute_command(command, *arguments)
        except redis.RedisError as error:
            status = "error"
            self._rests_until = time.monotonic() + REST_SECONDS
            telemetry.log.warning(
                "Redis did not answer", extra={"command": command, "error_type": type(error).__name__}
            )
            return None
        finally:
            metrics.redis_commands_total.labels(command, status).inc()

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()
