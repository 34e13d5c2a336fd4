"""Any number of a page in a shell: exact cells, data on stdout, sentences on stderr, honest exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from demo import servers
from queries import library
from tests.conftest import ROOT, LedgerUrl

SECRET = "correct-horse-battery"
EVERYTHING = """
-- title: One of each
-- description: A row with each type.
-- param: day date -- the day
-- param: names text[] = {} -- a list
-- param: least numeric = null
-- param: timezone text = $timezone
-- column: day date
-- column: at timestamptz
-- column: amount numeric [MXN]
-- column: count integer [count]
-- column: share double [share]
-- column: name text
-- column: nothing text
select cast(:day as date) as day, timestamptz '2026-03-01 12:00:00.5+00' as at, 1234567890.10::numeric(14, 2) as amount,
    9007199254740993 as count, 0.1::float8 as share, coalesce(array_to_string(cast(:names as text[]), '+'), '') as name,
    cast(cast(:least as numeric) as text) as nothing
"""


@pytest.fixture(autouse=True)
def own_queries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A library of queries of the test's own, and nothing configured."""
    for name in list(os.environ):
        if name.upper().startswith("MIRADOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path, text in {
        "ledger/test/everything.sql": EVERYTHING.strip(),
        "ledger/test/both.sql": "-- title: Both\n-- description: x\nselect 1 as one",
        "metrics/test/both.promql": "# title: Both\n# description: x\n# kind: instant\nvector(1)",
        "metrics/test/odd.promql": "# title: Odd\n# description: x\n# kind: instant\nvector(0) / 0",
    }.items():
        file = tmp_path / "library" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(library, "ROOT", tmp_path / "library")
    library.load_queries.cache_clear()
    library._index.cache_clear()
    yield
    library.load_queries.cache_clear()
    library._index.cache_clear()


@pytest.fixture
def shell(ledger_url: LedgerUrl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("MIRADOR_LEDGER_URL", ledger_url.reader)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_csv_cells_are_exact(shell: Any):
    code, out, err = shell("query", "test/everything", "--param", "day=2026-01-31", "--format", "csv")
    [row] = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert row == {
        "day": "2026-01-31",
        "at": "2026-03-01T06:00:00.500000-06:00",
        "amount": "1234567890.10",
        "count": "9007199254740993",
        "share": "0.1",
        "name": "",
        "nothing": "",
    }
    assert err.startswith("1 row from the ledger, as of 20")


def test_json_carries_the_stamp_and_plain_values(shell: Any):
    code, out, _ = shell("query", "test/everything", "--param", "day=2026-01-31", "--format", "json")
    answer = json.loads(out)
    assert code == 0
    assert answer["rows"] == [
        {
            "day": "2026-01-31",
            "at": "2026-03-01T06:00:00.500000-06:00",
            "amount": 1234567890.1,
            "count": 9007199254740993,
            "share": 0.1,
            "name": "",
            "nothing": None,
        }
    ]
    assert answer["columns"][2] == {"name": "amount", "unit": "MXN"}
    assert answer["params"]["day"] == "2026-01-31"
    assert answer["source"] == "ledger"


def test_a_table_is_not_cut_off_in_a_pipe(shell: Any):
    code, out, _ = shell("query", "test/everything", "--param", "day=2026-01-31", "--param", f"names={'x' * 300}")
    assert code == 0
    assert "x" * 300 in out
    assert "1234567890.10" in out
    assert "amount (MXN)" in out


def test_a_list_is_comma_separated_or_given_again(shell: Any):
    _, out, _ = shell(
        *("query", "test/everything", "--format", "csv", "--param", "day=2026-01-31"),
        *("--param", "names=a,b", "--param", "names=c d"),
    )
    assert next(csv.DictReader(io.StringIO(out)))["name"] == "a+b+c d"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["query"], "Name a query"),
        (["query", "test/everythin"], "Did you mean test/everything?"),
        (["query", "zzz"], "See python -m app query --list."),
        (["query", "test/both"], "say ledger/test/both or metrics/test/both"),
        (["query", "test/everything"], "needs the parameter day (date)"),
        (["query", "test/everything", "--param", "day=soon"], "must be a date such as 2026-01-31"),
        (["query", "test/everything", "--param", "day"], "NAME=VALUE"),
        (["query", "test/everything", "--param", "dy=2026-01-31"], "no parameter dy; it has: day, names"),
        (["query", "test/everything", "--param", "day=2026-01-31", "--param", "day=2026-01-30"], "takes one value"),
    ],
)
def test_bad_use_gives_one_sentence_and_code_2(shell: Any, arguments: list[str], words: str):
    code, out, err = shell(*arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_the_list_names_parameters_and_defaults(shell: Any):
    code, out, _ = shell("query", "--list")
    assert code == 0
    assert "test/everything  (ledger)  One of each" in out
    assert "    day date  the day" in out
    assert "    least numeric = null" in out


def test_a_source_that_fails_gives_code_1(shell: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", f"postgresql://reader:{SECRET}@127.0.0.1:{servers.free_port()}/db")
    code, out, err = shell("query", "ledger/test/both")
    assert (code, out, err) == (1, "", "The ledger cannot be reached.\n")
    code, _, err = shell("query", "metrics/test/both")
    assert code == 1
    assert "MIRADOR_PROMETHEUS_URL" in err


def test_what_json_cannot_hold_is_null(shell: Any, monkeypatch: pytest.MonkeyPatch, prometheus_server: Any):
    monkeypatch.setenv("MIRADOR_PROMETHEUS_URL", prometheus_server())
    code, out, _ = shell("query", "test/odd", "--format", "json")
    assert code == 0
    assert json.loads(out)["rows"] == [{"value": None}]


@pytest.mark.parametrize("command", [["serve"], ["query", "--list"], ["doctor"]])
def test_wrong_settings_stop_every_command_with_one_sentence(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MIRADOR_LEDGER_URL", f"mysql://root:{SECRET}@db/x")
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "MIRADOR_LEDGER_URL must begin with postgresql://: Mirador speaks to PostgreSQL through psycopg.\n"


def test_a_port_that_is_taken_stops_the_start_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MIRADOR_PORT", str(port))
        assert main(["serve"]) == 1
    assert capsys.readouterr().err.startswith(f"MIRADOR_PORT {port} is in use")


def test_the_module_is_the_command():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIRADOR_")}
    done = subprocess.run(
        [sys.executable, "-m", "app", "query", "--list"],
        cwd=ROOT,
        env={**clean, "MIRADOR_PORT": SECRET},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "MIRADOR_PORT must be a port between 1 and 65535.\n"
