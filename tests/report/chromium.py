"""Pages as a real browser lays them out: Chromium without a window, where this machine has one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

# A frame as wide as the screen: Chromium's own windows are never narrower than 500 pixels.
FRAME = """<body style="margin:0"><iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<output id="measured"></output><script>
onload = () => {{
  const root = document.getElementById("page").contentDocument
  const wide = [...root.querySelectorAll(".first *, h1, nav")].map(e => e.getBoundingClientRect().right)
  const found = [root.documentElement.scrollWidth, root.documentElement.clientWidth, Math.ceil(Math.max(...wide))]
  document.getElementById("measured").textContent = "measured " + found.join(" ")
}}
</script>"""


def measure(page: Path, width: int, folder: Path) -> tuple[int, int, int]:
    """(scrollWidth, clientWidth, the right edge of what is widest on the first screen) in pixels."""
    frame = folder / f"frame-{width}.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width + 100},1000",
        "--dump-dom",
        frame.as_uri(),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r"measured (\d+) (\d+) (\d+)</output>", shown)
    assert found is not None, shown[-500:]
    scroll, client, right = map(int, found.groups())
    return scroll, client, right
