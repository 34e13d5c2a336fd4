"""What moved, in words: the same for the Today page and for the digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from components import _, ngettext, number, quantity, value_name
from queries import Movement, Reading


def _dimensions() -> dict[str, str]:
    return {
        "tier": _("tier"),
        "reason": _("reason"),
        "method": _("method"),
        "bucket": _("days late"),
        "integration": _("integration"),
        "model": _("model"),
        "failure": _("failure"),
        "error": _("error"),
    }


def shows(moved: Movement) -> bool:
    """Whether a reader sees it: what moved by less than its number shows has not moved for him."""
    one = moved.reading
    return quantity(one.value, one.kpi.unit) != quantity(one.normal, one.kpi.unit)


def nothing_moved(readings: Sequence[Reading], silent: Collection[str]) -> str:
    """What may be said when nothing moved: of each KPI only where each could be compared."""
    compared = sum(1 for one in readings if one.state != "unknown")
    if not compared:
        return _("Nothing can be compared with normal days.")
    if silent or compared < len(readings):
        return ngettext(
            "{compared} of {kpis} KPIs can be compared, and it is within its normal band.",
            "{compared} of {kpis} KPIs can be compared, and they are within their normal band.",
            compared,
        ).format(compared=compared, kpis=len(readings) + len(silent))
    return _("Every KPI is within its normal band.")


def is_up(moved: Movement) -> bool:
    """Whether it moved upwards."""
    return float(moved.reading.value) > moved.reading.normal


def how_far(moved: Movement) -> str:
    """The day's number against its normal and the band."""
    one = moved.reading
    return _("{value} against a normal {normal} ({low} to {high}).").format(
        value=quantity(one.value, one.kpi.unit),
        normal=quantity(one.normal, one.kpi.unit),
        low=quantity(one.low, one.kpi.unit),
        high=quantity(one.high, one.kpi.unit),
    )


def cause(moved: Movement, *, strong: Callable[[str], str] = str) -> str:
    """The segment that makes up most of it, or nothing; `strong` marks its name."""
    if moved.segment is None or moved.dimension is None:
        return ""
    unit = moved.reading.kpi.unit
    change = (
        f"{moved.contribution * 100:+.1f} {_('pp')}"
        if unit == "share"
        else f"{'+' if moved.contribution > 0 else ''}{quantity(moved.contribution, unit, short=True)}"
    )
    return _("Most of it from {dimension} {segment} ({change}): {value}, normally {normal}.").format(
        dimension=_dimensions().get(moved.dimension, moved.dimension),
        segment=strong(value_name(moved.segment)),
        change=change,
        value=_plain(moved.segment_value, unit),
        normal=_plain(moved.segment_normal, unit),
    )


def _plain(value: float, unit: str) -> str:
    # A mean of days is no whole number; among hundreds its fraction says nothing.
    broken = unit == "count" and value < 100 and not float(value).is_integer()
    return number(value, 1) if broken else quantity(value, unit)
