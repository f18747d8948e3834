"""The pages in a real browser: charts are drawn, tables sort, nothing is asked of a network, narrow screens fit."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zoo.report.catalogue import report_catalogue
from zoo.report.write import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]

# What a person would do, as a script at the end of the page; its findings become the page's title.
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const table = document.querySelector("table.sortable"), at = HEAD;
  const cells = () => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[at].textContent));
  const button = table.querySelectorAll("th button")[at];
  button.click(); const up = cells(); button.click(); const down = cells();
  const sorted = (a, sign) => a.every((v, i) => i === 0 || sign * (v - a[i - 1]) >= 0);
  document.title = JSON.stringify({
    charts: document.querySelectorAll(".chart svg, .chart canvas").length, want: charts.length,
    sorts: sorted(up, 1) && sorted(down, -1), rows: up.length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    asked: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length,
  });
}, 1500));
</script></html>"""


def seen(page: Path, width_px: int, column: int, *, dark: bool = False) -> tuple[str, str]:
    """The probe's findings, and what the browser said on its console."""
    probed = page.with_name(f"probed-{width_px}.html")
    before = page.read_text("utf-8").rpartition("</html>")[0]
    probed.write_text(before + PROBE.replace("HEAD", str(column)), "utf-8")
    how = ["--headless=new", "--disable-gpu", "--virtual-time-budget=8000", "--enable-logging=stderr", "--v=0"]
    how += ["--no-sandbox"] if os.geteuid() == 0 else []
    how += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [str(BROWSER), *how, f"--window-size={width_px},900", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return title[1] if title else "", "\n".join(console)


@pytest.mark.parametrize(("width_px", "dark"), [(500, False), (1400, True)])
def test_a_package_s_page_works(pristine: Path, tmp_path: Path, width_px: int, dark: bool) -> None:
    page = report(pristine, pristine, out=tmp_path / "page.html")
    title, console = seen(page, width_px, 4, dark=dark)
    assert console == ""
    check(title, width_px)


def test_the_catalogue_s_page_works(tmp_path: Path) -> None:
    title, console = seen(report_catalogue(tmp_path / "zoo.html"), 1400, 3)
    assert console == ""
    check(title, 1400)


def check(title: str, width_px: int) -> None:
    found = json.loads(title.replace("&quot;", '"'))
    assert found["charts"] == found["want"] > 0
    assert found["sorts"] and found["rows"] > 1
    assert found["asked"] == 0
    assert found["wide"] <= 0, f"{found['wide']} px too wide at {width_px} px"
