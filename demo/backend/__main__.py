"""`python -m demo.backend`: the backend alone.

DEMO_BACKEND_PORT and DEMO_LEDGER_URL say where; DEMO_SCALE, DEMO_SPEED and DEMO_TRAFFIC=on|off how busy it is.
"""

import os

import uvicorn

if __name__ == "__main__":
    uvicorn.run(
        "demo.backend.api:from_environment",
        factory=True,
        host="127.0.0.1",
        port=int(os.environ["DEMO_BACKEND_PORT"]),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
