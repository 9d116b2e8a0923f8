"""Pictures of the demo's report for the documentation: run after `make demo`, with a Chromium.

python docs/update_images.py [/usr/bin/chromium]
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "results/demo/report.html"
IMAGES = ROOT / "docs/images"
SIZES = {1440: 900, 1280: 800, 390: 844}


def save(picture: bytes, name: str) -> None:
    """A png with all its colours: those of the cell types must stay apart."""
    Image.open(io.BytesIO(picture)).convert("RGB").save(IMAGES / f"{name}.png", optimize=True)


def opened(page: Page, width: int) -> Page:
    """The report, ready to be used."""
    page.set_viewport_size({"width": width, "height": SIZES.get(width, 900)})
    page.goto(REPORT.as_uri())
    page.wait_for_timeout(1500)
    return page


def main() -> None:
    """Write docs/images/report_*.png."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"
    with sync_playwright() as browser:
        page = browser.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        for width in SIZES:
            save(opened(page, width).screenshot(), f"report_{width}")
        opened(page, 1440).get_by_role("button", name="Show these cells").first.click()
        page.wait_for_timeout(1000)
        save(page.screenshot(), "report_selection")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 794, "height": 1123})  # A4
        save(page.screenshot(), "report_print")


if __name__ == "__main__":
    main()
