"""How long until it answers? ``import zoo`` in a fresh process; with a PACKAGE, ``zoo.get`` of it in a warm one and
``zoo list``, the whole program, with 200 packages in the cache.

python benchmarks/startup.py [PACKAGE]
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def fresh_import_s() -> float:
    """Seconds that the import itself takes, the interpreter's own start taken off."""
    code = "import time; t = time.perf_counter(); import zoo; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def list_s(package: Path, home: Path) -> float:
    """Seconds that ``zoo list`` takes where ``home`` holds 200 links to the package."""
    for i in range(200):
        (folder := home / "packages" / f"{package.name}-{i:08x}").mkdir(parents=True)
        (folder / "config.json").symlink_to(package.resolve() / "config.json")
    times = []
    for _ in range(5):
        started = time.perf_counter()
        listed = subprocess.run(
            [sys.executable, "-m", "zoo", "list", "--json"],
            env={**os.environ, "ZOO_HOME": str(home)},
            capture_output=True,
        )
        times.append(time.perf_counter() - started)
    assert sum(line["source"] == "package" for line in json.loads(listed.stdout)) == 200
    return statistics.median(times)


def main() -> None:
    imports = [fresh_import_s() for _ in range(5)]
    result = {"import_zoo_s": round(statistics.median(imports), 3)}
    if len(sys.argv) > 1:
        import zoo

        zoo.get(sys.argv[1])
        times = []
        for _ in range(5):
            started = time.perf_counter()
            zoo.get(sys.argv[1])
            times.append(time.perf_counter() - started)
        result["zoo_get_warm_s"] = round(statistics.median(times), 3)
        home = Path(tempfile.mkdtemp())
        result["zoo_list_200_s"] = round(list_s(Path(sys.argv[1]), home), 3)
        shutil.rmtree(home)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
