"""The pages in a real browser: charts are drawn, tables sort, nothing is asked of a network, narrow screens fit."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zoo.report.write import report, report_catalogue

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

# What a person would do, as a script at the end of the page; its findings go to the frame that shows the page.
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const table = document.querySelector("table.sortable"), at = HEAD;
  const cells = () => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[at].textContent));
  const button = table.querySelectorAll("th button")[at];
  button.click(); const up = cells(); button.click(); const down = cells();
  const sorted = (a, sign) => a.every((v, i) => i === 0 || sign * (v - a[i - 1]) >= 0);
  const width = document.documentElement.clientWidth;
  const cut = [...document.querySelectorAll("h1, h2, h3, p, li, .tile, .chart, .chart svg, .chart canvas, pre")]
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > width + 1).map(e => e.tagName);
  parent.postMessage(JSON.stringify({
    charts: document.querySelectorAll(".chart svg, .chart canvas").length, want: charts.length,
    sorts: sorted(up, 1) && sorted(down, -1), rows: up.length, width, cut,
    wide: document.documentElement.scrollWidth - width,
    background: getComputedStyle(document.body).backgroundColor,
    asked: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length,
  }), "*");
}, 1500));
</script></html>"""
# Chromium's own window is never narrower than 500 px; a frame is.
FRAME = """<!doctype html><title>nothing</title><body style="margin:0">
<iframe src="PAGE" width="WIDTH" height="900" style="border:0"></iframe>
<script>addEventListener("message", event => { document.title = event.data; });</script>"""


def seen(page: Path, width_px: int, column: int, *, dark: bool) -> dict[str, object]:
    """The probe's findings; whatever the browser has to complain of fails the test."""
    probed, frame = page.with_name("probed.html"), page.with_name("frame.html")
    before = page.read_text("utf-8").rpartition("</html>")[0]
    probed.write_text(before + PROBE.replace("HEAD", str(column)), "utf-8")
    frame.write_text(FRAME.replace("PAGE", probed.name).replace("WIDTH", str(width_px)))
    how = [
        "--headless=new",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=8000",
        "--enable-logging=stderr",
        "--v=0",
    ]
    how += ["--no-sandbox"] if os.geteuid() == 0 else []
    how += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [str(BROWSER), *how, f"--window-size={max(width_px, 500)},900", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None and title[1] != "nothing", "the page's script did not come to its end"
    return json.loads(title[1].replace("&quot;", '"'))


def check(found: dict[str, object], width_px: int, dark: bool) -> None:
    assert found["charts"] == found["want"] and found["charts"] != 0
    assert found["sorts"] and found["rows"] != 1
    assert found["asked"] == 0
    assert found["width"] == width_px
    assert found["wide"] == 0 and found["cut"] == [], "wider than the screen"
    assert found["background"] == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width_px", [400, 1400])
def test_a_page_of_packages_works(pristine: Path, tmp_path: Path, width_px: int, dark: bool) -> None:
    page = report(pristine, pristine, out=tmp_path / "page.html")
    check(seen(page, width_px, 2, dark=dark), width_px, dark)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width_px", [400, 1400])
def test_the_catalogue_s_page_works(tmp_path: Path, width_px: int, dark: bool) -> None:
    check(seen(report_catalogue(tmp_path / "zoo.html"), width_px, 3, dark=dark), width_px, dark)
