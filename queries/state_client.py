"""Asks Mirador's own database (schema `mirador`), read-only and bounded as the ledger is asked."""

from __future__ import annotations

from typing import Any

import pandas as pd

from queries.errors import SourceError
from queries.ledger_client import LedgerClient
from queries.library import Query


class StateClient(LedgerClient):
    """The ledger's client on the state database; writing is the host's business (`app/state.py`)."""

    def run(self, query: Query, params: dict[str, Any]) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
        """Ask once and give (frame, the statement with its parameters filled in, no warnings). Raises SourceError."""
        try:
            return super().run(query, params)
        except SourceError as error:
            raise self.told(error) from error

    def ping(self) -> float:
        """Seconds that the smallest question takes. Raises SourceError."""
        try:
            return super().ping()
        except SourceError as error:
            raise self.told(error) from error

    @staticmethod
    def told(error: SourceError) -> SourceError:
        """The ledger's error in the words of the state database."""
        sentence = {
            "down": "The state database cannot be reached.",
            "timeout": "The state database has not answered in time.",
            "refused": "The state database lacks a table or a right that this needs: run python -m app migrate.",
        }.get(error.kind, error.sentence)
        return SourceError(sentence, kind=error.kind, source="state", query=error.query)
