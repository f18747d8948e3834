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
from search.nets.heads import make_head
from search.nets.whole import map_channels
from search.types import Architecture
from zoo.errors import BadPackage
from zoo.names import shown
from zoo.package.bounds import check_bounds
from zoo.package.card import CONFIG, config_text, read_manifest, reports_texts, required, with_reports
from zoo.package.golden import INPUT, artefact_golden, make_golden, replay
from zoo.package.manifest import describe, is_engine, read_checked
from zoo.package.readme import CELLS, README, render_readme
from zoo.package.staging import staged
from zoo.plots import plot_cell
from zoo.types import ModelCard

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
        head: of a whole model, with its weights, in eval mode.
    """

    card: ModelCard
    backbone: Backbone
    folder: Path
    head: nn.Module | None = None


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
    head: nn.Module | None = None,
    overwrite: bool = False,
    attachments: Sequence[Attachment] = (),
) -> ModelCard:
    """Write a package.

    Args:
        out: its folder.
        card: what is known of the network; the paths in ``card.reports`` are where the artefacts lie now, and their
            file names are kept.
        backbone: the network, in eval mode.
        head: what ``card.head`` speaks of; its weights are kept as ``head.*`` beside ``backbone.*``.
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
        modules = [backbone] if head is None else [backbone, head]
        params = sum(p.numel() for module in modules for p in module.parameters())
        texts = reports_texts(reports)
        texts[README] = render_readme(card, params=params, embedding_dim=backbone.embedding_dim)
        for file, text in texts.items():
            (draft / file).write_text(text, "utf-8", newline="\n")
        (draft / WEIGHTS).write_bytes(_tensors(_weights(backbone, head)))
        golden = make_golden(backbone, card.architecture.resolution_px)
        golden |= artefact_golden(golden, reports, draft)
        (draft / GOLDEN).write_bytes(_tensors(golden))
        attached = [_attach(one, draft) for one in attachments]
        files = [*texts, WEIGHTS, GOLDEN, *(report.path.as_posix() for report in reports)]
        files += _pictures(card.architecture, draft)
        files += [path for path in attached if path is not None]
        (draft / CONFIG).write_text(config_text(card, describe(draft, files)), "utf-8", newline="\n")
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
    backbone, head = _build(card, _read_tensors(folder / WEIGHTS, required(found, WEIGHTS)))
    if verify:
        golden = _read_tensors(folder / GOLDEN, required(found, GOLDEN))
        if INPUT not in golden:
            raise BadPackage(f"{folder / GOLDEN} has no tensor {INPUT!r}; get the package again")
        replay(backbone, golden, card.reports, folder, card.preprocess)
    return Package(card=card, backbone=backbone, folder=folder, head=head)


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


def _weights(backbone: nn.Module, head: nn.Module | None) -> dict[str, Tensor]:
    if head is None:
        return backbone.state_dict()
    parts = {_BACKBONE: backbone, _HEAD: head}
    return {f"{prefix}{name}": w for prefix, module in parts.items() for name, w in module.state_dict().items()}


def _build(card: ModelCard, weights: dict[str, Tensor]) -> tuple[Backbone, nn.Module | None]:
    architecture = card.architecture
    if architecture.net not in NETS:
        raise BadPackage(f"net {shown(architecture.net)} is unknown; this version has {', '.join(NETS)}")
    try:
        net, head = NETS[architecture.net], None
        backbone = net.build(architecture)
        if card.head is not None:
            head = make_head(card.head.task, map_channels(net), len(card.head.classes)).eval()
            head.load_state_dict(_under(_HEAD, weights))
        backbone.load_state_dict(weights if head is None else _under(_BACKBONE, weights))
    except (SearchError, ValueError, RuntimeError) as error:
        raise BadPackage(f"{WEIGHTS} does not fit the architecture: {str(error).splitlines()[0]}") from None
    return backbone.eval(), head


def _under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def _tensors(tensors: dict[str, Tensor]) -> bytes:
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise BadPackage(f"{path} is no safetensors file ({error}); get the package again") from None
