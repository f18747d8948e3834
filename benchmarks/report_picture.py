"""The picture at the top of README: the first screen of a package's page, as Chromium shows it.

python benchmarks/report_picture.py my-model docs/pictures/report.png
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from zoo.report.write import report

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("package", type=Path)
parser.add_argument("out", type=Path)
args = parser.parse_args()
browser = shutil.which("chromium") or shutil.which("google-chrome")
if browser is None:
    parser.error("no Chromium here; install one")
with tempfile.TemporaryDirectory() as scratch:
    page = report(args.package, out=Path(scratch, "report.html"))
    how = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
    command = [browser, *how, "--window-size=1000,1000", f"--screenshot={args.out.resolve()}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
