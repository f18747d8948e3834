"""Does one network rule them all? What a study of architectures found, made of its table, and what Ray saves.

zoo study --images DIR --source DIR --downstream DIR ... --objective mocov2 --images-seen 9600 --width-divisor 8
    --limit 400 -o OUT              # goes on where it stopped; more --variants add to it
python benchmarks/study.py --study OUT --keep    # takes its table into the repository
python benchmarks/study.py --keep                # makes every figure of the section anew from that table
python benchmarks/study.py --ray                 # two workers against one, on 4 small variants
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from results import RUNS, Section, Table, keep

from search.study.analysis import BOTH, Study
from search.study.plan import PROTOCOL, TABLE, read_table
from zoo.use.study_report import finding, plot_source, plot_time, tables

KEPT, KEPT_PROTOCOL, RAY = RUNS / "study.csv", RUNS / "study.protocol", RUNS / "study.ray"
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
MACHINE = "2 cores of an Intel Xeon (AVX-512, AMX) that did other work at the same time, torch, 1 thread, bf16"


def take(out: Path) -> None:
    """The table, and what its networks share, without the places of this machine."""
    shutil.copyfile(out / TABLE, KEPT)
    protocol = json.loads((out / PROTOCOL).read_text("utf-8"))
    KEPT_PROTOCOL.write_text(
        json.dumps({**protocol, "images": Path(protocol["images"]).name}, indent=1) + "\n", "utf-8"
    )


def section() -> Section:
    rows, p = read_table(KEPT), json.loads(KEPT_PROTOCOL.read_text("utf-8"))
    study = Study(rows)
    missing = sum(bool(row.reason) for row in rows)
    found = {name: str(len(names)) for name, names in study.families.items() if name != BOTH}
    counted = " and ".join(f"{count} {name}" for name, count in found.items())
    sizes = [row.params for row in rows if row.params]
    low, high = min(sizes), max(sizes)
    asked = {row.set: row for row in rows if not row.reason}
    text = [
        f"{finding(study)}",
        f"{counted}, spread over the 94 and 42 shapes by `zoo study`, at 1/{p['width_divisor']} of their width and"
        f" {p['resolution_px']} px, each trained alone by {p['objective']} on {p['images_seen']:,} images of"
        f" {p['images']} with seed {p['seed']}; sets with at most {p['limit']} images to know and to ask"
        f" ({len(asked)} sets, {missing} answers missing). Milliseconds are predicted for {p['device']} at four times"
        " the side, where the maps are the same.",
        "What this cannot show: so short a training, of one seed, says little about long ones, and its chance is in no"
        f" interval. Networks have {low / 1e3:.0f} to {high / 1e3:.0f} thousand parameters, and the families differ in"
        " size, so what holds over both may be a matter of size: each family's own lines say what is left.",
        "The same of k-NN, with plots: `zoo study --report benchmarks/runs/study.csv -o page`.",
        "" if study.searched else "No searched network was trained beside them yet (`--searched PACKAGE`).",
    ]
    made = [
        Table(caption=caption, columns=columns, rows=list(map(list, lines)))
        for caption, columns, lines in tables(study)
    ]
    if RAY.exists():
        text.append(RAY.read_text("utf-8").strip())
    plot_source(study, PICTURES / "study-source.png")
    plot_time(study, PICTURES / "study-time.png")
    return Section(
        title="A study of architectures: does one network rule them all?",
        order=95,
        command="zoo study --objective mocov2 ...\npython benchmarks/study.py --study OUT --keep",
        machine=MACHINE,
        date=str(date.today()),
        text="\n\n".join(filter(None, text)),
        tables=made,
    )


def ray_times() -> str:
    """Seconds of 4 small variants x 2 sets with one and with two workers of Ray; the tables must be the same."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.search.study_workers import write_images, write_set

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_images(place / "images", 256)
        write_set(place / "a", classes=3)
        write_set(place / "b")
        sizes = "--resolution 32 --width-divisor 8 --batch 64 --images-seen 25600 --variants v1,v12,v38,resnet50"
        where = f"--images {place}/images --downstream {place}/a --downstream {place}/b --engine ray --quiet"
        seconds, made = {}, {}
        for workers in (1, 2):
            out = place / f"out{workers}"
            words = [sys.executable, "-m", "zoo", "study", *where.split(), *sizes.split(), "-o", str(out)]
            started = time.monotonic()
            subprocess.run([*words, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
            seconds[workers], made[workers] = time.monotonic() - started, (out / TABLE).read_bytes()
        same = "the same table" if made[1] == made[2] else "ANOTHER TABLE"
        load = os.getloadavg()[0]
        return (
            f"Two Ray workers finish 4 small variants x 2 sets in {seconds[2] / seconds[1]:.2f} of one worker's time"
            f" ({seconds[2]:.0f} and {seconds[1]:.0f} s, start of Ray and imports included; load of the machine"
            f" {load:.1f}), with {same} (`python benchmarks/study.py --ray`)."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, help="its folder, to take the table from")
    parser.add_argument("--ray", action="store_true", help="time two workers against one")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/runs/study.json and RESULTS.md")
    args = parser.parse_args()
    if args.ray:
        text = ray_times()
        print(text)
        if args.keep:
            RAY.write_text(text + "\n", "utf-8")
    if args.study is not None:
        take(args.study)
    if not KEPT.exists():
        return
    made = section()
    print(made.text)
    if args.keep:
        keep("study", made)


if __name__ == "__main__":
    main()
