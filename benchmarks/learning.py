"""How good do the networks of a supernet become as it sees more images?

    python benchmarks/learning.py [resnet-photo-mocov2-taught] [--keep]

What `zoo pretrain --validate` wrote on the supernet's card, largest and smallest network beside each other, from the
first training on where it began from another's weights. --keep keeps the section of RESULTS.md and its picture.
"""

import argparse
import time

from results import RUNS, Section, Table, keep

from search.supernet import SupernetCard
from zoo.plots import plot_validation
from zoo.supernets import DEFAULT, read_supernet

PRETRAIN = "zoo pretrain --images DIR --set queue=4096 --validate LABELLED"
KEYS = "--set ema=[0.99,0.998]"
# How the bundled one was trained.
COMMANDS = (
    f"{PRETRAIN} --validate-every 1000 {KEYS} --max-minutes 70 --precision fp32 -o FIRST",
    f"{PRETRAIN} --validate-every 2000 {KEYS} --from FIRST --max-minutes 78 --precision bf16 --seed 2 -o SECOND",
    "python benchmarks/teacher.py make --size 2 --resolution 160 efficientnet-lite2-160px.onnx",
    f"{PRETRAIN} --validate-every 1500 --from SECOND --teacher efficientnet-lite2-160px.onnx --distill 0 --lr 0.1"
    " --max-minutes 58 --precision bf16 --seed 3 -o SUPERNET",
    "python benchmarks/learning.py SUPERNET --keep",
)


def judged(card: SupernetCard) -> str:
    """What `zoo evaluate` said of CIFAR-10, as the card has it."""
    seen = card.evaluation
    largest, smallest = (100 * one["trained"]["linear"] for one in seen["networks"][:2])
    return (
        f"`{card.name}` by `zoo evaluate`, {seen['train']:,} labelled images and {seen['test']:,} others: largest"
        f" {largest:.1f} %, smallest {smallest:.1f} %, linear"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("supernet", nargs="?", default=DEFAULT)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    card = read_supernet(args.supernet).supernet.card
    if "validation" not in card.training:
        raise SystemExit(f"{card.name} was trained without --validate")
    looks = card.training["validation"]
    percents = [f"{name.replace('_', ', ')} network, %" for name in looks["columns"][2:]]
    rows = [[int(row[1]), *(round(100 * value, 1) for value in row[2:])] for row in looks["rows"]]
    for row in (["images seen", *percents], *rows):
        print(*row, sep="  ")
    if not args.keep:
        return
    if card.name != DEFAULT:
        raise SystemExit(f"{card.name} is not {DEFAULT}, whose trainings alone are told here; leave --keep out")
    start = read_supernet(card.training["from"]).supernet.card
    picture = RUNS / f"learning_{card.name}.svg"
    plot_validation(looks, picture, title=card.name)
    text = (
        f"`{card.name}` ({card.images_seen:,} images), judged on 2,048 labelled images of CIFAR-10's test half at 64"
        " px, half of which vote; its training half is among the images without labels. The largest network learns"
        f" alone in the first {card.recipe['slow_start']:.0%} of each training. The last one begins at"
        f" {start.images_seen:,} images, and has an outside teacher in place of MoCo v2; the others ran on an Intel"
        f" Xeon. {judged(card)}; {judged(start)}.\n\n"
        f"![Accuracy against images seen](runs/{picture.name})"
    )
    keep(
        picture.stem,
        Section(
            title=f"How good do the networks of `{card.name}` become?",
            order=53,
            command="\n".join(COMMANDS),
            machine=card.training["hardware"],
            date=time.strftime("%Y-%m-%d"),
            text=text,
            tables=[Table(caption="", columns=["images seen", *percents], rows=rows)],
        ),
    )


if __name__ == "__main__":
    main()
