"""Catalogue: what does this number mean? Every KPI and every named query, as they are defined."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import queries
from components import _, language, quantity

UNITS = {"count": _("count"), "mxn": "MXN", "share": "%", "score": _("points"), "seconds": "s"}
GOOD = {"up": _("higher is better"), "down": _("lower is better"), "none": _("neither")}

st.title(_("Catalogue"), anchor=False)
st.caption(_("Each number is defined once; every page, the API and the shell read it here."))

kpis, named = st.tabs([_("KPIs"), _("Queries")])

with kpis:
    for kpi in queries.catalogue().values():
        with st.container(border=True):
            st.markdown(f"**{kpi.label.in_language(language())}** · `{kpi.name}`")
            st.markdown(kpi.definition.in_language(language()))
            facts = [_("Unit: {unit}").format(unit=UNITS[kpi.unit]), GOOD[kpi.better]]
            if kpi.target is not None:
                facts.append(_("Target {target}").format(target=quantity(kpi.target, kpi.unit)))
            if kpi.query:
                measure = f"{kpi.numerator} / {kpi.denominator}" if kpi.denominator else str(kpi.numerator)
                facts.append(_("Ledger: {query}, {measure}").format(query=f"`{kpi.query}`", measure=f"`{measure}`"))
            if kpi.metric:
                facts.append(_("Metrics: {query}").format(query=f"`{kpi.metric}`"))
            st.caption(" · ".join(facts))

with named:
    every = queries.load_queries()
    st.dataframe(
        pd.DataFrame(
            [
                (
                    query.name,
                    "PromQL" if query.source == "metrics" else "SQL",
                    _(query.title),
                    _(query.description),
                    ", ".join(param.name for param in query.params),
                    ", ".join(f"{c.name} [{c.unit}]" if c.unit else c.name for c in query.columns),
                    query.ttl,
                )
                for query in every
            ],
            columns=[
                _("Name"),
                _("Language of the query"),
                _("Title"),
                _("Description"),
                _("Parameters"),
                _("Columns"),
                _("Fresh for (s)"),
            ],
        ),
        hide_index=True,
        alt=_("Named queries"),
    )
    st.caption(_("From a shell: {command}").format(command="`python -m app query NAME --param k=v --format csv`"))
