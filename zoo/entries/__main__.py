"""``python -m zoo.entries``: make the catalogue anew, after the bundled supernet or a table has changed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from zoo.cli_talk import Talk
from zoo.entries.cells import cell_asks
from zoo.entries.entry import ENTRIES, entries_text
from zoo.entries.make import make_entries
from zoo.entries.reference import measure_reference
from zoo.entries.wanted import WANTED
from zoo.errors import exit_code, one_line


def main() -> int:
    """Write ``entries.json`` in one step, and only when every name has an answer."""
    parser = argparse.ArgumentParser(prog="python -m zoo.entries", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=ENTRIES)
    parser.add_argument("--evaluations", type=int, default=64, help="networks scored for each name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="measure this machine as the reference device first")
    parser.add_argument("--force", action="store_true", help="measure although other work runs here")
    args = parser.parse_args()
    talk = Talk(as_json=False, quiet=False)
    try:
        with talk.progress() as progress:
            if args.measure:
                measure_reference(force=args.force, progress=progress, say=talk.say)
            asks = (*WANTED, *cell_asks())
            entries = make_entries(asks, evaluations=args.evaluations, seed=args.seed, progress=progress, say=talk.say)
        draft = args.out.with_name(f".{args.out.name}.{os.getpid()}.partial")
        draft.write_text(entries_text(entries), "utf-8", newline="\n")
        draft.replace(args.out)
    except Exception as error:
        print(f"zoo: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    print(f"{args.out}: {len(entries)} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
