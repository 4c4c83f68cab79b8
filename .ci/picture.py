"""Makes docs/images/overview.png again: the first page of `vtsync web` after a demo, in Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "overview.png"
COMMAND = Path(sys.executable).with_name("vtsync")
WIDTH, HEIGHT = 1280, 860
SWITCHES = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --hide-scrollbars
""".split()
OFFER = re.compile(r"VTSYNC_CONFIG=(\S+) \S*vtsync web --port (\d+)\n.*?name (\S+), password (\S+)", re.DOTALL)


def main() -> None:
    """Run a demo, show what it has kept, and take the picture."""
    said = subprocess.run([COMMAND, "demo", "--keep"], check=True, capture_output=True, text=True).stdout
    offered = OFFER.search(said)
    if offered is None:
        raise SystemExit(f"the demo offers no pages:\n{said}")
    configuration, port, name, password = offered.groups()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, Path(configuration).parent, ignore_errors=True)
        for process in (["up"], ["web", "--port", port]):
            started = subprocess.Popen(
                [COMMAND, *process], env=os.environ | {"VTSYNC_CONFIG": configuration}, stderr=subprocess.DEVNULL
            )
            stack.callback(started.wait)
            stack.callback(started.terminate)
        wait_for(f"http://127.0.0.1:{port}/health/live")
        take(f"http://127.0.0.1:{port}/", name, password)


def wait_for(address: str) -> None:
    """Wait until the server answers."""
    for _ in range(60):
        try:
            requests.get(address, timeout=2).raise_for_status()
        except requests.RequestException:
            time.sleep(0.5)
        else:
            return
    raise SystemExit(f"{address} does not answer")


def take(address: str, name: str, password: str) -> None:
    """Sign in and write the picture."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for switch in (*SWITCHES, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(switch)
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            browser.get(address)
            browser.find_element(By.NAME, "name").send_keys(name)
            browser.find_element(By.NAME, "password").send_keys(password)
            browser.find_element(By.CSS_SELECTOR, "main button").click()
            time.sleep(12)  # the worker and the scheduler report, and the page reads itself again
            PICTURE.parent.mkdir(exist_ok=True)
            browser.save_screenshot(str(PICTURE))
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
