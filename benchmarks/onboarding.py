"""How good is a latency table of a new device after timing 10 networks on it? Leaves out each bundled device in turn.

    python benchmarks/onboarding.py --data DIR [--networks 10] [--repeats 5] [--families]

DIR holds the published times (see published_tables.py). The new device's networks come from those that the bundled
tables were fitted to; all figures are on the 1,000 others. They are picked as ``zoo devices sample`` does, from a
different random 1,000 in each repeat. With --families all tables of the left-out device's chip are left out (a GPU has
one for each batch size). Compared: ``mixture`` of tables and work (``zoo devices adapt``), of tables alone, the nearest
single table and multiply-accumulates, each with a constant and a factor of its own, and a fit from scratch.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from published_tables import COLUMNS, blocks

from hardware_profiles import list_tables, pick_diverse
from hardware_profiles.fit.adapt import leave_one_out, mix
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.fit.fit import UNSEEN, solve
from hardware_profiles.fit.work import TERMS, count_blocks, solve_relative, work

POOL = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--families", action="store_true")
    args = parser.parse_args()

    data = np.load(args.data / "fbnet_cifar100.npz", allow_pickle=False)
    bundled = {
        file.device_id: file.load() for file in list_tables() if (file.net, file.resolution_px) == ("mobile", 32)
    }
    names = [name for name in data["devices"].tolist() if COLUMNS[name].id in bundled]
    tables = [bundled[COLUMNS[name].id] for name in names]
    times = np.array([data["latency_ms"][data["devices"].tolist().index(name)] for name in names], dtype=float)

    ops = list(tables[0].entries)
    counts = count_blocks([blocks(choices) for choices in data["arch"]], ops)
    says = np.column_stack([t.overhead_ms + counts @ [t.entries[op].median_ms for op in ops] for t in tables])
    block_work = work(ops)
    network_work = counts @ block_work
    macs = network_work[:, TERMS.index("depthwise_macs")] + network_work[:, TERMS.index("pointwise_macs")]
    unseen, seen = np.split(np.random.default_rng(0).permutation(len(counts)), [round(UNSEEN * len(counts))])

    def scratch(here: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
        overhead_ms, block_ms = solve(counts[here], times_ms, block_work)
        return overhead_ms + counts @ block_ms

    figures: dict[str, list[list[tuple[float, float]]]] = {}
    honest = []
    for i, table in enumerate(tables):
        others = [
            j for j, t in enumerate(tables) if j != i and not (args.families and t.device.chip == table.device.chip)
        ]
        known = says[:, others]
        of_device: dict[str, list[tuple[float, float]]] = {}
        for repeat in range(args.repeats):
            pool = np.random.default_rng(repeat).choice(seen, POOL, replace=False)
            here = pool[pick_diverse(known[pool], args.networks)]
            measured = times[i, here]
            features = np.hstack([known, network_work])
            predicted = {
                "mixture": mixture(features, here, measured),
                "tables": mixture(known, here, measured),
                "nearest": nearest(known, here, measured),
                "MACs": line(macs, here, measured)[1],
                "scratch": scratch(here, measured),
            }
            for method, predicted_ms in predicted.items():
                v = validate(predicted_ms[unseen], times[i, unseen])
                of_device.setdefault(method, []).append((v.spearman_rho, v.mape_percent))
            promised = validate(leave_one_out(features[here], measured), measured).mape_percent
            honest.append((promised, of_device["mixture"][-1][1]))
        for method, values in of_device.items():
            figures.setdefault(method, []).append(values)

    report(names, figures, honest)


def mixture(features: np.ndarray, here: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
    constant_ms, weights = mix(features[here], times_ms)
    return constant_ms + features @ weights


def nearest(known: np.ndarray, here: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
    """The one table that, with a constant and a factor, is nearest to the times."""
    return min((line(known[:, j], here, times_ms) for j in range(known.shape[1])), key=lambda fit: fit[0])[1]


def line(feature: np.ndarray, here: np.ndarray, times_ms: np.ndarray) -> tuple[float, np.ndarray]:
    """A constant and a factor, both non-negative: squared relative error, and the prediction for all networks."""
    rows = np.column_stack([np.ones(len(feature)), feature])
    predicted_ms = rows @ solve_relative(rows[here], times_ms)
    return float(np.sum((predicted_ms[here] / times_ms - 1) ** 2)), predicted_ms


def report(
    names: list[str], figures: dict[str, list[list[tuple[float, float]]]], honest: list[tuple[float, float]]
) -> None:
    print(f"{'Spearman rho (MAPE %)':22}", *(f"{method:>16}" for method in figures))
    means = {method: np.mean(values, axis=1) for method, values in figures.items()}  # [devices, 2]
    for i, name in enumerate(names):
        print(f"{name:22}", *(f"{rho:8.3f} ({mape:5.2f})" for rho, mape in (means[m][i] for m in figures)))
    print(f"{'mean':22}", *(f"{means[m][:, 0].mean():8.3f} ({means[m][:, 1].mean():5.2f})" for m in figures))
    promised, actual = np.mean(honest, axis=0)
    print(
        f"MAPE of the mixture: {promised:.2f} % by cross-validation on its own networks, {actual:.2f} % on unseen ones"
    )
    print(
        json.dumps(
            {
                m: {"spearman_rho": round(float(v[:, 0].mean()), 4), "mape_percent": round(float(v[:, 1].mean()), 3)}
                for m, v in means.items()
            }
        )
    )


if __name__ == "__main__":
    main()
