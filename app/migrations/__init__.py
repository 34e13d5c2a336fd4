"""The shape of Mirador's own database, step by step; `app/state.py` applies what is missing."""
