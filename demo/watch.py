"""The configuration of `monitoring/` for this machine: the same rules, routes and receivers, other addresses.

Only addresses and the paths of secrets are replaced, so that what the demo and the tests run is what a company runs.
Jobs whose exporters do not exist here are left out, for their alerts would tell of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

MONITORING = Path(__file__).resolve().parent.parent / "monitoring"


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))
    return found


def prometheus_config(
    *,
    targets: Mapping[str, str],
    mirador_url: str,
    token_file: Path,
    alertmanager: str | None = None,
    blackbox: str | None = None,
    probes: Mapping[str, str] | None = None,
    interval: str | None = None,
) -> str:
    """`monitoring/prometheus.yml` as YAML.

    `targets` gives the address (host:port) of each scrape job that exists; `probes` the address of each component that
    the blackbox exporter at `blackbox` can ask. `interval` replaces the scrape and evaluation intervals.
    """
    config = _read("prometheus.yml")
    config["global"]["external_labels"]["mirador_url"] = mirador_url
    config["rule_files"] = [str(MONITORING / "rules" / "*.yml")]
    if alertmanager:
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    else:
        del config["alerting"]["alertmanagers"]
    jobs = []
    for job in config["scrape_configs"]:
        name = job["job_name"]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(token_file)
        if name == "status-probes" and blackbox:
            job["static_configs"] = [
                _probed(asked, probes[asked["labels"]["component"]])
                for asked in job["static_configs"]
                if probes and asked["labels"]["component"] in probes
            ]
            job["relabel_configs"][-1]["replacement"] = blackbox
            jobs.append(job)
        elif name in targets:
            # A fixed name, whatever the port: the backfilled history carries the same one.
            instance = {"conductores-backend": "backend-1"}.get(name, f"{name}-1")
            job["static_configs"] = [{"targets": [targets[name]], "labels": {"instance": instance}}]
            jobs.append(job)
    config["scrape_configs"] = jobs
    if interval:
        config["global"] |= {"scrape_interval": interval, "evaluation_interval": interval}
        for job in jobs:
            job.pop("scrape_interval", None)
            job["scrape_timeout"] = interval
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _probed(asked: dict[str, Any], address: str) -> dict[str, Any]:
    """A component's probe at another address; what stands for an outside service here answers without TLS."""
    labels = asked["labels"] | ({"module": "http_2xx"} if address.startswith("http://") else {})
    return {"targets": [address], "labels": labels}


def alertmanager_config(*, mirador: str, inbox: str, secrets: Path, hook_token: str) -> str:
    """`monitoring/alertmanager.yml` as YAML, and its secret files written to the folder `secrets`.

    `mirador` and `inbox` are base URLs; the inbox stands for Slack and PagerDuty (see `demo.inbox`).
    """
    config = _read("alertmanager.yml")
    config["global"]["pagerduty_url"] = f"{inbox}/pagerduty"
    secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = {
        "mirador_hook_token": hook_token,
        "pagerduty_routing_key": "0" * 32,
        "slack_alerts_url": f"{inbox}/slack/conductores-alerts",
        "slack_warnings_url": f"{inbox}/slack/conductores-warnings",
    }
    for name, text in kept.items():
        path = secrets / name
        path.touch(mode=0o600)
        path.write_text(text)
    _replace(config, secrets, mirador)
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _replace(node: Any, secrets: Path, mirador: str) -> None:
    """Each `*_file` to the folder of secrets, each address of Mirador to the one that answers here."""
    if isinstance(node, list):
        for item in node:
            _replace(item, secrets, mirador)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key.endswith("_file"):
            node[key] = str(secrets / Path(value).name)
        elif key == "url" and urlsplit(str(value)).hostname == "mirador":
            node[key] = f"{mirador}{urlsplit(value).path}"
        else:
            _replace(value, secrets, mirador)
