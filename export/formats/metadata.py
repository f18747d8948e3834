"""What travels inside the artefact: its preprocessing and its provenance, as the model's ``metadata_props``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from export.documents import read_document, to_document
from export.errors import MalformedReport, UnusableInput
from export.types import ExportTarget, Preprocess


def metadata_props(
    preprocess: Preprocess, *, name: str, net: str, architecture: str, classes: Sequence[str] = ()
) -> dict[str, str]:
    """Return the metadata to export a model with.

    Args:
        preprocess: how a picture becomes the input.
        name: the model's name, e.g. ``data-mocov2-cls-1ms``.
        net: the family of its network, e.g. ``mobile``.
        architecture: the point of that family, as JSON.
        classes: names of the classes of a network with a head, in their order; ``classes`` is then a JSON list.
    """
    about = {"name": name, "net": net, "architecture": architecture}
    names = {"classes": json.dumps(list(classes))} if classes else {}
    return {"preprocess": json.dumps(to_document(preprocess)), **about, **names}


def read_preprocess(metadata: Mapping[str, str]) -> Preprocess:
    """Return the preprocessing that ``metadata`` holds.

    Raises:
        UnusableInput: it has none, or one that cannot be read.
    """
    if "preprocess" not in metadata:
        raise UnusableInput("the metadata has no 'preprocess', so nobody could feed the artefact; add metadata_props()")
    try:
        return read_document(Preprocess, json.loads(metadata["preprocess"]))
    except (json.JSONDecodeError, MalformedReport) as error:
        raise UnusableInput(f"the metadata's 'preprocess' cannot be read: {error}; use metadata_props()") from error


def check_metadata(metadata: Mapping[str, str], target: ExportTarget) -> None:
    """Refuse metadata that does not describe the target's input.

    Raises:
        UnusableInput: no readable preprocessing, another input size, or a value that is not text.
    """
    if wrong := [key for key, value in metadata.items() if not isinstance(value, str)]:
        raise UnusableInput(f"the metadata's {wrong[0]!r} is not text; write it as text, e.g. with json.dumps")
    size_px = read_preprocess(metadata).size_px
    if size_px != target.input_nchw[2:]:
        raise UnusableInput(
            f"the metadata preprocesses to {size_px[0]}x{size_px[1]} px, but the target's input is"
            f" {target.input_nchw[2]}x{target.input_nchw[3]} px; make them equal"
        )
