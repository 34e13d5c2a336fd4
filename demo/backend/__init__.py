"""The backend of the simulated company: it takes applications, scores, decides, disburses and collects.

`metrics` defines what it exports, `ledger` records each event (row first, then metric), `integrations` stands in for
the outside services, `api` is the HTTP side, and `traffic` the customers and staff who keep it busy.
"""
