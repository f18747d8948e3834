"""How far off is a latency table that was scaled from another resolution? Where both are known: on this machine.

    python benchmarks/resize_error.py [--net mobile] [--from 32] [--to 64] [--networks 50]

Measures tables at both resolutions unless they are there already, times whole networks at the larger one, and compares
those times with what each table says: the scaled one, the measured one, and the small one as it is. Run it on a quiet
machine. ``zoo devices show DEVICE --resolution PX`` then names this machine's error beside every table scaled so.
"""

import argparse
import json
from functools import partial

import numpy as np

from hardware_profiles import OnnxRunner, estimate_ms, resize_table, time_runners, to_onnx_bytes
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.measure.models import INPUT
from search.nets import NETS
from zoo.devices.tables import spread, table_for, this_device

SEED = 1  # the tables themselves are validated on the networks of seed 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="mobile")
    parser.add_argument("--from", dest="from_px", type=int, default=32)
    parser.add_argument("--to", dest="to_px", type=int, default=64)
    parser.add_argument("--networks", type=int, default=50)
    args = parser.parse_args()

    small = table_for("this", args.net, args.from_px, say=print).latencies
    large = table_for("this", args.net, args.to_px, say=print).latencies
    net, shape = NETS[args.net], (1, 3, args.to_px, args.to_px)
    architectures = spread(net, args.to_px, args.networks, seed=SEED)
    pixels = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    threads = this_device().threads
    models = [to_onnx_bytes(net.build(architecture).eval(), shape) for architecture in architectures]
    subjects = [(partial(OnnxRunner, model, threads=threads), {INPUT: pixels}) for model in models]
    measured_ms = np.array([latency.median_ms for latency in time_runners(subjects)])

    networks = [net.ops(architecture) for architecture in architectures]
    same = [net.ops(a) for a in spread(net, args.from_px, args.networks, seed=SEED)]
    predicted = {
        f"scaled from {args.from_px} px": [estimate_ms(resize_table(small, args.to_px), ops) for ops in networks],
        f"measured at {args.to_px} px": [estimate_ms(large, ops) for ops in networks],
        f"{args.from_px} px times pixels": [estimate_ms(small, ops) * (args.to_px / args.from_px) ** 2 for ops in same],
    }
    figures = {name: validate(np.array(predicted_ms), measured_ms) for name, predicted_ms in predicted.items()}
    print(f"{len(networks)} {args.net} networks at {args.to_px} px on {large.device.id}")
    for name, v in figures.items():
        print(f"{name:22} MAPE {v.mape_percent:6.2f} %  bias {v.bias_percent:+7.2f} %  rho {v.spearman_rho:.4f}")
    print(json.dumps({name: v.mape_percent for name, v in figures.items()}))


if __name__ == "__main__":
    main()
