"""When the digest goes out and to whom: each address once a day, from however many processes.

Each process looks every half minute whether MIRADOR_DIGEST_AT has passed. Before it sends to an address it claims a row
of `mirador.digests` (unique by day, role, channel and recipient), and afterwards it notes that it was sent. What fails
for the moment is tried again by whoever comes first, five times in about half an hour; what will never do is given up.

**At least once.** A process that ends between the mail server's word and its own note leaves a claim that ends after
`LEASE`; the next try sends a second copy. A digest that does not come is worse than one that comes twice, and the
copies of a mail carry the same Message-ID, by which mailboxes tell them for one. Slack knows no such thing.

Without the state database nobody could say who has sent: then none is sent by itself, and the log and the page say so.
`python -m app digest --send` still sends: somebody asked for it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parseaddr
from typing import Any, Literal
from zoneinfo import ZoneInfo

import requests
from prometheus_client import Counter
from sqlalchemy import text

import queries
from app import mail, telemetry
from app.digest import Digest, Letter, gather, slack_message, write
from app.settings import ROLES, Role, Settings
from app.state import transaction

Channel = Literal["mail", "slack"]
LOOK_SECONDS = 30.0
# Who starts later than this after the hour finds the day's digest no longer worth sending.
LATE = timedelta(hours=4)
# Longer than one mail may take.
LEASE = timedelta(minutes=5)
MOST_TRIES = 5
KEPT_DAYS = 180
SLACK_SECONDS = (3.0, 10.0)
# Slack's channel hears what executives do.
SLACK_ROLE: Role = "executive"

sent = Counter(
    "mirador_digests",
    "Digests by list, channel and outcome.",
    ("role", "channel", "outcome"),
    registry=telemetry.registry,
)


class NotSent(Exception):
    """A digest that did not go out. `sentence` says why; `again`: whether a later try may succeed."""

    def __init__(self, sentence: str, *, again: bool = True) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.again = again


@dataclass(frozen=True)
class Destination:
    """One address or Slack's channel; `recipient` is what is kept of it, `address` never shows."""

    role: Role
    channel: Channel
    address: str = field(default="", repr=False)

    @property
    def recipient(self) -> str:
        """A hash of the address; empty for Slack."""
        return hashlib.sha256(self.address.lower().encode()).hexdigest()[:32] if self.address else ""


# --- when -------------------------------------------------------------------------------------------------------------


def due_at(day: date, at: str, zone: ZoneInfo) -> datetime:
    """The moment of that local time on that day.

    Where clocks skip it, as much later as they skip; where they show it twice, the first time.
    """
    local = datetime.combine(day, time.fromisoformat(at), zone)
    return local.astimezone(UTC).astimezone(zone)


def next_at(settings: Settings, now: datetime | None = None) -> datetime:
    """When the next digest goes out (aware, configured zone)."""
    zone = ZoneInfo(settings.timezone)
    now = (now or datetime.now(UTC)).astimezone(zone)
    today = due_at(now.date(), settings.digest_at, zone)
    return today if now < today else due_at(now.date() + timedelta(days=1), settings.digest_at, zone)


def due_day(settings: Settings, now: datetime) -> date | None:
    """The day that a digest is due for now: yesterday, from the hour on and for `LATE`; else None."""
    zone = ZoneInfo(settings.timezone)
    now = now.astimezone(zone)
    for today in (now.date(), now.date() - timedelta(days=1)):
        at = due_at(today, settings.digest_at, zone)
        if at <= now < at + LATE:
            return today - timedelta(days=1)
    return None


# --- to whom ----------------------------------------------------------------------------------------------------------


def destinations(settings: Settings) -> list[Destination]:
    """Everyone who is to get a digest; an address that stands twice on a list gets one."""
    found: dict[tuple[str, str], Destination] = {}
    if settings.smtp_url is not None:
        for role in ROLES:
            for address in settings.digest_lists.get(role, "").split(","):
                if address.strip():
                    one = Destination(role, "mail", address.strip())
                    found.setdefault((role, one.recipient), one)
    wanted = list(found.values())
    if settings.digest_slack_url is not None:
        wanted.append(Destination(SLACK_ROLE, "slack"))
    return wanted


def why_none(settings: Settings) -> str | None:
    """Why nothing goes out by itself, in a sentence; None when something does."""
    if not settings.digest_lists and settings.digest_slack_url is None:
        return "No digest is configured: set MIRADOR_DIGEST_LISTS or MIRADOR_DIGEST_SLACK_URL."
    if not destinations(settings):
        return "Digests cannot be sent: set MIRADOR_SMTP_URL."
    if settings.state_url is None:
        return "Digests are not sent by themselves: set MIRADOR_STATE_URL, so that each goes out once."
    return None


def language_of(settings: Settings) -> str:
    """The language that digests are written in: the configured one, else Spanish."""
    return settings.language if settings.language != "auto" else "es"


# --- sending ----------------------------------------------------------------------------------------------------------


@dataclass
class _Written:
    """What was written for a role in this round; each role's digest is read once."""

    settings: Settings
    day: date
    language: str
    now: datetime | None = None
    _digests: dict[Role, Digest] = field(default_factory=dict)
    _letters: dict[Role, Letter] = field(default_factory=dict)

    def digest(self, role: Role) -> Digest:
        if role not in self._digests:
            self._digests[role] = gather(
                role, self.day, language=self.language, now=self.now, public_url=self.settings.public_url
            )
        return self._digests[role]

    def letter(self, role: Role) -> Letter:
        if role not in self._letters:
            self._letters[role] = write(self.digest(role))
        return self._letters[role]


def send_one(settings: Settings, to: Destination, written: _Written) -> None:
    """Send to one address, or to Slack. Raises NotSent."""
    if to.channel == "slack":
        _to_slack(settings, slack_message(written.digest(to.role)))
        return
    letter = written.letter(to.role)
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
    headers = {"Message-ID": f"<digest.{written.day.isoformat()}.{to.role}.{to.recipient}@{domain}>"}
    try:
        # To each a mail of his own: nobody sees who else is on the list.
        mail.send(settings, to.address, letter.subject, letter.html, letter.text, letter.images, headers=headers)
    except mail.MailError as error:
        raise NotSent(error.sentence, again=error.again) from None


def _to_slack(settings: Settings, message: dict[str, Any]) -> None:
    assert settings.digest_slack_url is not None
    url = settings.digest_slack_url.get_secret_value()
    try:
        # The address is a password: it stands in no error, and nothing of the answer is read or followed.
        with requests.post(url, json=message, timeout=SLACK_SECONDS, allow_redirects=False, stream=True) as answer:
            status = answer.status_code
    except requests.RequestException:
        raise NotSent("Slack cannot be reached, or has not answered in time.") from None
    if status != 200:
        raise NotSent(f"Slack refused the message (HTTP {status}).", again=status == 429 or status >= 500)


def send_now(
    settings: Settings, day: date, *, language: str, to: str | None = None, role: Role = "executive"
) -> Iterator[tuple[Destination, str]]:
    """Send the digest of a day because somebody asks for it; gives (destination, sent, already sent or the reason).

    With `to` one address gets it as a test, with no note of it. Without, everyone who has not got it gets it; with a
    state database that is noted, and what was sent before is not sent again. Raises SourceError.
    """
    written = _Written(settings, day, language)
    if to is not None:
        yield _tried(settings, Destination(role, "mail", to), written)
        return
    for one in destinations(settings):
        if settings.state_url is None:
            yield _tried(settings, one, written)
        elif _claim(settings, day, one):
            failure = _send_claimed(settings, one, written)
            yield one, failure.sentence if failure else "sent"
        else:
            yield one, "already sent"


def _tried(settings: Settings, to: Destination, written: _Written) -> tuple[Destination, str]:
    try:
        send_one(settings, to, written)
    except NotSent as error:
        return to, error.sentence
    return to, "sent"


# --- once -------------------------------------------------------------------------------------------------------------

# Whoever gets the row back may send: a new one, or one whose holder has failed or is gone.
_CLAIM = text(
    """
    insert into mirador.digests as kept (day, role, channel, recipient, next_at)
    values (:day, :role, :channel, :recipient, now() + make_interval(secs => :lease))
    on conflict (day, role, channel, recipient) do update
    set state = 'claimed', tries = kept.tries + 1, claimed_at = now(), next_at = excluded.next_at
    where kept.state in ('claimed', 'failed') and kept.next_at <= now() and kept.tries < :most
    returning id
    """
)
# 2, 4, 8 and 16 minutes after a failure.
_NOTE = text(
    """
    update mirador.digests
    set state = case
            when cast(:error as text) is null then 'sent'
            when cast(:again as boolean) and tries < :most then 'failed'
            else 'dead'
        end,
        sent_at = case when cast(:error as text) is null then now() end,
        next_at = now() + make_interval(mins => cast(power(2, tries) as integer)),
        error = cast(:error as text)
    where day = :day and role = :role and channel = :channel and recipient = :recipient and state = 'claimed'
    """
)
_OPEN = text(
    "select count(*) from mirador.digests where day = :day and state in ('claimed', 'failed') and tries < :most"
)
_DROP_OLD = text("delete from mirador.digests where day < :day")


def _key(day: date, to: Destination) -> dict[str, Any]:
    return {"day": day, "role": to.role, "channel": to.channel, "recipient": to.recipient}


def _claim(settings: Settings, day: date, to: Destination) -> bool:
    with transaction(settings) as connection:
        params = {**_key(day, to), "lease": LEASE.total_seconds(), "most": MOST_TRIES}
        return connection.execute(_CLAIM, params).first() is not None


def _send_claimed(settings: Settings, to: Destination, written: _Written) -> NotSent | None:
    """Send and note what became of it; gives why it did not go. Raises SourceError when it cannot be noted."""
    failure: NotSent | None = None
    try:
        send_one(settings, to, written)
    except NotSent as told:
        failure = told
    except Exception as error:
        # Whatever is wrong with one list, the others get theirs.
        telemetry.panel_failed(f"digest {to.role}", error)
        failure = NotSent("The digest could not be written.")
    sent.labels(to.role, to.channel, "failed" if failure else "sent").inc()
    noted = {
        **_key(written.day, to),
        "error": failure.sentence if failure else None,
        "again": failure is not None and failure.again,
        "most": MOST_TRIES,
    }
    with transaction(settings) as connection:
        connection.execute(_NOTE, noted)
    return failure


# --- the thread -------------------------------------------------------------------------------------------------------


@dataclass
class Postman:
    """The thread that sends; `clock` gives the present moment (aware)."""

    settings: Settings
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    failure: str | None = None
    _done: date | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin; ends with the process, or by `stop`."""
        threading.Thread(target=self._run, name="mirador-digest", daemon=True).start()

    def stop(self) -> None:
        """End after the mail that is being sent; another process or the next start goes on from there."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.once()
            except Exception as error:
                # Whatever it was: tomorrow's digest is another one.
                telemetry.panel_failed("digest", error)

    def once(self) -> int:
        """Send what is due now and nobody has sent; gives how many went out."""
        day = due_day(self.settings, self.clock())
        if day is None or day == self._done:
            return 0
        try:
            count = self._round(day)
        except queries.SourceError as error:
            # Said once; the next look tries again.
            if error.sentence != self.failure:
                telemetry.log.warning("digest: %s", error.sentence)
            self.failure = error.sentence
            return 0
        self.failure = None
        return count

    def _round(self, day: date) -> int:
        written = _Written(self.settings, day, language_of(self.settings), self.clock())
        count, failed = 0, set[Channel]()
        for to in destinations(self.settings):
            if self._stop.is_set():
                return count
            # A server that does not answer now is not asked for each address: the next look is soon.
            if to.channel in failed or not _claim(self.settings, day, to):
                continue
            failure = _send_claimed(self.settings, to, written)
            if failure is None:
                count += 1
                continue
            telemetry.log.warning("digest for %s by %s: %s", to.role, to.channel, failure.sentence)
            if failure.again:
                failed.add(to.channel)
        with transaction(self.settings) as connection:
            connection.execute(_DROP_OLD, {"day": day - timedelta(days=KEPT_DAYS)})
            waits = connection.execute(_OPEN, {"day": day, "most": MOST_TRIES}).scalar_one()
        if not waits and not failed:
            self._done = day
        if count:
            telemetry.log.info("digest of %s: %d sent", day, count)
        return count


_postman: Postman | None = None


def start(settings: Settings) -> None:
    """Send from now on, where lists or a channel are configured and there is a place to note it."""
    global _postman
    why = why_none(settings)
    if why is not None:
        if settings.digest_lists or settings.digest_slack_url is not None:
            telemetry.log.warning("%s", why)
        return
    _postman = Postman(settings)
    _postman.start()


def stop() -> None:
    """End sending."""
    if _postman is not None:
        _postman.stop()
