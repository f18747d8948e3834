"""A package: one folder with a network's weights, artefacts, card and evidence. Written whole or not at all.

README.md  config.json  model.safetensors  onnx/model.onnx  perf.yaml  numerics.yaml  golden.safetensors
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from export.types import ExportReport
from search.errors import SearchError
from search.nets import NETS, Backbone
from zoo.card import CONFIG, NUMERICS, PERF, config_text, read_config, read_reports, reports_texts
from zoo.errors import BadPackage
from zoo.folders import staged
from zoo.golden import INPUT, make_golden, replay
from zoo.manifest import Digest, describe, read_checked
from zoo.model import Model
from zoo.names import shown
from zoo.readme import render_readme
from zoo.types import ModelCard

README, WEIGHTS, GOLDEN = "README.md", "model.safetensors", "golden.safetensors"


def write_package(out: Path, *, card: ModelCard, backbone: Backbone, overwrite: bool = False) -> ModelCard:
    """Write a package.

    Args:
        out: its folder.
        card: what is known of the network; the paths in ``card.reports`` are where the artefacts lie now, and their
            file names are kept.
        backbone: the network, in eval mode.
        overwrite: replace an earlier package.

    Returns:
        The card as it was written, with paths relative to the package.

    Raises:
        OutputExists: ``out`` is not empty and may not be replaced.
    """
    with staged(out, mark=CONFIG, overwrite=overwrite) as draft:
        (draft / "onnx").mkdir()
        reports = tuple(_adopt(report, draft) for report in card.reports)
        card = replace(card, reports=reports)
        params = sum(p.numel() for p in backbone.parameters())
        texts = reports_texts(reports)
        texts[README] = render_readme(card, params=params, embedding_dim=backbone.embedding_dim)
        for file, text in texts.items():
            (draft / file).write_text(text, "utf-8", newline="\n")
        (draft / WEIGHTS).write_bytes(_tensors(backbone.state_dict()))
        (draft / GOLDEN).write_bytes(_tensors(make_golden(backbone, card.architecture.resolution_px)))
        files = [*texts, WEIGHTS, GOLDEN, *(report.path.as_posix() for report in reports)]
        (draft / CONFIG).write_text(config_text(card, describe(draft, files)), "utf-8", newline="\n")
    return card


def load_package(folder: Path, *, verify: bool = False) -> Model:
    """Read a package; every file must be what its manifest says.

    Args:
        folder: of the package.
        verify: run the network and its artefacts on the golden input, too.

    Raises:
        BadPackage: a file is missing, damaged, or of another schema.
        VerificationFailed: an output is not the golden one.
    """
    card, manifest = _read_config(folder)
    files = {file: read_checked(folder, file, manifest) for file in manifest}
    card = _with_reports(card, files)
    for report in card.reports:
        _required(files, report.path.as_posix())
    backbone = _build(card, _read_tensors(folder / WEIGHTS, _required(files, WEIGHTS)))
    if verify:
        golden = _read_tensors(folder / GOLDEN, _required(files, GOLDEN))
        if INPUT not in golden:
            raise BadPackage(f"{folder / GOLDEN} has no tensor {INPUT!r}; get the package again")
        replay(backbone, golden, card.reports, folder)
    return Model(backbone, card, folder)


def read_card(folder: Path) -> ModelCard:
    """The card of a package, without reading its weights.

    Raises:
        BadPackage: there is none, or it is damaged.
    """
    card, manifest = _read_config(folder)
    return _with_reports(card, {file: read_checked(folder, file, manifest) for file in (PERF, NUMERICS)})


def is_package(folder: Path) -> bool:
    """Whether the folder says of itself that it is a package."""
    try:
        return (folder / CONFIG).is_file()
    except OSError:  # a name too long for the file system
        return False


def _adopt(report: ExportReport, draft: Path) -> ExportReport:
    path = PurePosixPath("onnx", report.path.name)
    (draft / path).write_bytes(report.path.read_bytes())
    return replace(report, path=Path(path))


def _read_config(folder: Path) -> tuple[ModelCard, dict[str, Digest]]:
    try:
        return read_config((folder / CONFIG).read_bytes().decode())
    except OSError as error:
        raise BadPackage(f"{folder} is no package: {CONFIG} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadPackage(f"{folder / CONFIG} is damaged: it is not UTF-8 text; get the package again") from None
    except BadPackage as error:
        raise BadPackage(f"{folder}: {error}") from None


def _with_reports(card: ModelCard, files: dict[str, bytes]) -> ModelCard:
    perf, numerics = (_required(files, file).decode(errors="replace") for file in (PERF, NUMERICS))
    return replace(card, reports=read_reports(perf, numerics))


def _required(files: dict[str, bytes], file: str) -> bytes:
    if file not in files:
        raise BadPackage(f"the package has no {shown(file)}; get it again")
    return files[file]


def _build(card: ModelCard, weights: dict[str, Tensor]) -> Backbone:
    architecture = card.architecture
    if architecture.net not in NETS:
        raise BadPackage(f"net {shown(architecture.net)} is unknown; this version has {', '.join(NETS)}")
    try:
        backbone = NETS[architecture.net].build(architecture)
        backbone.load_state_dict(weights)
    except (SearchError, ValueError, RuntimeError) as error:
        raise BadPackage(f"{WEIGHTS} does not fit the architecture: {str(error).splitlines()[0]}") from None
    return backbone.eval()


def _tensors(tensors: dict[str, Tensor]) -> bytes:
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise BadPackage(f"{path} is no safetensors file ({error}); get the package again") from None
