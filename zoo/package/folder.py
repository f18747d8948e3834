"""A package: one folder with a network's weights, artefacts, card and evidence. Written whole or not at all.

README.md  config.json  model.safetensors  onnx/model.onnx  perf.yaml  numerics.yaml  golden.safetensors
search.json, of a search · cells.png, of a network of cells
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from export.types import ExportReport
from search.errors import SearchError
from search.nets import NETS, Backbone
from search.nets.cell import CELL
from search.types import Architecture
from zoo.errors import BadPackage
from zoo.heads.network import AllOutputs, Network, make_network
from zoo.names import shown
from zoo.package.bounds import check_bounds
from zoo.package.card import CONFIG, config_text, read_manifest, reports_texts, required, with_reports
from zoo.package.golden import INPUT, artefact_golden, make_golden, replay
from zoo.package.manifest import describe, is_engine, read_checked
from zoo.package.readme import CELLS, README, render_readme
from zoo.package.staging import staged
from zoo.plots import plot_cell
from zoo.types import Evaluation, ModelCard

WEIGHTS, GOLDEN = "model.safetensors", "golden.safetensors"
# Of a whole model's weights.
_BACKBONE, _HEAD = "backbone.", "head."


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a package's folder holds.

    Args:
        card: what is known of the network.
        backbone: the network with its weights, in eval mode.
        folder: where it lies.
        network: backbone and head, of a whole model.
    """

    card: ModelCard
    backbone: Backbone
    folder: Path
    network: Network | None = None

    @property
    def params(self) -> int:
        """Weights of all that the package holds."""
        return sum(p.numel() for p in (self.network or self.backbone).parameters())


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file or folder to copy into a package.

    Args:
        path: where, relative to the package.
        source: where it lies now.
        listed: in the manifest, and so published and checked with the package.
    """

    path: str
    source: Path
    listed: bool = True


def write_package(
    out: Path,
    *,
    card: ModelCard,
    backbone: Backbone,
    network: Network | None = None,
    overwrite: bool = False,
    attachments: Sequence[Attachment] = (),
) -> ModelCard:
    """Write a package.

    Args:
        out: its folder.
        card: what is known of the network; the paths in ``card.reports`` are where the artefacts lie now, and their
            file names are kept.
        backbone: the network, in eval mode.
        network: backbone and head, of a whole model; the card has its head then.
        overwrite: replace an earlier package.
        attachments: what else goes into it.

    Returns:
        The card as it was written, with paths relative to the package.

    Raises:
        OutputExists: ``out`` is not empty and may not be replaced.
    """
    with staged(out, mark=CONFIG, overwrite=overwrite) as draft:
        (draft / "onnx").mkdir()
        reports = tuple(_adopt(report, draft) for report in card.reports)
        card = replace(card, reports=reports)
        whole: nn.Module = backbone if network is None else network
        params = sum(p.numel() for p in whole.parameters())
        texts = reports_texts(reports)
        texts[README] = render_readme(card, params=params, embedding_dim=backbone.embedding_dim)
        for file, text in texts.items():
            (draft / file).write_text(text, "utf-8", newline="\n")
        (draft / WEIGHTS).write_bytes(_tensors(whole.state_dict()))
        golden = make_golden(AllOutputs(backbone) if network is None else network, card.preprocess.size_px)
        golden |= artefact_golden(golden, reports, draft)
        (draft / GOLDEN).write_bytes(_tensors(golden))
        attached = [_attach(one, draft) for one in attachments]
        files = [*texts, WEIGHTS, GOLDEN, *(report.path.as_posix() for report in reports)]
        files += _pictures(card.architecture, draft)
        files += [path for path in attached if path is not None]
        (draft / CONFIG).write_text(config_text(card, describe(draft, files)), "utf-8", newline="\n")
    return card


def keep_evaluation(folder: Path, figures: Sequence[Evaluation]) -> ModelCard:
    """Add figures to the card of a package, in place of earlier ones of the same data, metric and protocol.

    Raises:
        BadPackage: the package is damaged.
    """
    package = load_package(folder)
    new = {(one.data, one.metric, one.protocol) for one in figures}
    kept = (one for one in package.card.evaluation if (one.data, one.metric, one.protocol) not in new)
    card = replace(package.card, evaluation=(*kept, *figures))
    with staged(folder, mark=CONFIG, overwrite=True) as draft:
        shutil.copytree(folder, draft, dirs_exist_ok=True)
        readme = render_readme(card, params=package.params, embedding_dim=package.backbone.embedding_dim)
        (draft / README).write_text(readme, "utf-8", newline="\n")
        _, manifest = read_manifest(folder)
        (draft / CONFIG).write_text(config_text(card, describe(draft, manifest)), "utf-8", newline="\n")
    return card


def load_package(folder: Path, *, verify: bool = False, files: Collection[str] | None = None) -> Package:
    """Read a package; every file must be what its manifest says.

    Args:
        folder: of the package.
        verify: run the network and its artefacts on the golden input, too.
        files: read these only, where not all are here; the card then speaks of their artefacts only.

    Raises:
        BadPackage: a file is missing, damaged, or of another schema.
        VerificationFailed: an output is not the golden one.
    """
    card, manifest = read_manifest(folder)
    if files is None:  # an engine stays where it was built
        files = [file for file in manifest if not is_engine(file) or (folder / file).exists()]
    left = set(manifest) - set(files)
    found = {file: read_checked(folder, file, manifest) for file in files}
    card = with_reports(card, found)
    card = replace(card, reports=tuple(report for report in card.reports if report.path.as_posix() not in left))
    for report in card.reports:
        required(found, report.path.as_posix())
    check_bounds(card, manifest)
    backbone, network = _build(card, _read_tensors(folder / WEIGHTS, required(found, WEIGHTS)))
    if verify:
        golden = _read_tensors(folder / GOLDEN, required(found, GOLDEN))
        if INPUT not in golden:
            raise BadPackage(f"{folder / GOLDEN} has no tensor {INPUT!r}; get the package again")
        replay(AllOutputs(backbone) if network is None else network, golden, card.reports, folder, card.preprocess)
    return Package(card=card, backbone=backbone, folder=folder, network=network)


def _pictures(architecture: Architecture, draft: Path) -> list[str]:
    if architecture.net != CELL.name:
        return []
    plot_cell(CELL.genotype(architecture), draft / CELLS)
    return [CELLS]


def _adopt(report: ExportReport, draft: Path) -> ExportReport:
    path = PurePosixPath("onnx", report.path.name)
    (draft / path).write_bytes(report.path.read_bytes())
    return replace(report, path=Path(path))


def _attach(one: Attachment, draft: Path) -> str | None:
    """Copy it; its path where the manifest is to name it."""
    (draft / one.path).parent.mkdir(parents=True, exist_ok=True)
    copy = shutil.copytree if one.source.is_dir() else shutil.copyfile
    copy(one.source, draft / one.path)
    return one.path if one.listed else None


def _build(card: ModelCard, weights: dict[str, Tensor]) -> tuple[Backbone, Network | None]:
    architecture = card.architecture
    if architecture.net not in NETS:
        raise BadPackage(f"net {shown(architecture.net)} is unknown; this version has {', '.join(NETS)}")
    try:
        backbone = NETS[architecture.net].build(architecture)
        network = None if card.head is None else make_network(backbone, card.head, architecture.resolution_px)
        (backbone if network is None else network).load_state_dict(weights)
    except (SearchError, ValueError, RuntimeError) as error:
        raise BadPackage(f"{WEIGHTS} does not fit the architecture: {str(error).splitlines()[0]}") from None
    return backbone.eval(), None if network is None else network.eval()


def _tensors(tensors: dict[str, Tensor]) -> bytes:
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise BadPackage(f"{path} is no safetensors file ({error}); get the package again") from None
