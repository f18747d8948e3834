from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from small_nets import ConvNet, seeded

from export import ComparisonFailed, Preprocess, UnusableInput, target_at
from export.artefact import export
from export.graph.pixels import take_pixels, to_pixels
from export.graph.to_onnx import make_onnx

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def normalized(preprocess: Preprocess, pixels: np.ndarray = PIXELS) -> torch.Tensor:
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) * preprocess.scale - mean) / std


def test_the_pixels_of_images_come_back_exactly(preprocess):
    np.testing.assert_array_equal(to_pixels(normalized(preprocess).numpy(), preprocess), PIXELS)


def test_images_that_no_pixels_give_are_refused(preprocess):
    with pytest.raises(UnusableInput, match="gray levels"):
        to_pixels(normalized(preprocess).numpy() + 0.005, preprocess)


@pytest.mark.parametrize("name", ["edge", "cloud"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_that_takes_pixels_computes_what_torch_computes_on_normalized_images(
    name, precision, preprocess, metadata, path
):
    from export.targets import with_precision

    net, x = seeded(ConvNet()), normalized(preprocess)
    target = replace(with_precision(target_at(name, 32), precision), uint8_input=True)
    report = export(
        net, x, target=target, path=path, metadata=metadata, predicted_ms=None, device="this", threads=1, time=False
    )
    assert report.comparison.passed and report.target.uint8_input
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape[1:]) == ("input", "tensor(uint8)", [32, 32, 3])
    (embedding,) = session.run(["embedding"], {"input": PIXELS[:1]})
    np.testing.assert_allclose(embedding, net(x[:1]).detach(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda how: replace(how, mean=how.mean[::-1]),
        lambda how: replace(how, std=(0.25, 0.25, 0.25)),
        lambda how: replace(how, mean=tuple(value + 1 / 255 for value in how.mean)),
    ],
)
def test_a_wrong_mean_or_std_inside_the_graph_is_caught(wrong, preprocess, metadata, path: Path, monkeypatch):
    import export.graph.finish

    monkeypatch.setattr(export.graph.finish, "take_pixels", lambda model, how: take_pixels(model, wrong(how)))
    target = replace(target_at("edge", 32), uint8_input=True)
    with pytest.raises(ComparisonFailed):
        export.artefact.export(
            seeded(ConvNet()),
            normalized(preprocess),
            target=target,
            path=path,
            metadata=metadata,
            predicted_ms=None,
            device="this",
            threads=1,
            time=False,
        )
    assert [file.name for file in path.parent.iterdir()] == ["model.failed.onnx"]


def test_the_graph_without_pixels_stays_as_it_was(preprocess, metadata):
    model = make_onnx(seeded(ConvNet()), target_at("edge", 32), metadata)
    before = model.SerializeToString()
    take_pixels(model, preprocess)
    assert model.SerializeToString() == before
