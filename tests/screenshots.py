"""`python -m tests.screenshots URL [FOLDER]`: the pages of a running dashboard as PNG, in each look.


The README's pictures are made by it (`docs/images`), so they show what runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.dashboard import chromium, viewer

DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 1000}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {**DESK, "locale": "en-US"},
    "dark": {**DESK, "locale": "en-US", "color_scheme": "dark"},
    "spanish": DESK,
    "phone": PHONE,
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}
PAGES = {"today": "/", "catalogue": "/catalogue"}


def main() -> None:
    """Take the pictures, each as tall as its page."""
    url, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2] if len(sys.argv) > 2 else "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for look, options in LOOKS.items():
            for page, path in PAGES.items():
                with viewer(browser, **options) as window:
                    window.open(url + path)
                    # Streamlit scrolls inside the page: the window is made as tall as what it holds.
                    tall = window.page.evaluate(
                        "document.querySelector('[data-testid=\"stMainBlockContainer\"]').scrollHeight"
                    )
                    window.page.set_viewport_size({"width": options["viewport"]["width"], "height": min(tall, 6000)})
                    window.page.wait_for_timeout(800)
                    target = folder / f"{page}-{look}.png"
                    window.page.screenshot(path=target)
                    print(target)


if __name__ == "__main__":
    main()
