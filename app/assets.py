"""The browser's side of Streamlit: its scripts and styles from memory, packed, and the ones of charts asked for early.

A page asks for about a hundred small files before it is whole. Streamlit reads each from disk, as it is, with four
changes of thread; and its charts ask for theirs when the first number has arrived. Here they come from memory, packed
once (a third of the bytes, which a phone notices), and the document names what every page will need, so that it
travels while the page is being made. Names hold a hash of what is in them: a browser that has a file never asks again.

Whatever is missing here (another build of Streamlit, a base path) is served by Streamlit as before.
"""

from __future__ import annotations

import gzip
import json
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anyio.to_thread
import streamlit as st
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(st.__file__).parent / "static"
PACKED = {".js", ".css", ".svg", ".json"}
YEAR = "public, immutable, max-age=31536000"
# The client looks for its server below the page's own path first, and asks again 100 ms after that was not found. It
# takes the address from here (Streamlit's pull requests 11378, 11537): where the document's own scripts come from.
WHERE = """<script>
  {
    const { href } = new URL(".", location.href)
    window.__streamlit = { BACKEND_BASE_URL: href, MAIN_PAGE_BASE_URL: href }
  }
</script>
"""
LINK = '<link rel="modulepreload" fetchpriority="low" crossorigin href="./{file}">'
# What pages are made of beside the client itself, by the names of Streamlit's components.
ELEMENTS = (
    "ArrowVegaLiteChart",
    "Metric",
    "PageLink",
    "Button",
    "ButtonGroup",
    "Selectbox",
    "Multiselect",
    "Checkbox",
    "DateInput",
)


@dataclass(frozen=True)
class Asset:
    """A file as it goes out; `packed` by gzip, where that helps."""

    kind: str
    plain: bytes
    packed: bytes | None = None


@cache
def known() -> frozenset[str]:
    """The files below Streamlit's `static/static`, by their path there; nothing else is ever read."""
    place = STATIC / "static"
    return frozenset(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def made(name: str) -> Asset:
    """A file of `known`, read and packed, and kept."""
    path = STATIC / "static" / name
    plain = path.read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(plain, compresslevel=6, mtime=0) if path.suffix in PACKED else None
    _kept[name] = Asset(kind, plain, packed if packed is not None and len(packed) < len(plain) else None)
    return _kept[name]


_kept: dict[str, Asset] = {}


# --- the document -----------------------------------------------------------------------------------------------------


def modules(manifest: Mapping[str, Mapping[str, Any]], elements: Iterable[str]) -> list[str]:
    """The scripts that these components of Streamlit need, each once, without those that the document names anyway.

    `manifest` is the one that Vite writes beside the client: https://vite.dev/guide/backend-integration.
    """

    def gathered(keys: Iterable[str], found: dict[str, None]) -> dict[str, None]:
        for key in keys:
            if key in manifest and manifest[key]["file"] not in found:
                found[manifest[key]["file"]] = None
                gathered(manifest[key].get("imports", ()), found)
        return found

    entries = [key for key, part in manifest.items() if part.get("isEntry")]
    wanted = [key for key in manifest for name in elements if key.endswith(f"/{name}/{name}.tsx")]
    there = gathered(entries, {})
    return [file for file in gathered(wanted, {}) if file not in there]


@cache
def document() -> str | None:
    """Streamlit's document with the scripts of `ELEMENTS` named ahead; None when this build of it looks otherwise."""
    try:
        page = (STATIC / "index.html").read_text()
        manifest = json.loads((STATIC / "manifest.json").read_text())
        links = [LINK.format(file=file) for file in modules(manifest, ELEMENTS)]
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    head, mark, rest = page.partition("</head>")
    return head + WHERE + "\n".join(links) + mark + rest if mark else None


# --- what goes out ----------------------------------------------------------------------------------------------------


class Assets:
    """Answers for Streamlit's files and, at the root and at each page's path, for its document; the rest goes on."""

    def __init__(self, app: ASGIApp, pages: Sequence[str] = ()) -> None:
        self._app = app
        self._paths = {"/", *(f"/{name}" for name in pages)} if document() else set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        answer = self._app
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            path = scope["path"]
            if path in self._paths:
                answer = Response(document(), media_type="text/html", headers={"Cache-Control": "no-cache"})
            elif (name := path.removeprefix("/static/")) in known():
                # The first time it takes milliseconds; after that it is there.
                one = _kept[name] if name in _kept else await anyio.to_thread.run_sync(made, name)
                answer = _sent(one, Headers(scope=scope))
        await answer(scope, receive, send)


def _sent(one: Asset, asked: Headers) -> Response:
    headers = {"Cache-Control": YEAR, "Vary": "Accept-Encoding"}
    if one.packed is not None and "gzip" in asked.get("accept-encoding", ""):
        return Response(one.packed, media_type=one.kind, headers={**headers, "Content-Encoding": "gzip"})
    return Response(one.plain, media_type=one.kind, headers=headers)


def pack() -> None:
    """Read and pack what every page asks for, so that the first viewer need not wait for it."""
    page = document() or ""
    for name in known():
        if f'"./static/{name}"' in page:
            made(name)
