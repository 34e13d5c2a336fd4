"""Digest: what the morning's mail and Slack message say, when they go out, and what was sent."""

from __future__ import annotations

import base64
import html
import re
import time
from datetime import date, timedelta
from typing import Any

import pandas as pd
import streamlit as st

import queries
from app import digest, digest_post
from app.auth import login_required, viewer
from app.settings import ROLES, Role, settings
from components import Figure, _, choice_filter, clock, day_name, panel, table
from components.i18n import LANGUAGES
from components.url import Url, day_between

# The least time between two tests of one viewer.
TEST_SECONDS = 30.0
MAIL_HEIGHT = 900
# The mail brings no script of its own, and what it quotes is to bring none either.
NO_SCRIPTS = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)
configuration = settings()
zone = queries.timezone()
yesterday = queries.business_day(zone) - timedelta(days=1)
ROLE_NAMES: dict[str, str] = {"executive": _("executives"), "analyst": _("analysts"), "engineer": _("engineers")}
TITLES = {role: name.capitalize() for role, name in ROLE_NAMES.items()}
CHANNELS = {"mail": _("mail"), "slack": "Slack"}


def whole_day(latest: date) -> date:
    """The day that the digest tells of; the last whole one when the URL names none."""
    url = Url()
    url.restore("day", latest, day_between(latest - timedelta(days=730), latest))
    chosen = st.date_input(
        _("Business day"),
        min_value=latest - timedelta(days=730),
        max_value=latest,
        key="day",
        format="YYYY-MM-DD",
        required=True,
        label_visibility="collapsed",
        width=150,
    )
    day = chosen if isinstance(chosen, date) else latest
    url.keep("day", day, [day.isoformat()], default=day == latest)
    url.write()
    if url.refused:
        st.warning(_("The link asks for a day that has no digest: yesterday is shown."), icon=":material/event_busy:")
    return day


@st.cache_data(ttl=60, max_entries=24, show_spinner=False)
def written(role: Role, day: date, code: str) -> tuple[digest.Digest, digest.Letter]:
    """The digest and its mail; the same for every viewer for a minute."""
    told = digest.gather(role, day, language=code, public_url=configuration.public_url)
    return told, digest.write(told)


def shown(letter: digest.Letter) -> str:
    """The mail's HTML with its pictures inside."""
    page = letter.html.replace("<head>", f"<head>{NO_SCRIPTS}", 1)
    for name, picture in letter.images:
        page = page.replace(f"cid:{name}", f"data:image/png;base64,{base64.b64encode(picture).decode()}")
    return page


def plan() -> None:
    """When the next one goes out, to how many, and what keeps it from going."""
    why = digest_post.why_none(configuration)
    if why is not None:
        st.markdown(f":material/settings: {_(why)}")
        return
    at = digest_post.next_at(configuration)
    wanted = digest_post.destinations(configuration)
    lists = [
        f"{ROLE_NAMES[role]} {sum(1 for one in wanted if one.role == role and one.channel == 'mail')}"
        for role in ROLES
        if any(one.role == role and one.channel == "mail" for one in wanted)
    ]
    said = _("Goes out next on {day} at {clock}.").format(day=day_name(at.date()), clock=clock(at))
    if lists:
        said += " " + _("By mail: {lists}.").format(lists=", ".join(lists))
    if any(one.channel == "slack" for one in wanted):
        said += " " + _("To Slack: what executives get.")
    st.markdown(f":material/schedule_send: {said}")


def as_in_slack(message: dict[str, Any]) -> None:
    """The message about as Slack shows it."""
    with st.container(border=True, width=620, gap="small"):
        for block in message["blocks"]:
            if block["type"] == "header":
                st.markdown(f"**{plain(block['text']['text'])}**")
            elif block["type"] == "divider":
                st.divider()
            elif block["type"] == "actions":
                for button in block["elements"]:
                    st.link_button(button["text"]["text"], button["url"])
            elif "fields" in block:
                with st.grid(2, min_column_width=140, gap="small"):
                    for one in block["fields"]:
                        st.markdown(mrkdwn(one["text"]))
            elif "elements" in block:
                for one in block["elements"]:
                    st.caption(mrkdwn(one["text"]))
            else:
                st.markdown(mrkdwn(block["text"]["text"]))


def plain(words: str) -> str:
    """Words in which Markdown finds nothing to do but bold type, lists aside."""
    return re.sub(r"([\\`_\[\]$~<>#|])", r"\\\1", words)


def mrkdwn(words: str) -> str:
    """Slack's own marks in those of Markdown: one star is bold, a line ends where it ends."""
    shown = plain(html.unescape(words)).replace("\n", "  \n")
    # Names of emoji hold underscores.
    shown = re.sub(r":[a-z\\_]+:", lambda name: name[0].replace("\\", ""), shown)
    return re.sub(r"\*([^*\n]+)\*", r"**\1**", shown)


def own_address() -> str | None:
    """The viewer's own address, as his login says it; None without a login or where it is not verified."""
    if not login_required() or not st.user.is_logged_in:
        return None
    claims = st.user.to_dict()
    verified = claims.get("email_verified", True) in {True, "true"}
    return str(claims["email"]) if verified and claims.get("email") else None


def test_button(role: Role, day: date, code: str) -> None:
    """Engineers send themselves what they look at; nobody sends anything to others from here."""
    who = viewer(configuration)
    if who is None or "engineer" not in who.roles:
        return
    address = own_address()
    if configuration.smtp_url is None or address is None:
        st.caption(
            _("A test goes to the address of your login, where login and MIRADOR_SMTP_URL are configured.")
            + " "
            + _("From a shell: {command}").format(command="`python -m app digest --send --to ANA@COMPANY.MX`")
        )
        return
    if not st.button(_("Send me a test"), icon=":material/forward_to_inbox:", key="test"):
        return
    if time.monotonic() - st.session_state.get("tested", float("-inf")) < TEST_SECONDS:
        st.caption(_("One test at a time: wait half a minute."))
        return
    st.session_state["tested"] = time.monotonic()
    with st.spinner(_("Sending")):
        [(_to, outcome)] = digest_post.send_now(configuration, day, language=code, to=address, role=role)
    if outcome == "sent":
        st.success(_("Sent to your address."), icon=":material/check:")
    else:
        st.error(_(outcome), icon=":material/error:")


st.title(_("Digest"), anchor=False)
st.caption(
    _("The Today page as a mail and a Slack message: yesterday as a whole, and today up to the hour of sending.")
)
plan()

with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    role: Role = choice_filter(_("List"), ROLES, TITLES, key="role")  # type: ignore[assignment]
    usual = digest_post.language_of(configuration)
    code = choice_filter(_("Language"), sorted(LANGUAGES, key=lambda one: one != usual), LANGUAGES, key="in")
    day = whole_day(yesterday)

with st.skeleton(height=600):
    told, letter = written(role, day, code)
    mail, text, slack = st.tabs([_("Mail"), _("Text"), "Slack"])
    with mail:
        st.markdown(f"**{_('Subject')}**: {letter.subject}")
        # As a data address it is an origin of its own: nothing in it can reach the page around it.
        page = base64.b64encode(shown(letter).encode()).decode()
        st.iframe(f"data:text/html;charset=utf-8;base64,{page}", height=MAIL_HEIGHT, alt=letter.subject)
    with text:
        st.code(letter.text, language=None, wrap_lines=True)
    with slack:
        message = digest.slack_message(told)
        as_in_slack(message)
        with st.expander("JSON"):
            st.json(message, expanded=2)

test_button(role, day, code)


@panel(_("Digests sent"), height=240, help=_("Each list's digest of each day, once. No address is kept."))
def sent() -> Figure:
    frame = queries.state("digest/sent")
    view = frame.assign(
        role=frame["role"].map(lambda name: ROLE_NAMES.get(name, name)),
        channel=frame["channel"].map(lambda name: CHANNELS.get(name, name)),
        error=frame["error"].map(lambda said: "" if pd.isna(said) else _(said)),
    )
    view.attrs = dict(frame.attrs)
    columns = {
        "day": ("date", _("Business day")),
        "role": ("text", _("List")),
        "channel": ("text", _("Channel")),
        "sent": ("count", _("Delivered")),
        "recipients": ("count", _("Of")),
        "waiting": ("count", _("To be tried again")),
        "last_at": ("datetime", _("Last sent")),
        "error": ("text", _("What failed")),
    }
    return table(view, columns)
