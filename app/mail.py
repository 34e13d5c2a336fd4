"""One message by SMTP (MIRADOR_SMTP_URL), for whoever has something to send: the digest and subscribers of the status page.

    send(settings, "ana@company.mx", "Incident resolved", "<p>...</p>", "...", headers={"List-Unsubscribe": "<https://...>"})

`smtp://` asks for STARTTLS wherever the server offers it, `smtps://` begins with TLS; certificates are checked, and a
password never goes over a wire that others can read. Nothing of the address, of the server's words or of the message
stands in an error.
"""  # noqa: E501

from __future__ import annotations

import contextlib
import ipaddress
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from urllib.parse import unquote, urlsplit

from app.settings import Settings

# For each answer of the server, and for the whole conversation with it.
ANSWER_SECONDS = 10.0
TOTAL_SECONDS = 30.0
MAX_ADDRESS = 254


class MailError(Exception):
    """A message that was not sent. `sentence` says why, for a person; `again`: whether a later try may succeed."""

    def __init__(self, sentence: str, *, again: bool = True) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.again = again


def send(
    settings: Settings,
    to: str | Sequence[str],
    subject: str,
    html: str,
    text: str,
    images: Sequence[tuple[str, bytes]] = (),
    *,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Send one message and give how many of its addresses the server refused, when it took it for others.

    `images` are (name, PNG) that the HTML shows as `<img src="cid:name">`. `headers` are added to the message or stand
    in the place of its own; a `Message-ID` that stays the same over several tries lets a mailbox drop a second copy.
    Over within about half a minute. Raises MailError.
    """
    if settings.smtp_url is None:
        raise MailError("No mail server is configured: set MIRADOR_SMTP_URL.", again=False)
    addresses = [to] if isinstance(to, str) else list(to)
    message = written(settings, addresses, subject, html, text, images, headers or {})
    with _conversation(settings.smtp_url.get_secret_value()) as server:
        return len(server.send_message(message, from_addr=parseaddr(settings.mail_from)[1], to_addrs=addresses))


def written(
    settings: Settings,
    addresses: Sequence[str],
    subject: str,
    html: str,
    text: str,
    images: Sequence[tuple[str, bytes]],
    headers: Mapping[str, str],
) -> EmailMessage:
    """The message as it is sent: text and HTML side by side, the pictures inside. Raises MailError."""
    domain = parseaddr(settings.mail_from)[1].rpartition("@")[2] or "localhost"
    message = EmailMessage()
    try:
        message["From"] = settings.mail_from
        message["To"] = ", ".join(addresses)
        message["Subject"] = " ".join(subject.split())
        message["Date"] = format_datetime(datetime.now().astimezone())
        message["Message-ID"] = make_msgid(domain=domain)
        # Nobody's holiday answers to it.
        message["Auto-Submitted"] = "auto-generated"
        for name, value in headers.items():
            del message[name]
            message[name] = value
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        page = message.get_payload()[1]  # type: ignore[index]
        for name, picture in images:
            page.add_related(picture, "image", "png", cid=f"<{name}>", disposition="inline", filename=f"{name}.png")  # type: ignore[union-attr]
    except (ValueError, UnicodeError):
        # Such as a line break in an address, which would be a header of its own.
        raise MailError(
            "The message cannot be written as a mail: an address or a header is not valid.", again=False
        ) from None
    return message


@contextlib.contextmanager
def _conversation(url: str) -> Iterator[smtplib.SMTP]:
    """A server that is ready to take a message; its refusals and silences told as MailError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "smtps"
    timer: threading.Timer | None = None
    # smtplib would else ask DNS for the name of this machine, which may take long.
    name = socket.gethostname()
    try:
        server: smtplib.SMTP
        if secure:
            context = ssl.create_default_context()
            server = smtplib.SMTP_SSL(host, parts.port or 465, name, timeout=ANSWER_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, parts.port or 587, name, timeout=ANSWER_SECONDS)
        # Each answer is bounded by itself; a server that trickles is cut off by this.
        timer = threading.Timer(TOTAL_SECONDS, _cut, args=(server,))
        timer.daemon = True
        timer.start()
        try:
            server.ehlo()
            near = _is_near(host)
            if not secure and not near and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
                secure = True
            if parts.username:
                if not secure and not near:
                    raise MailError(
                        "The mail server offers no STARTTLS, and a password is not sent for others to read: "
                        "use smtps:// in MIRADOR_SMTP_URL.",
                        again=False,
                    )
                server.login(unquote(parts.username), unquote(parts.password or ""))
            yield server
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            server.close()
    except smtplib.SMTPAuthenticationError:
        raise MailError("The mail server does not let Mirador in: check MIRADOR_SMTP_URL.") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise MailError(
            "The mail server does not take mail for this address.", again=any(code < 500 for code in codes)
        ) from None
    except smtplib.SMTPResponseException as error:
        raise MailError(
            f"The mail server refused the message (SMTP {error.smtp_code}).", again=error.smtp_code < 500
        ) from None
    except ssl.SSLError:
        raise MailError("The certificate of the mail server is not to be trusted.") from None
    except TimeoutError:
        raise MailError("The mail server has not answered in time.") from None
    except smtplib.SMTPNotSupportedError:
        raise MailError("The mail server cannot take this address or this way to log in.", again=False) from None
    except (smtplib.SMTPException, OSError, UnicodeError):
        raise MailError("The mail server cannot be reached, or broke off.") from None
    finally:
        if timer is not None:
            timer.cancel()


def _cut(server: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError, AttributeError):
        server.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


def _is_near(host: str) -> bool:
    """Whether the server is on this machine, so that no wire lies between."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
