"""Makes the digits sweep's report and takes pictures of its page in Chromium: docs/page_light.png, docs/page_dark.png.

    python benchmarks/page_pictures.py runs/digits_mlp

benchmarks/readme_figures.py says how the sweep is run. The page names the folder as it is given here.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from reports import write_report

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH = 1280
"""Of the window, in pixels."""


def take(page: Path, *, browser: Browser, dark: bool, out: Path) -> None:
    """The top of the page, down to the signs below the figure, as a picture in `out`."""
    window = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="dark" if dark else "light")
    window.goto(page.resolve().as_uri())
    signs = window.locator(".signs").bounding_box()
    assert signs is not None
    height = signs["y"] + signs["height"] + 4
    window.screenshot(path=out, clip={"x": 0, "y": 0, "width": WIDTH, "height": height}, full_page=True)
    window.close()


def main() -> None:
    """Takes both pictures of the sweep in the folder that is named."""
    folder = Path(sys.argv[1])
    write_report(folder)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium)
        for name in ("light", "dark"):
            take(folder / "report" / "index.html", browser=browser, dark=name == "dark", out=DOCS / f"page_{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
