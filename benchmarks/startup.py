"""How long until it answers? ``import zoo`` in a fresh process, and ``zoo.get`` of a package in a warm one.

python benchmarks/startup.py [PACKAGE]
"""

import json
import statistics
import subprocess
import sys
import time


def fresh_import_s() -> float:
    """Seconds that the import itself takes, the interpreter's own start taken off."""
    code = "import time; t = time.perf_counter(); import zoo; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


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
    print(json.dumps(result))


if __name__ == "__main__":
    main()
