"""What a page shows of a reconciliation: pure functions from results to frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from queries.reconcile import Result
from queries.reconcile_model import EXPLAINED
from queries.sources import Answer

# A curve of more bins than this is a thicket.
MOST_BINS = 150
WIDTHS = (1, 2, 5, 10, 15, 30)
# Where the rows that a finding points to are read by their ids, by the key of the contract's rows.
ROWS = {
    "application_id": "reconciliation/applications",
    "credit_id": "reconciliation/credits",
    "payment_id": "reconciliation/payments",
    "installment_id": "reconciliation/installments",
    "score_id": "reconciliation/scores",
    "call_id": "reconciliation/calls",
}


def stamp(result: Result) -> Answer | None:
    """One stamp for both sides: the older moment, both questions as run, and whatever either source had to say."""
    return _merged([answer for answer in (result.ledger_answer, result.metric_answer) if answer is not None])


def _merged(answers: Sequence[Answer]) -> Answer | None:
    if not answers:
        return None
    oldest = min(answers, key=lambda answer: answer.as_of)
    texts = [f"-- {answer.source}: {answer.name}\n{answer.text.strip()}" for answer in answers]
    return replace(
        answers[0],
        as_of=oldest.as_of,
        text="\n\n".join(texts),
        cached=all(answer.cached for answer in answers),
        stale=any(answer.stale for answer in answers),
        error=next((answer.error for answer in answers if answer.error), None),
        warnings=tuple(dict.fromkeys(words for answer in answers for words in answer.warnings)),
    )


def overview(results: Mapping[str, Result], trends: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a contract, what differs first.

    Columns: contract, state, unit, ledger, metric, difference, low, high (in the unit; null where unknown), findings
    (count), trend (list of the differences of the days before that are known). `attrs["answer"]` as of `stamp`.
    """
    order = {"differs": 0, "unknown": 1, "explained": 2, "agrees": 3}
    rows = []
    for name, one in results.items():
        trend = trends.get(name)
        rows.append(
            {
                "contract": name,
                "state": one.state,
                "unit": one.contract.unit,
                "ledger": one.ledger,
                "metric": one.metric,
                "difference": one.difference,
                "low": one.low,
                "high": one.high,
                "findings": len(one.findings),
                "trend": [] if trend is None else (trend["difference"].dropna().round(2) + 0.0).tolist(),
            }
        )
    # Stable: of a state in the order of the file.
    rows.sort(key=lambda row: order[str(row["state"])])
    frame = pd.DataFrame(rows)
    stamps = [answer for one in results.values() if (answer := stamp(one)) is not None]
    if stamps:
        frame.attrs["answer"] = min(stamps, key=lambda answer: answer.as_of)
    return frame


def minutes(result: Result) -> pd.DataFrame:
    """Both sides, or the one that is known, minute by minute.

    Columns: minute (configured zone), source (ledger or metrics), value in the unit.
    """
    curve = result.curve
    parts = [
        pd.DataFrame({"minute": curve["minute"], "source": source, "value": curve[column]})
        for source, column in (("ledger", "ledger"), ("metrics", "metric"))
        if curve[column].notna().any()
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs["answer"] = stamp(result)
    return frame


def whole_days(trend: pd.DataFrame) -> pd.DataFrame:
    """Of differences by day those that are known whole: the day on which the metrics begin is not."""
    known = trend["metric"].notna().to_numpy()
    begins = int(known.argmax()) if known.any() else len(trend)
    return trend.iloc[begins + 1 :] if begins > 0 else trend.iloc[1:]


def in_bins(curves: pd.DataFrame, *, state: bool) -> tuple[pd.DataFrame, int]:
    """Both sides in as many bins as can be told apart, and the minutes of one; a state is left minute by minute."""
    span = curves["minute"].max() - curves["minute"].min() if len(curves) else pd.Timedelta(0)
    width = next((n for n in WIDTHS if span / pd.Timedelta(minutes=n) <= MOST_BINS), WIDTHS[-1])
    if width == 1 or state:
        return curves, 1
    grouped = curves.assign(minute=curves["minute"].dt.floor(f"{width}min")).groupby(["source", "minute"], sort=True)
    frame = grouped["value"].sum().reset_index()
    frame.attrs = dict(curves.attrs)
    return frame, width


def difference(result: Result) -> pd.DataFrame:
    """The difference since the start, and where it is expected, minute by minute.

    Columns: minute, difference, low, high. Between two scrapes a counter is known only to lie between their values:
    that is the width of the band. What was explained, such as a reset's loss, moves the band along from when it arose.
    """
    curve = result.curve
    moved = np.zeros(len(curve))
    for finding in result.findings:
        if finding.kind in EXPLAINED:
            moved += np.where(curve["minute"] + pd.Timedelta(minutes=1) >= finding.end, finding.amount, 0.0)
    frame = pd.DataFrame(
        {
            "minute": curve["minute"],
            "difference": curve["difference"],
            "low": moved - curve["high"].clip(lower=0.0),
            "high": moved - curve["low"].clip(upper=0.0),
        }
    )
    frame.attrs["answer"] = stamp(result)
    return frame


def happenings(result: Result) -> pd.DataFrame:
    """What is drawn in a curve: kind (counter_reset, scrape_gap or finding), finding (place in the findings; -1 for a
    process that began anew or came or went without a loss), instance, starts_at, ends_at (aware)."""
    rows = []
    for place, one in enumerate(result.findings):
        kind = one.kind if one.kind in {"counter_reset", "scrape_gap"} else "finding"
        rows.append((kind, place, ", ".join(one.instances), one.start, one.end))
    frame = pd.DataFrame(rows, columns=["kind", "finding", "instance", "starts_at", "ends_at"])
    zone = result.start.tzinfo
    for name in ("starts_at", "ends_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_convert(zone)
    return frame


def parts(result: Result) -> pd.DataFrame:
    """A row a combination of labels, the largest difference first: the ledger's label columns, ledger, metric,
    difference, low, high (null where one side is not known)."""
    frame = result.parts
    if not len(frame):
        return frame
    frame = frame[(frame["ledger"].fillna(0) != 0) | (frame["metric"].fillna(0) != 0)]
    # Where one side alone is known, the largest of its numbers first.
    sizes = frame["difference"].fillna(frame["ledger"]).fillna(frame["metric"]).abs()
    frame = frame.iloc[np.argsort(-sizes.to_numpy(), kind="stable")].reset_index(drop=True)
    frame.attrs["answer"] = stamp(result)
    return frame


def rows_of(result: Result, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the class of the finding that points to each, in front (column finding); the largest decides."""
    key = result.contract.ledger.key
    kinds: dict[str, str] = {}
    for one in sorted(result.findings, key=lambda one: (not one.certain, -one.size)):
        for id in one.rows:
            kinds.setdefault(id, one.kind)
    frame = rows.copy(deep=False)
    frame.insert(0, "finding", [kinds[str(id)] for id in frame[key]])
    frame.attrs = dict(rows.attrs)
    return frame


def around(result: Result, place: int) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The minutes around a finding: half an hour on either side, within the window."""
    one = result.findings[place]
    reach = pd.Timedelta(minutes=30)
    first = max(pd.Timestamp(one.start) - reach, pd.Timestamp(result.start))
    last = min(pd.Timestamp(one.end) + reach, pd.Timestamp(result.end))
    return first.tz_convert(result.start.tzinfo), last.tz_convert(result.start.tzinfo)
