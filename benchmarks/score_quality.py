"""Does a label-free score order networks of equal milliseconds as labels do?

    python benchmarks/score_quality.py --sets DIR --domain gtsrb --domain rsscn7 ... --out RUNS.jsonl
    python benchmarks/score_quality.py --report [--out RUNS.jsonl] [--keep] [--plot PLOT.png]

DIR holds a folder a domain (see truth.py). --networks (48) networks within 5 % of --ms on
--device are drawn to differ in depth, width and kernels, early and late; the supernet's largest and smallest network
come first. Truth is a ridge classifier on frozen features (of images, or of positions of the maps), 5 folds over all
labelled images of both halves, neighbouring file names in one fold, its penalty the one that serves the largest network
best. Scores see 256 unlabelled images of the train half, or two views of 64; their names say where they saw 32. Every
network and domain is a line in --out, and the same command goes on where it stopped.

The report, of the kept runs unless --out names others: Kendall's tau-b of score and truth, its mean over domains less
that of multiply-accumulates, tau-b where the score saw another domain's images, the regret of the best of the five
networks that a score prefers, and what the preferred network gains over the mean of all; intervals (95 %) by bootstrap
over networks. How far the truth itself can be ordered is told by its two halves. --keep keeps the runs, the section of
RESULTS.md, and what a search says of its score (search/scores/evidence.json).
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_table import kept_runs, read_judged
from numpy.typing import NDArray
from results import RUNS, Section, Table, keep
from runs import add_run, read_runs
from torch import Tensor, nn
from torch.nn import functional as F
from truth import BATCH, BOOTSTRAPS, PENALTIES, SEEN, Domain, Floats, fast, named, read_domain, ridge, taus

from hardware_profiles.measure.processor import processor
from hardware_profiles.tables.find import find_costs
from search.images.views import Views, center, views
from search.nets import Backbone, Net
from search.scores import CRITERIA, LEARNED, SIZE, Look, look
from search.scores.criteria import OF_VIEWS, SIZED, sized
from search.scores.evidence import EVIDENCE
from search.subnets.costs import CostModel
from search.subnets.proposals import Rows, scattered
from search.supernet import Supernet
from search.types import Task
from zoo.devices.fitted import priced
from zoo.plots import new_figure, save_figure
from zoo.supernets import DEFAULT, PHOTO_SUPERNETS, read_supernet

BAND, FEW, VIEWED = 0.05, 32, 64
MOST_POSITIONS, TOP = 40_000, 5
TRIVIAL = ["parameters", "MACs", "depth", "milliseconds"]
LARGEST, SMALLEST = -2, -1
DENSE = {"bccd", "camvid", "ccp", "neu_det"}
NAMES = {name: (name, SEEN) for name in CRITERIA if name not in SIZED}
NAMES |= {f"{name}, {FEW} images": (name, FEW) for name in NAMES if name not in OF_VIEWS}


TEXT = """{count} networks of `{supernet}` within {band:.0%} of {ms} ms on {device}, by its cost model at
{resolution_px} px, below the 96 px from which that is trusted: it only makes the band. Truth is a ridge
classifier on frozen features, five folds; r and tau-b of its halves say how well it could be ordered at
all. Best of the scores: {best}, mean tau-b {tau}; multiply-accumulates: {macs}. A score is worth its
time where the interval of the third column lies above zero. The share of size in the scores "and size"
(.1 of the log of parameters) was chosen on the embeddings of `mobile-photo-mocov2`; from .05 to .2 it orders as well.
The accuracy table, where there is one, is for each domain fitted without it.
Fine-tuned networks are the matter of finetuned_order.py."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network on one domain; ``halves`` are its accuracies on every other labelled sample and on the rest."""

    network: int
    domain: str
    accuracy: float
    halves: list[float]
    penalty: float
    scores: list[float]  # as the file's settings name them
    trivial: list[float]
    choices: str


def draw(net: Net, cost: CostModel, ms: float, count: int, seed: int) -> Rows:
    """Rows within the band, each as far as can be from those before it in depth, width, kernel and where they are."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([scattered(net, rng) for _ in range(4)])
    rows = np.unique(rows[abs(cost(rows).predicted_ms / ms - 1) <= BAND], axis=0)
    if len(rows) < count:
        raise SystemExit(f"{len(rows)} networks within {BAND:.0%} of {ms} ms; {count} are asked for: take another --ms")
    shape = np.stack([_shape(net, row) for row in rows])
    shape = (shape - shape.mean(0)) / (shape.std(0) + 1e-9)
    chosen = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(shape - shape[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return rows[chosen]


def _shape(net: Net, row: NDArray[np.int64]) -> Floats:
    """Where each number lies among its options; of layers: the share used, their expansion and kernel, by thirds."""
    if all(isinstance(option, int) for choice in net.space for option in choice.options):
        return row / np.array([max(1, len(choice.options) - 1) for choice in net.space])
    options = [str(choice.options[i]) for choice, i in zip(net.space, row, strict=True)]
    numbers = []
    for part in np.array_split(np.array(options), 3):
        used = [option for option in part if option != "skip"]
        numbers += [len(used) / len(part), np.mean([int(o.split("e")[1]) for o in used] or [0]) / 6]
        numbers += [np.mean([int(o[1]) for o in used] or [3]) / 5]
    return np.array(numbers)


class Judge:
    """Scores and truth of networks of a supernet on domains, from one look and one pass over the labelled images.

    Args:
        supernet: the networks'.
        domains: which.
        px: side of the input.
    """

    def __init__(self, supernet: Supernet, domains: list[Domain], px: int) -> None:
        self._supernet, self._px = supernet, px
        largest = supernet.subnet(supernet.net.largest(px)).to(memory_format=torch.channels_last)
        self._teachers = {domain.name: self._looks(largest, domain) for domain in domains}

    def run(self, row: NDArray[np.int64], domain: Domain, penalty: float | None) -> dict[str, Any]:
        (architecture,) = self._supernet.net.decode(row[None], self._px)
        backbone = self._supernet.subnet(architecture).to(memory_format=torch.channels_last)
        own, teacher = self._looks(backbone, domain), self._teachers[domain.name]
        scores = [round(CRITERIA[name](own[count], teacher[count]), 5) for name, count in NAMES.values()]
        x_ND, y_N, fold_N = self._features(backbone, domain)
        found = ridge(x_ND, y_N, fold_N, [penalty] if penalty else PENALTIES, balanced=domain.dense)
        best = max(found, key=lambda each: found[each][0])
        accuracy, *halves = (round(share, 5) for share in found[best])
        return {"accuracy": accuracy, "halves": halves, "penalty": best, "scores": scores}

    def _seen(self, pixels: Tensor) -> Tensor:
        card = self._supernet.card
        return center(pixels, self._px, card.mean, card.std).contiguous(memory_format=torch.channels_last)

    def _looks(self, backbone: Backbone, domain: Domain) -> dict[int, Look]:
        """The same images and views for every network; the last look leaves its statistics: it is recalibrated."""
        card, projector = self._supernet.card, self._supernet.projector(backbone.embedding_dim)
        g = torch.Generator().manual_seed(1)
        pixels = domain.pixels[torch.randperm(domain.train, generator=g)[:SEEN]]
        settings = Views(crop_px=self._px, mean=card.mean, std=card.std)
        one, two = (views(pixels[:VIEWED], settings, g).contiguous(memory_format=torch.channels_last) for _ in "12")
        seen = look(backbone, projector, one, [two])
        assert seen.views_VNP is not None
        both_VNP = torch.cat([seen.projected_NP[None], seen.views_VNP])
        few = look(backbone, projector, self._seen(pixels[:FEW]))
        for norm in (part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.reset_running_stats()
            norm.momentum = None
        return {FEW: few, SEEN: replace(look(backbone, projector, self._seen(pixels)), views_VNP=both_VNP)}

    def _features(self, backbone: Backbone, domain: Domain) -> tuple[Tensor, Tensor, Tensor]:
        """Features [N, D] of images or of positions, their labels and their folds."""
        maps = Maps(backbone) if domain.dense else backbone
        run = fast(maps, self._seen(domain.pixels[:BATCH]))
        if not domain.dense:
            x_ND = torch.cat([run(self._seen(part))[0] for part in domain.pixels.split(BATCH)])
            return x_ND, domain.labels, domain.folds
        rows, labels, folds = [], [], []
        for x, y, f in zip(*(t.split(BATCH) for t in (domain.pixels, domain.labels, domain.folds)), strict=True):
            levels = run(self._seen(x))
            side = levels[0].shape[-2:]
            stacked = torch.cat([F.interpolate(F.normalize(m, dim=1), size=side, mode="bilinear") for m in levels], 1)
            at = F.interpolate(y[:, None].float(), size=side, mode="nearest")[:, 0].long()
            kept = at != 255
            rows.append(stacked.permute(0, 2, 3, 1)[kept])
            labels.append(at[kept])
            folds.append(f[:, None, None].expand_as(at)[kept])
        x_ND, y_N, fold_N = torch.cat(rows), torch.cat(labels), torch.cat(folds)
        few = torch.randperm(len(x_ND), generator=torch.Generator().manual_seed(3))[:MOST_POSITIONS]
        return x_ND[few], y_N[few], fold_N[few]


class Maps(nn.Module):
    """The three coarsest maps of a backbone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone.features(x_BCHW).values())[-3:]


def measure(args: argparse.Namespace) -> None:
    ready = read_supernet(args.supernet)
    supernet, net = ready.supernet, ready.supernet.net
    model = find_costs(args.device)
    if model is None:
        raise SystemExit(f"{args.device} has no cost model; zoo devices list names those of source fitted")
    # Below the 96 px from which it is trusted: it only defines the band.
    cost = CostModel(net, priced(model, net.name, args.px))
    settings = {"supernet": supernet.card.name, "sha256": ready.sha256, "seed": args.seed, "ms": args.ms}
    settings |= {"device": args.device, "resolution_px": args.px, "networks": args.networks, "limit": args.limit}
    settings |= {"scores": [*NAMES], "trivial": TRIVIAL}
    kept = {(run.network, run.domain): run for run in read_runs(args.out, settings, Run)}
    ends = net.encode([net.largest(args.px), net.smallest(args.px)])
    rows = np.concatenate([draw(net, cost, args.ms, args.networks, args.seed), ends])
    costs, numbers = cost(rows), [*range(args.networks), LARGEST, SMALLEST]
    order = [len(rows) - 2, len(rows) - 1, *range(args.networks)]
    domains = [read_domain(args.sets / name, args.px, args.limit) for name in args.domain]
    judge: Judge | None = None
    started = time.perf_counter()
    for i in order:
        for domain in domains:
            if (numbers[i], domain.name) in kept:
                continue
            judge = judge or Judge(supernet, domains, args.px)
            largest = kept.get((LARGEST, domain.name))
            options = [str(choice.options[at]) for choice, at in zip(net.space, rows[i], strict=True)]
            depth = len(net.ops(net.decode(rows[i][None], args.px)[0]))
            sizes = [int(costs.params[i]), int(costs.macs[i]), depth, round(float(costs.predicted_ms[i]), 5)]
            run = Run(
                network=numbers[i],
                domain=domain.name,
                trivial=sizes,
                choices=" ".join(options),
                **judge.run(rows[i], domain, None if largest is None else largest.penalty),
            )
            kept[numbers[i], domain.name] = run
            add_run(args.out, run)
        if time.perf_counter() - started > 60 * args.max_minutes:
            return


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Of D domains and N networks: truth [D, N], its halves [2, D, N] and every score [D, N] by name."""

    about: dict[str, Any]
    dense: bool
    domains: list[str]
    truth: Floats
    halves: Floats
    scores: dict[str, Floats]
    ends: dict[str, list[float]]


def gather(path: Path) -> Evidence:
    first, *lines = path.read_text("utf-8").splitlines()
    about, runs = json.loads(first), [Run(**json.loads(line)) for line in lines]
    domains = list(dict.fromkeys(run.domain for run in runs))
    by = {(run.domain, run.network): run for run in runs}
    networks = sorted({run.network for run in runs if run.network >= 0})
    networks = [n for n in networks if all((domain, n) in by for domain in domains)]
    values = np.array([[_values(by[domain, n]) for n in networks] for domain in domains])
    names = [*about["scores"], *about["trivial"]]
    scores = {name: values[..., 3 + i] for i, name in enumerate(names)}
    most = by[domains[0], LARGEST].trivial[TRIVIAL.index("parameters")]
    for name, of in SIZED.items():
        scores[name] = np.vectorize(sized)(scores[of], scores["parameters"], most)
    if (learned := _learned(about, domains, [by[domains[0], n].choices for n in networks])) is not None:
        scores[LEARNED] = learned
    return Evidence(
        about=about,
        dense=bool({*domains} & DENSE),
        domains=domains,
        truth=values[..., 0],
        halves=np.moveaxis(values[..., 1:3], 2, 0),
        scores=scores,
        ends={domain: [by[domain, end].accuracy for end in (SMALLEST, LARGEST)] for domain in domains},
    )


def _learned(about: dict[str, Any], domains: list[str], choices: list[str]) -> Floats | None:
    """Points by the supernet's accuracy table, for each domain one without it; None where none is kept."""
    path = kept_runs(about["supernet"], about["resolution_px"])
    if not path.exists():
        return None
    judged = read_judged(path)
    if judged.sha256 != about["sha256"]:
        return None
    rows = judged.net.encode([named(judged.net, c, about["resolution_px"]) for c in choices])
    return np.stack([judged.learned(without=domain)(rows) for domain in domains])


def _values(run: Run) -> list[float]:
    return [run.accuracy, *run.halves, *run.scores, *run.trivial]


def report(evidence: Evidence) -> list[Table]:
    """How the truth spreads, and how well each score orders it."""
    domains, truth = evidence.domains, evidence.truth
    count = truth.shape[1]
    everyone = np.arange(count)[None]
    rows = np.random.default_rng(0).integers(count, size=(BOOTSTRAPS, count))
    sizes = {name: evidence.scores[name] for name in ("MACs", "parameters")}
    sizes_B = {name: taus(size, truth, rows).mean(1) for name, size in sizes.items()}
    lines = []
    for name, score in evidence.scores.items():
        tau, drawn = taus(score, truth, everyone)[0], taus(score, truth, rows)
        wrong = [taus(np.roll(score, k, axis=0), truth, everyone).mean() for k in range(1, len(domains))]
        gains = _gains(score, truth, rows).mean(1)
        cells = [
            name,
            f"{tau.mean():+.2f} [{_interval(drawn.mean(1))}]",
            *(
                f"{tau.mean() - taus(size, truth, everyone).mean():+.2f} [{_interval(drawn.mean(1) - sizes_B[of])}]"
                for of, size in sizes.items()
            ),
            "" if name in (*TRIVIAL, LEARNED) or not wrong else f"{np.mean(wrong):+.2f}",
            f"{_regret(score, truth):.2f}",
            f"{gains.mean():+.2f} [{_interval(gains)}]",
            *(f"{t:+.2f} [{_interval(drawn[:, d])}]" for d, t in enumerate(tau)),
        ]
        lines.append((float(tau.mean()), cells))
    first = ["score", "mean tau-b", "less that of MACs", "of parameters", "of other domains", "regret of top 5"]
    first.append("gain of the best")
    return [
        Table(
            caption=f"Truth: {count} networks of equal milliseconds",
            columns=["domain", "accuracy, %", "spread", "r of halves", "tau-b of halves", "smallest, largest network"],
            rows=[
                [
                    domain,
                    f"{100 * truth[d].min():.1f}-{100 * truth[d].max():.1f}",
                    f"{100 * truth[d].std():.2f}",
                    f"{np.corrcoef(evidence.halves[:, d])[0, 1]:.2f}",
                    f"{taus(evidence.halves[:1, d], evidence.halves[1:, d], everyone)[0, 0]:+.2f}",
                    ", ".join(f"{100 * end:.1f}" for end in evidence.ends[domain]),
                ]
                for d, domain in enumerate(domains)
            ],
        ),
        Table(
            caption="Scores, best mean first; regret and gain in points of accuracy, mean over domains",
            columns=[*first, *domains],
            rows=[cells for _, cells in sorted(lines, key=lambda line: -line[0])],
        ),
        elsewhere(evidence, rows),
    ]


def keep_all(evidence: Evidence, tables: list[Table], out: Path) -> None:
    """The runs, the section, and for searches the tau-b and gain of each score."""
    about = evidence.about
    name = f"score_quality_{'dense' if evidence.dense else 'cls'}_{about['supernet']}"
    kept = RUNS / f"{name}.jsonl"
    if out.resolve() != kept.resolve():
        shutil.copyfile(out, kept)
    if about["supernet"] == PHOTO_SUPERNETS[Task.DET if evidence.dense else Task.CLS][0]:
        keep_expectation(evidence)
    best = tables[1].rows[0]
    sizes = next(row for row in tables[1].rows if row[0] == "MACs")
    domains = " ".join(f"--domain {domain}" for domain in evidence.domains)
    limit = f" --limit {about['limit']}" if about["limit"] else ""
    keep(
        name,
        Section(
            title=f"Does a score order networks of `{about['supernet']}` of equal milliseconds?"
            f" {'Maps' if evidence.dense else 'Embeddings'}",
            order=55,
            command=f"python benchmarks/score_quality.py --sets DIR {domains}{limit} --supernet SUPERNET"
            " --out RUNS.jsonl\n"
            "python benchmarks/score_quality.py --report --out RUNS.jsonl --keep",
            machine=f"{processor()}, ONNX Runtime for the features, 1 thread, fp32",
            date=time.strftime("%Y-%m-%d"),
            text=TEXT.format(
                count=evidence.truth.shape[1], band=BAND, best=best[0], tau=best[1], macs=sizes[1], **about
            )
            + ("" if about["supernet"] != DEFAULT else " The plot is docs/pictures/score_quality_cls.png."),
            tables=tables,
        ),
    )


def keep_expectation(evidence: Evidence) -> None:
    """What a search says of each score."""
    count, about = evidence.truth.shape[1], evidence.about
    rows = np.random.default_rng(0).integers(count, size=(BOOTSTRAPS, count))
    scores = {}
    for score in (name for name in evidence.scores if name in (*CRITERIA, *TRIVIAL, LEARNED)):
        drawn = taus(evidence.scores[score], evidence.truth, rows).mean(1)
        gains = _gains(evidence.scores[score], evidence.truth, rows).mean(1)
        tau = taus(evidence.scores[score], evidence.truth, np.arange(count)[None]).mean()
        scores[score] = {"tau": _triple(float(tau), drawn), "gain_points": _triple(float(gains.mean()), gains)}
    document = json.loads(EVIDENCE.read_text("utf-8")) if EVIDENCE.exists() else {}
    own = {"supernet": about["supernet"], "networks": count, "sets": len(evidence.domains), "scores": scores}
    document["dense" if evidence.dense else "cls"] = own
    EVIDENCE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _triple(mean: float, draws: Floats) -> list[float]:
    return [round(v, 3) for v in (mean, *np.percentile(draws, [2.5, 97.5]).tolist())]


def _interval(draws: Floats) -> str:
    return "{:+.2f}, {:+.2f}".format(*np.percentile(draws, [2.5, 97.5]))


def _regret(score: Floats, truth: Floats) -> float:
    """Points between the best network and the best of the five preferred ones, mean over domains."""
    found = [y.max() - y[np.argsort(-x, kind="stable")[:TOP]].max() for x, y in zip(score, truth, strict=True)]
    return 100 * float(np.mean(found))


def _gains(score: Floats, truth: Floats, rows: NDArray[np.int64]) -> Floats:
    """Points of the preferred of the networks ``rows`` [B, N] over their mean: [B, D]."""
    found = [[y[r[x[r].argmax()]] - y[r].mean() for r in rows] for x, y in zip(score, truth, strict=True)]
    return 100 * np.array(found).T


def elsewhere(evidence: Evidence, rows: NDArray[np.int64]) -> Table:
    """Each domain's network is preferred by the score that gains most on the other domains: no figure chose itself."""
    names = [name for name in evidence.scores if name in CRITERIA or name == SIZE]
    count = evidence.truth.shape[1]
    drawn_SBD = np.array([_gains(evidence.scores[name], evidence.truth, rows) for name in names])
    here_SD = np.array([_gains(evidence.scores[name], evidence.truth, np.arange(count)[None])[0] for name in names])
    lines, gained, gained_B = [], [], []
    for d, domain in enumerate(evidence.domains):
        others = [i for i in range(len(evidence.domains)) if i != d]
        best = int(here_SD[:, others].mean(1).argmax())
        best_B = drawn_SBD[:, :, others].mean(2).argmax(0)
        gained.append(here_SD[best, d])
        gained_B.append(drawn_SBD[best_B, np.arange(len(rows)), d])
        lines.append([domain, names[best], f"{here_SD[best, d]:+.2f}"])
    mean = f"{np.mean(gained):+.2f} [{_interval(np.mean(gained_B, 0))}]"
    return Table(
        caption="The score that gains most on the other domains, and what it gains here, in points",
        columns=["domain", "score", "gain"],
        rows=[*lines, ["mean", "", mean]],
    )


def plot(evidence: Evidence, names: list[str], path: Path) -> Path:
    """Truth against scores, a row a score and a column a domain."""
    figure = new_figure(2.1 * len(evidence.domains), 2.1 * len(names))
    axes = figure.subplots(len(names), len(evidence.domains), squeeze=False, sharey="col")
    everyone = np.arange(evidence.truth.shape[1])[None]
    for i, name in enumerate(names):
        tau = taus(evidence.scores[name], evidence.truth, everyone)[0]
        for d, domain in enumerate(evidence.domains):
            axes[i, d].scatter(evidence.scores[name][d], 100 * evidence.truth[d], s=8)
            axes[i, d].set_title(f"{domain}: tau-b {tau[d]:+.2f}", fontsize=7)
            axes[i, d].set_xlabel(name, fontsize=7)
            axes[i, d].tick_params(labelsize=6)
        axes[i, 0].set_ylabel("accuracy, %", fontsize=7)
    return save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--supernet", default=DEFAULT)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--domain", action="append")
    parser.add_argument("--device", default="i9-10940x")
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--ms", type=float, default=2.65)
    parser.add_argument("--networks", type=int, default=48)
    parser.add_argument("--limit", type=int, help="images of a domain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RUNS / f"score_quality_cls_{DEFAULT}.jsonl")
    parser.add_argument("--max-minutes", type=float, default=60)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    if not args.report:
        measure(args)
        return
    evidence = gather(args.out)
    tables = report(evidence)
    for table in tables:
        print(table.caption, *(" | ".join(map(str, row)) for row in (table.columns, *table.rows)), sep="\n")
    if args.keep:
        keep_all(evidence, tables, args.out)
    if args.plot:
        first = LEARNED if LEARNED in evidence.scores else "cosine and size"
        plot(evidence, [first, "projected cosine", "MACs"], args.plot)


if __name__ == "__main__":
    main()
