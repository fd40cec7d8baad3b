"""A browser that notices every fault of a page: errors in its console, failed and refused requests."""

import contextlib
import os
import pathlib

from playwright.sync_api import expect, sync_playwright

# Debian's package; the tests bring no browser of their own.
CHROMIUM = "/usr/bin/chromium"

# CI machines stall.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "images"
IMAGE_BYTES_MAX = 300_000


class Visit:
    """One page of the console, and what went wrong on it."""

    def __init__(self, page, base, refusals):
        self.page = page
        self.base = base
        self.refusals = refusals
        self.faults = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _said(self, message):
        # Chromium says of each refused request what `_answered` judges.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def _failed(self, request):
        # A page that is left drops what it has not got yet.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"request: {request.url}: {request.failure}")

    def _answered(self, response):
        if response.status >= 400 and response.status not in self.refusals:
            asked = response.request.post_data
            self.faults.append(f"status {response.status}: {response.url} {asked}")

    def open(self, route):
        """Goes to a page and waits until all of it is there."""
        self.page.goto(f"{self.base}/console/{route}")
        self.settle()

    def settle(self):
        """Waits until nothing is loading."""
        expect(self.page.locator("h1")).to_be_visible()
        expect(self.page.locator(".waiting")).to_have_count(0)

    def check(self):
        """Fails if anything went wrong so far."""
        assert not self.faults, "\n".join(self.faults)

    def fits(self):
        """Fails if the page is wider than its window."""
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window, f"{self.page.url}: {wide} pixels in a window of {window}"

    def figure(self, label):
        """The value above a label, as a number."""
        found = self.page.locator(".figure", has=self.page.get_by_text(label, exact=True))
        text = found.locator("dd").first.evaluate("dd => dd.firstChild.textContent")
        return int(text.replace(",", ""))

    def picture(self, name, whole=False):
        """Keeps a picture for the documents, where that is asked for."""
        if os.environ.get("UPDATE_SCREENSHOTS") != "1":
            return
        IMAGES.mkdir(parents=True, exist_ok=True)
        path = IMAGES / f"{name}.png"
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, full_page=whole)
        size = path.stat().st_size
        assert size <= IMAGE_BYTES_MAX, f"{path} has {size} bytes"


@contextlib.contextmanager
def visit(base, scheme="light", width=1280, refusals=()):
    """A fresh browser on the console at `base`; `refusals` are the statuses that may be answered."""
    with sync_playwright() as playwright:
        # Root has no sandbox to give, and containers little shared memory.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            context = browser.new_context(
                viewport={"width": width, "height": 860}, color_scheme=scheme
            )
            seen = Visit(context.new_page(), base, set(refusals))
            yield seen
            seen.check()
        finally:
            browser.close()
