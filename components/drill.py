"""From a mark of a chart to the rows behind it: a click opens them below the picture, in the same panel.

    bar(frame, ..., drill=Drill("rows/decisions", {"first": first, "last": last}, by={"tier": "tier"}, count="n"))

The rows come through a hook that the host sets (`on_rows`): the looks know no source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Drill:
    """How a click on a mark finds the rows behind it.

    `query` names a list of rows (`rows/...`), `params` are what all marks share: the period, the filters. A parameter
    that the query does not know is an error, not ignored: rows would come that nobody clicked. `by` says, for each
    parameter that the mark decides, the column of the drawn frame that holds its value: {"tier": "tier"}; for a day
    {"first": "day", "last": "day"}; for a week or month the columns with its first and last day, which the frame
    carries. A null in the frame is bound as '' (none). A list parameter takes the value as its only item.

    `count` is the column with the number of rows that the mark stands for; without it the rows alone are counted.
    `title` names what is counted, by default the query's own title. `sort` is a column that the query's head offers,
    for another order than its first.
    """

    query: str
    params: Mapping[str, Any] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    count: str | None = None
    title: str | None = None
    sort: str | None = None
