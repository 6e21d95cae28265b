"""Open every page of the built site in headless Chromium, at the widths of a desktop and a phone.

    make check-site

It needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

SITE = Path(__file__).parents[2] / "site"
WIDTHS = {"desktop": 1280, "phone": 390}
# A table, a column and a function: each has to be found.
WORDS = ("build_cache_registry", "total_customers_served", "get_next_build_for_worker")
CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses it to root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)

# Diagrams are drawn inside a closed shadow root; opened, they can be looked at.
OPEN_SHADOW_ROOTS = """
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (options) {
        return attach.call(this, {...options, mode: "open"});
    };
"""
DIAGRAMS = """
    return [...document.querySelectorAll(".mermaid")].map((element) => {
        const drawing = (element.shadowRoot || element).querySelector("svg");
        if (!drawing) return "not drawn";
        if (drawing.getAttribute("aria-roledescription") === "error") return "error";
        return drawing.getBoundingClientRect().width > 20 ? "drawn" : "empty";
    });
"""
OVERFLOW = """
    return document.scrollingElement.scrollWidth - window.innerWidth;
"""
LINKS = """
    return [...document.querySelectorAll("a[href]")].map((link) => link.href);
"""
OTHER_SITES = """
    return performance.getEntriesByType("resource").map((entry) => entry.name)
        .filter((name) => !name.startsWith(location.origin) && !/^(blob|data):/.test(name));
"""
# The search is a component with a shadow root, too.
SEARCH = """
    const found = [];
    const visit = (root) => root.querySelectorAll("*").forEach((element) => {
        if (root !== document && element.matches(arguments[0])) found.push(element);
        if (element.shadowRoot) visit(element.shadowRoot);
    });
    visit(document);
    return found;
"""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
        pass


class QuietServer(ThreadingHTTPServer):
    """Takes it that a browser goes to the next page before it has all of this one."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, and yield its address."""
    server = QuietServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def browser(width: int) -> Iterator[Chrome]:
    """Start a Chromium with a new profile and a window of this width."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or sys.exit(
            "Chromium is missing: apt-get install chromium"
        )
        for option in (*CHROMIUM_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = shutil.which("chromedriver") or sys.exit(
            "Its driver is missing: apt-get install chromium-driver"
        )
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            # A window can't be as narrow as a phone.
            chrome.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
            )
            chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OPEN_SHADOW_ROOTS})
            yield chrome
        finally:
            chrome.quit()


def check_page(chrome: Chrome, address: str) -> Iterator[str]:
    """Open a page and yield what is wrong with it."""
    chrome.get(address)
    WebDriverWait(chrome, 30).until(
        lambda _: chrome.execute_script("return document.readyState") == "complete"
    )
    with suppress(TimeoutException):
        WebDriverWait(chrome, 60).until(lambda _: "not drawn" not in chrome.execute_script(DIAGRAMS))
    for number, state in enumerate(chrome.execute_script(DIAGRAMS), 1):
        if state != "drawn":
            yield f"diagram {number}: {state}"
    if (overflow := chrome.execute_script(OVERFLOW)) > 0:
        yield f"is {overflow} pixels wider than the window"
    for entry in chrome.get_log("browser"):
        if entry["level"] in {"SEVERE", "WARNING"}:
            yield f"console: {entry['message']}"
    for name in chrome.execute_script(OTHER_SITES):
        yield f"loads from another site: {name}"


def check_links(links: set[str], address: str) -> Iterator[str]:
    """Yield the links within the site that lead nowhere."""
    for link in sorted({urldefrag(each).url for each in links if each.startswith(address)}):
        try:
            urllib.request.urlopen(link, timeout=30).close()  # of our own server
        except urllib.error.HTTPError as error:
            yield f"{link}: {error.code}"


def check_search(chrome: Chrome, address: str, word: str) -> Iterator[str]:
    """Search for a word, and yield what is wrong with what is found."""
    chrome.get(address)
    wait = WebDriverWait(chrome, 30)
    try:
        wait.until(lambda _: chrome.execute_script("return document.readyState") == "complete")
        chrome.execute_script("document.querySelector('.md-search__button').click()")
        field = wait.until(lambda _: chrome.execute_script(SEARCH, "input[type=text]"))[0]
        field.send_keys(word)
        # A page that is found is opened with the word marked.
        found = wait.until(lambda _: chrome.execute_script(SEARCH, f"a[href*='h={word}']"))
    except TimeoutException:
        yield f"search for {word}: nothing is found"
        return
    first = found[0].get_attribute("href").removeprefix(address)
    sys.stdout.write(f"search for {word}: {len(found)} results, the first is {first}\n")


def main() -> None:
    """Check the site; end with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of each page at each width")
    options = parser.parse_args()
    pages = sorted(path.relative_to(SITE) for path in SITE.rglob("*.html"))
    if not pages:
        sys.exit("There is no site. First run: make docs")
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    wrong, links, diagrams = [], set(), 0
    with served(SITE) as address:
        for device, width in WIDTHS.items():
            with browser(width) as chrome:
                for page in pages:
                    location = address + page.as_posix().removesuffix("index.html")
                    wrong += [f"{device}: {page}: {each}" for each in check_page(chrome, location)]
                    links |= set(chrome.execute_script(LINKS))
                    diagrams += chrome.execute_script(DIAGRAMS).count("drawn")
                    if options.screenshots:
                        name = page.as_posix().replace("/", "-").removesuffix(".html")
                        chrome.save_screenshot(str(options.screenshots / f"{name}-{device}.png"))
                wrong += [
                    f"{device}: {each}" for word in WORDS for each in check_search(chrome, address, word)
                ]
                if options.screenshots:
                    chrome.save_screenshot(str(options.screenshots / f"search-{device}.png"))
        wrong += check_links(links, address)
    for each in wrong:
        sys.stdout.write(f"wrong: {each}\n")
    sys.stdout.write(f"{len(pages)} pages at {len(WIDTHS)} widths, {diagrams} diagrams, {len(wrong)} wrong\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
