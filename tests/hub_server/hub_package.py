"""A small package of a real net, as large as asked, for those who have none at hand."""

from pathlib import Path

import torch

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from export.types import Preprocess
from hardware_profiles.measure.probe import probe_device
from search.nets import NETS
from search.recalibrate import recalibrate
from search.types import Task
from zoo.package.folder import write_package
from zoo.types import Images, ModelCard, Provenance, Try

_SIDE_PX = 16


def make_package(out: Path, *, megabytes: float) -> Path:
    """Write a package of about that size: the smallest mobile network, or with more the largest ones."""
    torch.manual_seed(0)
    net, device = NETS["mobile"], probe_device(threads=1)
    small = megabytes < 10
    architecture = net.smallest(_SIDE_PX) if small else net.largest(_SIDE_PX)
    backbone = net.build(architecture)
    recalibrate(backbone, [torch.randn(16, 3, _SIDE_PX, _SIDE_PX)])
    preprocess = Preprocess(size_px=(_SIDE_PX, _SIDE_PX), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    report = export(
        backbone.eval(),
        torch.randn(4, 3, _SIDE_PX, _SIDE_PX),
        target=target_at("cloud", _SIDE_PX),
        path=out.with_name("model.onnx"),
        metadata=metadata_props(preprocess, name="benchmark", net="mobile", architecture="[]"),
        predicted_ms=None,
        device=device.id,
        threads=1,
    )
    tried = Try(architecture=architecture, score=0.0, predicted_ms=1.0, measured_ms=None)
    card = ModelCard(
        name="data-mocov2-cls-1ms@this",
        architecture=architecture,
        task=Task.CLS,
        recipe=Provenance(
            supernet="none",
            supernet_sha256="0" * 64,
            supernet_recipe={},
            supernet_data={},
            device=device,
            table_validation=None,
            seed=0,
            evaluated=0,
            seconds=0.0,
            tries=(tried,),
        ),
        preprocess=preprocess,
        reports=(report,),
        evaluation=(),
        license="apache-2.0",
        images=Images(count=0, skipped=0, fingerprint="none"),
        commit=None,
        zoo_version="0",
    )
    write_package(out, card=card, backbone=backbone)
    return out
