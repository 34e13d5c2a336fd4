"""The tests, and the programs that look at the dashboard from outside: `tests.bench`, `tests.screenshots`."""
