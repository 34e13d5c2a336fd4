"""The host: login, navigation, HTTP routes, settings and the shell around the rooms in `pages/`.

    python -m app serve     the dashboard and its routes (/healthz, /readyz, /metrics, /api/kpis)
    python -m app query     any number of a page, in a shell
    python -m app doctor    what is missing at the sources

Nothing imports `app` but its own tests; it imports `queries`, `components` and opens `pages`.
"""
