"""Make the pictures of the browser page: ``python -m benchmarks.readme.browser``.

They show the shipped artifact in Chromium, after 3,000 cells. Pictures go to ``docs/pictures``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.speed.browser import served
from vaexprs import write_site

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
#: Name, width and height in pixels, colour scheme.
VIEWS = (("browser", 1120, 760, "light"), ("browser_phone", 390, 844, "dark"))


def main() -> None:
    """Write a page, generate, take pictures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = write_site("pbmc_ifnb", Path(folder) / "site")
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with served(site) as address:
            for name, width, height, scheme in VIEWS:
                page = chromium.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                page.goto(address)
                page.click("#generate:enabled")
                page.wait_for_selector('#status:has-text("cells were made")')
                if width < height:
                    page.locator("#picture").scroll_into_view_if_needed()
                    page.evaluate("document.getElementById('picture').scrollIntoView()")
                page.screenshot(path=PICTURES / f"{name}.png")
                print(PICTURES / f"{name}.png")
        chromium.close()


if __name__ == "__main__":
    main()
