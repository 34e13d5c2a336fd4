"""The digest: the Today page's own numbers, mail that any reader shows, each address once, over real SMTP and HTTP."""

from __future__ import annotations

import contextlib
import email
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from email.message import EmailMessage
from email.policy import default as policy
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import create_engine, text
from streamlit.testing.v1 import AppTest

import app.settings
import queries
from app import digest, digest_post, state
from app.digest import Digest, gather, slack_message, write
from app.settings import Settings
from components import in_language, money, quantity
from demo.servers import free_port
from queries import Sources, kpis, normal_days
from tests.conftest import ROOT, LedgerUrl, drop_ledger, new_ledger
from tests.test_today_queries import HOUR, Ledger, midnight, row

ZONE = ZoneInfo("America/Mexico_City")
NOW = datetime.now(ZONE)
DAY = NOW.date() - timedelta(days=1)
ADDRESSES = ("ana@company.mx", "beto@company.mx", "carla@board.mx")
SLACK_PATH = "/services/T0/B0/a-slack-secret"


# --- the stage --------------------------------------------------------------------------------------------------------


def rows() -> dict[str, list[Any]]:
    """A company whose approvals fell yesterday in tier B and whose money came as usual."""
    applications, credits, calls = [], [], []
    for number, day in enumerate([DAY, *normal_days(DAY)]):
        noon = midnight(day) + 12 * HOUR
        for tier in ("AAA", "AA", "B"):
            approved = 2 if day == DAY and tier == "B" else 12 + number % 2
            common = {"submitted_at": noon - HOUR, "decided_at": noon, "sinosure_tier": tier}
            applications += [row(**common, status="approved") for _ in range(approved)]
            applications += [row(**common, status="rejected", rejection_reason="score") for _ in range(20 - approved)]
            credits += [
                row(
                    approved_at=noon - HOUR,
                    disbursed_at=noon,
                    sinosure_tier=tier,
                    principal=Decimal("12345.67"),
                    status="paid",
                    closed_at=noon + HOUR,
                )
                for _ in range(3)
            ]
        calls += [row(called_at=noon, integration="conekta", status="success") for _ in range(30)]
    return {"applications": applications, "credits": credits, "integration_calls": calls}


@pytest.fixture(scope="module")
def filled(module_ledger_url: LedgerUrl) -> str:
    """A filled ledger."""
    engine = create_engine(module_ledger_url.owner)
    owner = engine.raw_connection()
    queries.connect(Sources(ledger_url=module_ledger_url.reader))
    Ledger(owner).fill(rows())
    owner.close()
    engine.dispose()
    queries.disconnect()
    return module_ledger_url.reader


@pytest.fixture
def company(filled: str) -> Iterator[str]:
    """The filled ledger as the source of one test."""
    queries.connect(Sources(ledger_url=filled))
    yield filled
    queries.disconnect()


@pytest.fixture(scope="module")
def state_url(postgres) -> Iterator[str]:
    """A migrated state database."""
    made = new_ledger(postgres, "template1")
    state.migrate(made.owner)
    yield made.owner
    drop_ledger(postgres, made)


@dataclass
class Post:
    """What a mail server has taken: (recipients of the envelope, message). `refuse` is its answer to a recipient."""

    port: int
    taken: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope) -> str:
        message = email.message_from_bytes(envelope.content, policy=policy)
        self.taken.append((list(envelope.rcpt_tos), message))  # type: ignore[arg-type]
        return "250 OK"

    def recipients(self) -> list[str]:
        """Who got something, in the order of the alphabet."""
        return sorted(to for tos, _message in self.taken for to in tos)


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post(free_port())
    controller = Controller(made, hostname="127.0.0.1", port=made.port)
    controller.start()
    yield made
    controller.stop()


@dataclass
class Slack:
    """What an incoming webhook has taken; `status` is what it answers."""

    url: str = ""
    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def slack() -> Iterator[Slack]:
    made = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.status == 200:
                made.taken.append({"path": self.path, "message": json.loads(body)})
            self.send_response(made.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}{SLACK_PATH}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def lists(company: str, state_url: str, post: Post, slack: Slack) -> Settings:
    """Settings with two lists, a channel and an empty table of digests."""
    engine = create_engine(state_url)
    with engine.begin() as owner:
        owner.execute(text("truncate mirador.digests"))
    engine.dispose()
    queries.connect(Sources(ledger_url=company, state_url=state_url))
    return Settings(
        ledger_url=company,
        state_url=state_url,
        smtp_url=f"smtp://127.0.0.1:{post.port}",
        mail_from="Mirador <mirador@company.mx>",
        digest_at="07:30",
        digest_lists={"executive": f"{ADDRESSES[0]}, {ADDRESSES[1]}, {ADDRESSES[0].upper()}", "analyst": ADDRESSES[2]},
        digest_slack_url=slack.url,
        public_url="https://mirador.company.mx",
        language="en",
    )


def at_half_past_seven() -> datetime:
    """A moment of today at which yesterday's digest is due."""
    return datetime.combine(NOW.date(), time(7, 31), ZONE)


def postman(made: Settings) -> digest_post.Postman:
    return digest_post.Postman(made, clock=at_half_past_seven)


def noted(made: Settings) -> pd.DataFrame:
    engine = create_engine(made.state_url.get_secret_value())
    with engine.connect() as owner:
        found = pd.read_sql(text("select * from mirador.digests order by id"), owner)
    engine.dispose()
    return found


def change(made: Settings, statement: str) -> None:
    engine = create_engine(made.state_url.get_secret_value())
    with engine.begin() as owner:
        owner.execute(text(statement))
    engine.dispose()


# --- what it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["es", "en"])
def test_its_numbers_are_those_of_the_today_page_in_the_same_words(company: str, language: str):
    told = gather("executive", DAY, language=language)
    letter = write(told)
    assert len(told.lines) == len(queries.catalogue())
    with in_language(language):
        for line, kpi in zip(told.lines, queries.catalogue().values(), strict=True):
            assert line.label == kpi.label.in_language(language)
            if kpi.source == "metrics":
                assert line.missing
                continue
            one = queries.reading(kpi.name, DAY, with_metric=False)
            assert line.value == quantity(one.value, kpi.unit, short=True)
            assert f"{line.label}: {line.value}" in letter.text
        exact = money(Decimal("12345.67") * 9)
    assert exact in letter.text
    assert exact in letter.html


def test_it_says_what_changed_and_where(company: str):
    told = gather("executive", DAY, language="en")
    assert told.headline.startswith("1 of ")
    (moved,) = told.moved
    assert moved.label == "Approval rate"
    assert "Most of it from tier B" in moved.cause
    letter = write(told)
    assert moved.said in letter.text
    assert "Most of it from tier" in json.dumps(slack_message(told))


def test_each_role_gets_what_it_asks_first(company: str):
    told = {role: gather(role, DAY, language="en") for role in ("executive", "analyst", "engineer")}  # type: ignore[arg-type]
    assert not told["executive"].tables
    assert [table.title for table in told["analyst"].tables] == ["Active credits", "Late installments"]
    assert [table.title for table in told["engineer"].tables] == ["Open alerts", "Integrations", "Error budgets"]
    assert "MIRADOR_ALERTMANAGER_URL" in told["engineer"].tables[0].quiet
    assert {line.label for line in told["engineer"].lines} < {line.label for line in told["executive"].lines}
    assert [one.name for one in told["executive"].pictures] == ["disbursed_mxn@mirador"]


@pytest.fixture
def alertmanager() -> Iterator[str]:
    """Alertmanager's API with twelve alerts, in the form that its documentation gives (/api/v2/alerts)."""
    alerts = [
        {
            "fingerprint": f"f{number}",
            "labels": {"alertname": f"Alert{number}", "severity": "critical" if number == 7 else "warning"},
            "annotations": {"summary": f"Words {number}", "summary_es": f"Palabras {number}"},
            "status": {"state": "active", "silencedBy": ["s"] if number == 3 else [], "inhibitedBy": []},
            "startsAt": NOW.isoformat(),
            "endsAt": (NOW + timedelta(hours=1)).isoformat(),
            "updatedAt": NOW.isoformat(),
            "receivers": [{"name": "slack"}],
            "generatorURL": "http://prometheus/graph",
        }
        for number in range(13)
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(alerts).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_engineers_see_the_open_alerts_first_and_the_silenced_not_at_all(company: str, alertmanager: str):
    outside = queries.Outside(alertmanager_url=alertmanager)
    queries.connect(Sources(ledger_url=company, outside=outside))
    told = gather("engineer", DAY, language="es", public_url="https://mirador.company.mx")
    table = told.tables[0]
    assert len(table.rows) == digest.MOST_ALERTS
    assert table.more == "y 2 más"
    assert table.rows[0].cells[:2] == ("Alert7", "Palabras 7")
    assert table.rows[0].link == "https://mirador.company.mx/alerts?alert=Alert7"
    assert "Alert3" not in {row.cells[0] for row in table.rows}
    assert (told.headline, told.tone) == ("Por revisar: Alert7.", "bad")
    assert "Palabras 7" in write(told).text


def test_a_day_that_is_long_over_says_nothing_of_today(company: str):
    assert gather("executive", DAY - timedelta(days=5), language="en").so_far == ()
    assert gather("executive", DAY, language="en").so_far


def test_without_its_sources_it_is_written_and_invents_no_number(company: str):
    queries.connect(Sources(ledger_url=f"postgresql://reader:hunter2@127.0.0.1:{free_port()}/none", query_timeout=1))
    for role in ("executive", "analyst", "engineer"):
        told = gather(role, DAY, language="en")  # type: ignore[arg-type]
        letter = write(told)
        assert told.lines
        assert all(line.missing and not line.value and not line.change for line in told.lines)
        assert not told.nothing_moved, "who has read nothing cannot say that nothing moved"
        assert all(table.failed or table.quiet for table in told.tables)
        assert not told.pictures
        assert "The ledger cannot be reached." in told.missing
        assert "The ledger cannot be reached." in letter.text
        assert "hunter2" not in letter.html + letter.text
        fields = [one["text"] for block in slack_message(told)["blocks"] for one in block.get("fields", [])]
        assert len(fields) == len(told.lines)
        assert all(one.endswith("missing") for one in fields)


def test_old_numbers_say_how_old_they_are(postgres):
    made = new_ledger(postgres)
    engine = create_engine(made.owner)
    owner = engine.raw_connection()
    try:
        queries.connect(Sources(ledger_url=made.reader, fresh_for=0.0, grace=0.0, query_timeout=1))
        Ledger(owner).fill(rows())
        before = gather("executive", DAY, language="en")
        owner.close()
        engine.dispose()
        drop_ledger(postgres, made)
        told = gather("executive", DAY, language="en")
    finally:
        queries.disconnect()
    known = [line for line in told.lines if not line.missing]
    assert [line.value for line in known] == [line.value for line in before.lines if not line.missing]
    assert all(line.note.startswith("Last good data, ") for line in known)
    assert "Last good data" in write(told).html
    assert told.missing


# --- what it looks like -----------------------------------------------------------------------------------------------


class _Parts(HTMLParser):
    """The tags of a mail and what they load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(found)
        self.loaded += [str(found[name]) for name in ("src", "background", "srcset") if found.get(name)]
        if tag == "a":
            self.links.append(str(found["href"]))


@pytest.mark.parametrize("role", ["executive", "analyst", "engineer"])
def test_the_mail_loads_nothing_and_shows_in_any_reader(company: str, role: str):
    told = gather(role, DAY, language="es", public_url="https://mirador.company.mx")  # type: ignore[arg-type]
    letter = write(told)
    parts = _Parts()
    parts.feed(letter.html)
    assert not {"script", "link", "iframe", "form", "object", "svg", "video"} & set(parts.tags)
    names = {name for name, _png in letter.images}
    assert parts.loaded == [f"cid:{one}" for one in (name for name, _png in letter.images)]
    assert all(image["alt"] and image["width"] == "536" for image in parts.images)
    assert names
    assert "url(" not in letter.html
    assert "@import" not in letter.html
    assert all(link.startswith("https://mirador.company.mx/") for link in parts.links)
    assert "max-width:600px" in letter.html
    # Gmail cuts a mail off at 102 kB.
    assert len(letter.html.encode()) < 60_000
    for _name, png in letter.images:
        picture = Image.open(io.BytesIO(png))
        assert picture.width == 2 * 536
        assert len(png) < 40_000
        assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 8, "the picture is empty"


def test_without_a_public_address_it_has_no_links(company: str):
    told = gather("engineer", DAY, language="en")
    assert "<a " not in write(told).html
    assert all(block["type"] != "actions" for block in slack_message(told)["blocks"])


EVIL = '<script>alert(1)</script> & <!channel> "x" '


@examples(max_examples=30, deadline=None)
@given(words=st.text(max_size=300).map(lambda words: EVIL + words), times=st.sampled_from([1, 30, 200]))
def test_what_a_source_says_stays_text_in_mail_and_in_slack(words: str, times: int):
    words *= times
    table = digest.Table("Alerts", ("A", "", "B"), (digest.Row((words, words, "x"), "bad"),), more=words)
    told = Digest(
        role="engineer", day=DAY, language="en", written_at=NOW, title=words, headline=words, tone="bad",
        lines=(digest.Line(words, words, note=words), digest.Line(words, "", missing=words)),
        moved=(digest.Moved(words, "bad", "▲", words, words),), nothing_moved="", so_far_title=words,
        so_far=(digest.Line(words, words),), tables=(table,), pictures=(), missing=(words,), link=None,
    )  # fmt: skip
    letter = write(told)
    assert "<script>alert" not in letter.html
    message = slack_message(told)
    written = json.dumps([block for block in message["blocks"] if block["type"] != "header"])
    assert "<!channel>" not in written
    within_slacks_bounds(message)


def within_slacks_bounds(message: dict[str, Any]) -> None:
    """The bounds that Slack documents for Block Kit."""
    assert len(message["blocks"]) <= 50
    for block in message["blocks"]:
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150
        if block["type"] == "section":
            assert ("text" in block) != ("fields" in block)
            assert len(block.get("fields", [])) <= 10
            assert all(0 < len(one["text"]) <= 2000 for one in block.get("fields", []))
            assert 0 < len(block.get("text", {"text": "x"})["text"]) <= 3000


# --- when -------------------------------------------------------------------------------------------------------------


def test_in_the_hour_that_clocks_skip_it_goes_out_an_hour_later_and_in_the_one_that_comes_twice_once():
    zone = ZoneInfo("America/New_York")
    skipped = digest_post.due_at(date(2026, 3, 8), "02:30", zone)
    assert (skipped.hour, skipped.minute, skipped.utcoffset()) == (3, 30, timedelta(hours=-4))
    twice = digest_post.due_at(date(2026, 11, 1), "01:30", zone)
    assert (twice.hour, twice.minute, twice.utcoffset()) == (1, 30, timedelta(hours=-4))


@examples(max_examples=200, deadline=None)
@given(
    zone=st.sampled_from(["America/Mexico_City", "America/New_York", "Europe/Madrid", "Australia/Lord_Howe", "UTC"]),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    at=st.times().map(lambda one: one.strftime("%H:%M")),
)
def test_each_day_has_one_moment_and_the_next_lies_ahead(zone: str, moment: datetime, at: str):
    made = Settings(timezone=zone, digest_at=at)
    coming = digest_post.next_at(made, moment)
    assert timedelta(0) < coming - moment <= timedelta(hours=26)
    assert digest_post.due_day(made, coming) == coming.date() - timedelta(days=1)
    assert digest_post.due_day(made, coming + digest_post.LATE) != coming.date() - timedelta(days=1)
    assert digest_post.due_day(made, coming - timedelta(seconds=1)) != coming.date() - timedelta(days=1)
    # In UTC: within a zone Python compares wall clocks.
    following = digest_post.next_at(made, coming)
    assert timedelta(hours=22) <= following.astimezone(UTC) - coming.astimezone(UTC) <= timedelta(hours=26)


# --- to whom, and once ------------------------------------------------------------------------------------------------


def test_each_address_gets_one_mail_of_its_own_and_sees_no_other(lists: Settings, post: Post, slack: Slack):
    assert postman(lists).once() == 4
    assert post.recipients() == sorted(ADDRESSES)
    for tos, message in post.taken:
        assert len(tos) == 1
        assert message["To"] == tos[0]
        whole = message.as_bytes().decode("utf-8", "replace")
        assert not [one for one in ADDRESSES if one != tos[0] and one in whole]
        page = message.get_body(("html",))
        assert page is not None
        assert message.get_body(("plain",)) is not None
        shown = {part["Content-ID"].strip("<>") for part in message.walk() if part.get_content_type() == "image/png"}
        assert shown
        assert all(f"cid:{name}" in page.get_content() for name in shown)
    [told] = slack.taken
    assert told["path"] == SLACK_PATH
    within_slacks_bounds(told["message"])
    assert set(noted(lists)["state"]) == {"sent"}
    assert not noted(lists).to_csv().count("@"), "an address is kept"


def test_several_processes_send_each_once(lists: Settings, post: Post, slack: Slack):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MIRADOR_")}
    env |= {
        "MIRADOR_LEDGER_URL": lists.ledger_url.get_secret_value(),
        "MIRADOR_STATE_URL": lists.state_url.get_secret_value(),
        "MIRADOR_SMTP_URL": lists.smtp_url.get_secret_value(),
        "MIRADOR_DIGEST_LISTS": json.dumps(lists.digest_lists),
        "MIRADOR_DIGEST_SLACK_URL": slack.url,
    }
    argv = [sys.executable, "-m", "app", "digest", "--send", "--day", DAY.isoformat()]
    processes = [
        subprocess.Popen(argv, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    threads = [threading.Thread(target=postman(lists).once) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), said
    assert post.recipients() == sorted(ADDRESSES)
    assert len(slack.taken) == 1
    assert not [one for one in ADDRESSES if one in "".join(said)]
    assert postman(lists).once() == 0


def test_a_process_that_ended_between_claim_and_note_is_followed_by_another_five_times_at_most(
    lists: Settings, post: Post
):
    one = next(to for to in digest_post.destinations(lists) if to.address == ADDRESSES[0])
    others = f"delete from mirador.digests where recipient <> '{one.recipient}'"
    assert digest_post._claim(lists, DAY, one)
    postman(lists).once()
    assert ADDRESSES[0] not in post.recipients(), "its claim still holds"
    assert ADDRESSES[1] in post.recipients()
    change(lists, "update mirador.digests set next_at = now() where state = 'claimed'")
    assert postman(lists).once() == 1
    assert post.recipients().count(ADDRESSES[0]) == 1
    first = post.taken[-1][1]["Message-ID"]
    # The note was lost, too: the second copy is known for what it is.
    change(lists, f"update mirador.digests set state = 'claimed', next_at = now() where recipient = '{one.recipient}'")
    assert postman(lists).once() == 1
    assert post.taken[-1][1]["Message-ID"] == first
    change(lists, others)
    change(lists, "update mirador.digests set state = 'claimed', tries = 5, next_at = now()")
    assert not digest_post._claim(lists, DAY, one)


def test_what_fails_for_now_is_tried_again_and_what_never_will_is_given_up(lists: Settings, post: Post, slack: Slack):
    slack.status = 503
    post.refuse = {ADDRESSES[0]: "550 no such user", ADDRESSES[2]: "451 try later"}
    carrier = postman(lists)
    assert carrier.once() == 1
    found = noted(lists).sort_values("id")
    assert found["state"].tolist().count("dead") == 1
    assert found["state"].tolist().count("failed") == 2
    assert not found["error"].fillna("").str.contains("@|secret|slack.com", regex=True).any()
    post.refuse, slack.status = {}, 200
    assert carrier.once() == 0, "not before its time"
    change(lists, "update mirador.digests set next_at = now()")
    assert carrier.once() == 2
    assert post.recipients() == sorted(ADDRESSES[1:])
    assert len(slack.taken) == 1
    slack.status = 404
    with pytest.raises(digest_post.NotSent, match="HTTP 404") as told:
        digest_post._to_slack(lists, {})
    assert not told.value.again


def test_nothing_is_sent_before_its_hour_nor_long_after(lists: Settings, post: Post):
    for clock in (time(7, 29), time(11, 31)):
        made = replace(postman(lists), clock=lambda clock=clock: datetime.combine(NOW.date(), clock, ZONE))
        assert made.once() == 0
    assert not post.taken
    assert noted(lists).empty


def test_while_the_state_database_is_away_none_is_sent(lists: Settings, post: Post):
    away = lists.model_copy(
        update={"state_url": Settings(state_url=f"postgresql://x@127.0.0.1:{free_port()}/x").state_url}
    )
    carrier = postman(away)
    assert carrier.once() == 0
    assert carrier.failure == "The state database cannot be reached."
    assert not post.taken


def test_what_keeps_it_from_going_is_said():
    lists = {"executive": "ana@company.mx"}
    assert "MIRADOR_DIGEST_LISTS" in (digest_post.why_none(Settings()) or "")
    assert "MIRADOR_SMTP_URL" in (digest_post.why_none(Settings(digest_lists=lists)) or "")
    mailed = Settings(digest_lists=lists, smtp_url="smtp://127.0.0.1:1")
    assert "MIRADOR_STATE_URL" in (digest_post.why_none(mailed) or "")
    assert (
        digest_post.why_none(mailed.model_copy(update={"state_url": Settings(state_url="postgresql://x/y").state_url}))
        is None
    )


def test_a_test_goes_to_one_address_and_leaves_no_note(lists: Settings, post: Post, slack: Slack):
    [(to, outcome)] = digest_post.send_now(lists, DAY, language="es", to="eva@company.mx", role="engineer")
    assert (outcome, post.recipients(), slack.taken) == ("sent", ["eva@company.mx"], [])
    assert "eva" not in repr(to)
    assert noted(lists).empty


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    def run(made: Settings, **parameters: str) -> AppTest:
        monkeypatch.setattr(app.settings, "settings", lambda: made)
        test = AppTest.from_file(str(ROOT / "pages" / "digest.py"), default_timeout=40)
        for name, value in parameters.items():
            test.query_params[name] = value
        return test.run()

    return run


def words(test: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*test.title, *test.markdown, *test.caption, *test.warning, *test.code])


def test_the_page_shows_what_goes_out_when_and_what_was_sent(lists: Settings, page: Callable[..., AppTest]):
    postman(lists).once()
    test = page(lists, **{"lang": "es", "role": "analyst", "in": "es"})
    assert not test.exception
    said = words(test)
    assert "El próximo sale el" in said
    assert "dirección 2, análisis 1" in said
    assert "Pagos vencidos" in said
    assert not [one for one in ADDRESSES if one in said]
    sent = test.dataframe[0].value
    assert sent["sent"].tolist() == [1, 2, 1]


def test_without_lists_the_page_previews_and_says_what_to_set(company: str, page: Callable[..., AppTest]):
    test = page(
        Settings(ledger_url=company), **{"lang": "en", "in": "en", "day": (DAY + timedelta(days=3)).isoformat()}
    )
    assert not test.exception
    said = words(test)
    assert "MIRADOR_DIGEST_LISTS" in said
    assert "MIRADOR_STATE_URL" in said
    assert "yesterday is shown" in said
    assert "Approval rate" in said


def test_a_shell_prints_it(company: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from app.cli import main

    for name in list(os.environ):
        if name.startswith("MIRADOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MIRADOR_LEDGER_URL", company)
    with contextlib.suppress(queries.SourceError):
        queries.disconnect()
    try:
        assert main(["digest", "--role", "executive", "--lang", "en", "--day", DAY.isoformat()]) == 0
        assert "Approval rate: " in capsys.readouterr().out
        assert main(["digest", "--day", "soon"]) == 2
        assert main(["digest", "--send"]) == 1
        assert "MIRADOR_DIGEST_LISTS" in capsys.readouterr().err
    finally:
        kpis._computed.clear()
