"""The one error that leaves `queries`: a sentence for the person who reads it."""

from __future__ import annotations

from typing import Literal

Kind = Literal["not_configured", "down", "timeout", "refused", "bad_parameter", "unknown_query", "too_large"]


class SourceError(Exception):
    """A question that could not be answered.

    `sentence` is what a person may read: it holds no secret, no SQL and no stack. `kind` tells a program what
    happened, `source` names whom was asked ("ledger", "metrics") or is None when nobody was.
    """

    def __init__(self, sentence: str, *, kind: Kind, source: str | None = None, query: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.kind: Kind = kind
        self.source = source
        self.query = query
