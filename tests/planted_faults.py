"""A running demo in which everything that reconciliation must name happens, at the demo's own pace; and what it named.

`python -m tests.planted_faults [--dir DIR] [--scale N] [--shots DIR]` starts a demo of its own, then, in real time
(about a quarter of an hour), with Prometheus scraping every 15 s as it does everywhere:

1. writes a credit past the instrumented path,
2. kills the backend in the midst of traffic and starts it anew,
3. stops scraping for three minutes,
4. runs a second backend: first scraped, then not scraped,
5. scrapes the first backend under two names,

looks at the page in Chromium as a person would, prints what stands there, and ends all that it started. Exit code 1
when one of them is not named.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import yaml

from demo import servers
from tests.conftest import ROOT
from tests.dashboard import chromium, viewer

JOB = "conductores-backend"
# Of a form that the backend does not count on from.
CREDIT = "CX000042"
GAP = 180.0
SCRAPE = 15.0
CONTRACTS = ("applications_submitted", "credits_disbursed", "credits_disbursed_mxn")


def say(words: str) -> None:
    """A line with the time."""
    print(f"{datetime.now():%H:%M:%S}  {words}", flush=True)


class Company:
    """The running demo, and what is done to it."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        self.scale = scale
        self.children: list[servers.Child] = []
        # What an earlier run has planted would stand in today's numbers.
        subprocess.run(
            [sys.executable, "-m", "demo", "--clean", "--dir", str(folder)], cwd=ROOT, check=True, timeout=120
        )
        folder.mkdir(parents=True, exist_ok=True)
        demo = self.begin("demo", ["demo", "--no-browser", "--dir", str(folder)], {"DEMO_SCALE": str(scale)})
        demo.wait_until((folder / "running.json").exists, bound=900)
        self.told: dict[str, Any] = json.loads((folder / "running.json").read_text())
        self.config = folder / "prometheus.yml"
        self.as_started = self.config.read_text()

    def begin(self, name: str, argv: list[str], env: dict[str, str]) -> servers.Child:
        """Start one of our own programs."""
        log = self.folder / f"planted-{name}.log"
        child = servers.Child(name, [sys.executable, "-m", *argv], log=log, env={**os.environ, **env}, cwd=ROOT)
        self.children.append(child)
        return child

    def end(self) -> None:
        """End all, the demo last."""
        for child in self.children[::-1]:
            child.stop(signals=((signal.SIGTERM, 60.0),))

    # --- the ledger and the backends ---

    def ledger(self, role: str) -> str:
        """The plain URL of a role."""
        return str(self.told["ledger"]).replace("postgresql+psycopg://mirador_reader", f"postgresql://{role}")

    def write_credit(self) -> None:
        """A credit past the instrumented path: by hand, in the ledger."""
        with psycopg.connect(self.ledger("mirador_core")) as core:
            core.execute(
                "insert into bi.credits (credit_id, application_id, conductor_id, sinosure_tier, principal,"
                " approved_at, disbursed_at, disbursement_status, status, updated_at) select %s, application_id,"
                " conductor_id, 'AA', 125000.50, now(), now(), 'sent', 'active', now() from bi.credits"
                " order by approved_at desc limit 1",
                (CREDIT,),
            )

    def number_far_off(self) -> None:
        """Each process numbers its rows on from the largest that it finds: those of the next one begin far off."""
        with psycopg.connect(self.ledger("mirador_core")) as core:
            core.execute(
                "insert into bi.applications (application_id, conductor_id, submitted_at, amount_requested, status,"
                " updated_at) values ('A5000000', 'D0000001', now() - interval '9 days', 90000, 'withdrawn',"
                " now() - interval '9 days') on conflict do nothing"
            )
            core.execute(
                "insert into bi.integration_calls (call_id, called_at, integration, endpoint, status, http_status,"
                " duration_ms, request_id) values (5000000, now() - interval '9 days', 'metamap', '/verifications',"
                " 'success', 200, 90, 'r0') on conflict do nothing"
            )
            core.execute(
                "insert into bi.hase_scores (score_id, application_id, conductor_id, score, model_version,"
                " calculated_at) values (5000000, 'A5000000', 'D0000001', 50, 'hase-1', now() - interval '9 days')"
                " on conflict do nothing"
            )

    def backend(self, name: str, port: int, **env: str) -> str:
        """Start a backend; its address."""
        url = f"http://{servers.HOST}:{port}"
        child = self.begin(
            name,
            ["demo.backend"],
            {
                "DEMO_BACKEND_PORT": str(port),
                "DEMO_LEDGER_URL": self.ledger("mirador_core").replace("postgresql:", "postgresql+psycopg:"),
                "DEMO_SCALE": str(self.scale),
                **env,
            },
        )
        child.wait_until(lambda: servers.answers(f"{url}/health"), bound=60)
        return url

    @staticmethod
    def take(backend: str, applications: int) -> list[str]:
        """Hand in applications, one after the other; the ids of those that were taken."""
        taken = []
        while len(taken) < applications:
            body = json.dumps({"conductor_id": f"D{len(taken) + 1:07d}", "amount": "90000.00"}).encode()
            request = urllib.request.Request(
                f"{backend}/applications", data=body, headers={"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    taken.append(str(json.load(answer)["application_id"]))
            except urllib.error.HTTPError as refused:
                # At the company's usual rate a request fails, and is made again.
                refused.close()
        return taken

    # --- Prometheus ---

    def scrape(self, targets: dict[str, str]) -> None:
        """From now on scrape these backends (name to URL) and no other."""
        config = yaml.safe_load(self.as_started)
        for job in config["scrape_configs"]:
            if job["job_name"] == JOB:
                job["static_configs"] = [
                    {"targets": [urllib.parse.urlsplit(url).netloc], "labels": {"instance": name}}
                    for name, url in targets.items()
                ]
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))
        os.kill(json.loads((self.folder / "prometheus.pid").read_text())["pid"], signal.SIGHUP)

    def scraped(self, instance: str) -> float:
        """When a backend was last scraped (seconds since 1970); 0 never."""
        asked = urllib.parse.urlencode({"query": f'timestamp(up{{job="{JOB}",instance="{instance}"}})'})
        with urllib.request.urlopen(f"{self.told['prometheus']}/api/v1/query?{asked}", timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def wait(self, instance: str, scrapes: int) -> None:
        """Until a backend was scraped so many more times."""
        last, until = self.scraped(instance), time.monotonic() + (scrapes + 4) * SCRAPE
        while scrapes:
            if (now := self.scraped(instance)) > last:
                last, scrapes = now, scrapes - 1
            if time.monotonic() > until:
                raise SystemExit(f"Prometheus does not scrape {instance}.")
            time.sleep(0.25)


def happen(company: Company) -> dict[str, Any]:
    """Everything, in order; what was done."""
    one = str(company.told["backend"])
    done: dict[str, Any] = {}
    company.wait("backend-1", 3)

    company.write_credit()
    done["credit"] = CREDIT
    say(f"wrote the credit {CREDIT} past the instrumented path")
    company.wait("backend-1", 3)

    company.wait("backend-1", 1)
    done["lost"] = company.take(one, 6)
    noted = json.loads((company.folder / "backend.pid").read_text())
    os.kill(int(noted["pid"]), signal.SIGKILL)
    say(f"killed the backend {len(done['lost'])} applications after its last scrape")
    company.backend("backend-1", urllib.parse.urlsplit(one).port or 0)
    company.wait("backend-1", 3)

    company.scrape({})
    began = time.monotonic()
    say("stopped scraping the backend")
    time.sleep(GAP / 2)
    done["unseen"] = company.take(one, 5)
    time.sleep(max(GAP - (time.monotonic() - began), 0))
    company.scrape({"backend-1": one})
    done["stopped"] = time.monotonic() - began
    say(f"scraping again after {done['stopped']:.0f} s")
    company.wait("backend-1", 3)

    company.number_far_off()
    port = servers.free_port()
    other = company.backend("backend-2", port, DEMO_TRAFFIC="off")
    company.scrape({"backend-1": one, "backend-2": other})
    company.wait("backend-2", 3)
    done["seen"] = company.take(other, 4)
    say("two backends, both scraped")
    company.wait("backend-2", 2)
    company.scrape({"backend-1": one})
    company.wait("backend-1", 2)
    done["missed"] = []
    for _ in range(4):
        done["missed"] += company.take(other, 2)
        time.sleep(10)
    say(f"the second counts {len(done['missed'])} applications that nobody scrapes")
    company.wait("backend-1", 2)

    company.scrape({"backend-1": one, "backend-1-again": one})
    company.wait("backend-1-again", 2)
    done["twice"] = []
    for _ in range(5):
        done["twice"] += company.take(one, 2)
        company.wait("backend-1-again", 1)
    company.wait("backend-1-again", 2)
    company.scrape({"backend-1": one})
    say(f"{len(done['twice'])} applications while the first was scraped under two names")
    # What the ledger was last told bounds what it knows: somebody comes after a whole minute, and again.
    for _ in range(3):
        time.sleep(60)
        company.take(one, 1)
    time.sleep(90)
    return done


def look(company: Company, shots: Path) -> dict[str, str]:
    """What stands on the page of each contract; a picture of each in `shots`."""
    shots.mkdir(parents=True, exist_ok=True)
    said = {}
    with chromium() as browser, viewer(browser, locale="en-US", viewport={"width": 1440, "height": 1000}) as window:
        for name in ("", *CONTRACTS):
            window.open(f"{company.told['url']}/reconciliation" + (f"?contract={name}" if name else ""))
            window.drawn(timeout=90)
            said[name] = window.text()
            window.page.screenshot(path=shots / f"{name or 'all'}.png", full_page=True)
    return said


def report(company: Company) -> dict[str, Any]:
    """What `python -m app reconcile` says of today."""
    env = {"MIRADOR_LEDGER_URL": company.told["ledger"], "MIRADOR_PROMETHEUS_URL": company.told["prometheus"]}
    env["MIRADOR_SCRAPE_INTERVAL"] = "60"
    run = subprocess.run(
        [sys.executable, "-m", "app", "reconcile", "--day", "today", "--format", "json"],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return {one["contract"]: one for one in json.loads(run.stdout)["contracts"]}


def lasted(finding: dict[str, Any]) -> float:
    """Seconds between a finding's begin and end."""
    return (datetime.fromisoformat(finding["end"]) - datetime.fromisoformat(finding["start"])).total_seconds()


def judge(done: dict[str, Any], said: dict[str, str], told: dict[str, Any]) -> list[str]:
    """What was not named."""
    wrong = []

    def expect(what: str, named: bool) -> None:
        print(f"  {'named    ' if named else 'NOT NAMED'}  {what}")
        if not named:
            wrong.append(what)

    def found(contract: str, kind: str) -> list[dict[str, Any]]:
        return [one for one in told[contract]["findings"] if one["kind"] == kind]

    page = said["applications_submitted"]
    for contract in CONTRACTS:
        for one in told[contract]["findings"]:
            print(f"  {contract}: {one['sentence']}")
    for contract in ("credits_disbursed", "credits_disbursed_mxn"):
        rows = [id for one in found(contract, "row_without_metric") for id in one["rows"]]
        expect(f"{contract}: the credit past the path, by its id", rows == [CREDIT])
        named = "Row without metric" in said[contract] and f"It is exactly {CREDIT}." in said[contract]
        expect(f"{contract}: and on the page", named)
    resets = found("applications_submitted", "counter_reset")
    expect(
        "the restart, and its lost applications",
        bool(resets) and set(done["lost"]) <= {id for one in resets for id in one["rows"]} and "began anew" in page,
    )
    gaps = [one for one in found("applications_submitted", "scrape_gap") if lasted(one) >= GAP - SCRAPE]
    expect("three minutes without a scrape", bool(gaps) and "Scrape gap" in page)
    missing = found("applications_submitted", "replica_missing")
    expect(
        "the second backend, not scraped",
        any(one["instances"] == ["backend-2"] for one in missing)
        and set(done["missed"]) <= {id for one in missing for id in one["rows"]}
        and "backend-2 counted and was not scraped" in page,
    )
    twice = found("applications_submitted", "counted_twice")
    expect(
        "the first backend under two names",
        any(set(one["instances"]) == {"backend-1", "backend-1-again"} for one in twice)
        and "are one process under two names" in page,
    )
    return wrong


def main() -> int:
    """The command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_faults")
    parser.add_argument("--dir", type=Path, default=ROOT / ".planted-faults", help="the demo's folder, made anew")
    parser.add_argument("--scale", type=float, default=0.1, help="size of the company (DEMO_SCALE)")
    parser.add_argument("--shots", type=Path, help="where the pictures of the page go (else into the folder)")
    chosen = parser.parse_args()
    folder = chosen.dir.resolve()
    company = Company(folder, chosen.scale)
    try:
        say(f"the demo runs on {company.told['url']}")
        done = happen(company)
        print(json.dumps({**done, "at": datetime.now(UTC).isoformat(timespec="seconds")}))
        said, told = look(company, chosen.shots or folder / "shots"), report(company)
        (folder / "named.json").write_text(json.dumps({"page": said, "report": told}, indent=1))
        return 1 if judge(done, said, told) else 0
    finally:
        company.end()


if __name__ == "__main__":
    sys.exit(main())
