"""The simulated company of `make demo`: real servers, a backend with traffic, and two years of history.

Nothing imports it but the tests: the dashboard meets it only through PostgreSQL and HTTP.
"""
