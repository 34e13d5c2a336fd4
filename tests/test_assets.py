"""Streamlit's own files as the dashboard hands them out, and the document that asks for them."""

from __future__ import annotations

import gzip
import http.client
import re
import time
from urllib.parse import urlsplit

import pytest
import requests

from app import assets
from tests.dashboard import serve

MANIFEST = {
    "index.html": {"file": "static/js/index.js", "isEntry": True, "imports": ["_shared.js"]},
    "_shared.js": {"file": "static/js/shared.js"},
    "../src/Metric/Metric.tsx": {"file": "static/js/Metric.js", "imports": ["_shared.js", "_a.js"]},
    "../src/Link/Link.tsx": {"file": "static/js/Link.js", "imports": ["_a.js"]},
    "_a.js": {"file": "static/js/a.js", "imports": ["_b.js"]},
    "_b.js": {"file": "static/js/b.js", "imports": ["_a.js"]},
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A running dashboard without sources."""
    with serve(tmp_path_factory.mktemp("assets"), {}) as dashboard:
        yield dashboard.url


def script() -> str:
    """The document's own script, by its path."""
    found = re.search(r'src="\./(static/js/index\.[^"]+)"', assets.document() or "")
    assert found
    return "/" + found[1]


def test_modules_are_those_that_the_document_does_not_name_each_once():
    files = ["static/js/Metric.js", "static/js/a.js", "static/js/b.js"]
    assert assets.modules(MANIFEST, ["Metric"]) == files
    assert assets.modules(MANIFEST, ["Metric", "Link", "NoSuch"]) == [*files, "static/js/Link.js"]


def test_the_document_names_scripts_that_exist_and_only_once():
    page = assets.document()
    named = re.findall(r'href="\./(static/js/[^"]+)"', page or "")
    assert len(named) == len(set(named))
    assert any(name.startswith("static/js/ArrowVegaLiteChart.") for name in named)
    assert all((assets.STATIC / name).is_file() for name in named)


@pytest.mark.parametrize("path", ["/", "/approvals"])
def test_root_and_pages_give_the_document(url, path):
    answer = requests.get(url + path, timeout=10)
    assert answer.text == assets.document()
    assert answer.headers["cache-control"] == "no-cache"


def test_all_else_is_left_to_streamlit(url):
    assert requests.get(url + "/no_such_page", timeout=10).text == (assets.STATIC / "index.html").read_text()
    assert requests.get(url + "/static/js/none.js", timeout=10).headers["content-type"].startswith("text/html")
    assert requests.post(url, timeout=10).status_code == 405


def test_a_file_goes_out_packed_to_those_who_take_it_and_for_good(url):
    plain = (assets.STATIC / script().lstrip("/")).read_bytes()
    packed = requests.get(url + script(), headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain) / 2
    assert packed.content == plain
    as_it_is = requests.get(url + script(), headers={"Accept-Encoding": "identity"}, timeout=10)
    assert "content-encoding" not in as_it_is.headers
    assert as_it_is.content == plain
    for answer in (packed, as_it_is):
        assert answer.headers["vary"] == "Accept-Encoding"
        assert "immutable" in answer.headers["cache-control"]
        assert "javascript" in answer.headers["content-type"]


def test_what_packing_does_not_make_smaller_goes_out_as_it_is(url):
    font = next(name for name in sorted(assets.known()) if name.endswith(".woff2"))
    answer = requests.get(f"{url}/static/{font}", headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert "content-encoding" not in answer.headers
    assert answer.content == (assets.STATIC / "static" / font).read_bytes()


def test_another_build_of_streamlit_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    assets.document.cache_clear()
    try:
        assert assets.document() is None
        (tmp_path / "index.html").write_text("<html></html>")
        (tmp_path / "manifest.json").write_text("{}")
        assets.document.cache_clear()
        assert assets.document() is None
    finally:
        assets.document.cache_clear()


def test_many_questions_on_one_connection_do_not_wait(url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        connection.request("GET", script(), headers={"Accept-Encoding": "gzip"})
        body = connection.getresponse().read()
        taken.append(time.perf_counter() - began)
    connection.close()
    assert gzip.decompress(body) == (assets.STATIC / script().lstrip("/")).read_bytes()
    # With Nagle's algorithm each but the first waits 40 ms for an acknowledgement; the quickest tells, not the mean.
    assert min(taken[1:]) < 0.03
