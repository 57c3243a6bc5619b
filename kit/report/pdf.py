"""`report.pdf`: the page, printed by a Chromium or Chrome that is there already."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kit.config.errors import CasekitError, Problem

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
"""Commands that print a page without a window, in the order in which they are looked for."""
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
SECONDS = 120
"""For one page; a report of 3 MB takes some five."""


def find_browser() -> Path | None:
    """The browser that `CASEKIT_BROWSER` names, else the first of `BROWSERS` on this machine; None without.

    Raises:
        CasekitError: `CASEKIT_BROWSER` names no program.
    """
    named = os.environ.get("CASEKIT_BROWSER")
    if named:
        found = shutil.which(named)
        if found is None:
            hint = "give the path of a Chromium or Chrome, or unset it"
            raise CasekitError(Problem("CASEKIT_BROWSER", f"{named!r} is no program", hint))
        return Path(found)
    for name in (*BROWSERS, *_PLACES):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


def require_browser() -> Path:
    """As `find_browser`.

    Raises:
        CasekitError: there is no browser; it says what to install.
    """
    browser = find_browser()
    if browser is None:
        hint = (
            "install one (Debian: `apt install chromium`; macOS: `brew install --cask chromium`), or set "
            "CASEKIT_BROWSER to its path. Or print report.html from any browser: it is made for paper too"
        )
        raise CasekitError(
            Problem("--pdf", "needs Chromium or Chrome to print the page, and found neither", hint)
        )
    return browser


def browser_command(browser: Path, profile: Path) -> list[str]:
    """The browser without a window, with a profile of its own, and quiet on the network."""
    return [
        str(browser),
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--no-first-run",
        "--no-default-browser-check",
        f"--user-data-dir={profile}",
        # Chromium refuses to run as root with its sandbox, which is how containers run.
        *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]


def print_pdf(browser: Path, page: Path, pdf: Path) -> None:
    """Print an HTML file to a PDF.

    Raises:
        CasekitError: the browser fails, or takes longer than `SECONDS`.
    """
    with tempfile.TemporaryDirectory(prefix="casekit-browser-") as profile:
        command = browser_command(browser, Path(profile))
        command += ["--no-pdf-header-footer", f"--print-to-pdf={pdf.resolve()}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
            said, failed = done.stderr.strip(), done.returncode != 0
        except subprocess.TimeoutExpired:
            said, failed = f"it took longer than {SECONDS} seconds", True
        except OSError as error:
            said, failed = str(error), True
    if failed or not pdf.is_file() or not pdf.read_bytes().startswith(b"%PDF"):
        last = said.splitlines()[-1] if said else "it said nothing"
        hint = "print report.html from a browser by hand, or set CASEKIT_BROWSER to another one"
        raise CasekitError(Problem(str(browser), f"printed no PDF: {last}", hint))
