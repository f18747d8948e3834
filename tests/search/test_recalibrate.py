import copy

import pytest
import torch
from torch import Tensor, nn

from search.nets import NETS, Backbone
from search.recalibrate import batches, recalibrate
from tests.search.small_supernets import randomize_norms


def backbone() -> Backbone:
    made = NETS["resnet"].build(NETS["resnet"].smallest(16))
    randomize_norms(made)
    return made.eval()


def test_statistics_are_the_plain_average_over_batches() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(9.0)  # of another domain: must leave no trace
    parts = [torch.randn(4, 3, 5, 5) * scale + scale for scale in (1.0, 2.0, 5.0)]
    recalibrate(norm, parts)
    torch.testing.assert_close(norm.running_mean, torch.stack([b.mean((0, 2, 3)) for b in parts]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([b.var((0, 2, 3)) for b in parts]).mean(0))
    assert norm.num_batches_tracked == 3


def test_after_one_batch_eval_gives_what_training_gave_up_to_the_unbiased_variance() -> None:
    net, x = backbone(), torch.randn(8, 3, 16, 16)
    in_training = copy.deepcopy(net).train()
    counts: dict[str, int] = {}  # values a channel, of each normalization
    for name, part in in_training.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(lambda _, i, o, name=name: counts.update({name: o.numel() // o.shape[1]}))
    with torch.no_grad():
        wanted = in_training(x)
    recalibrate(net, [x])
    for name, part in net.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.mul_((counts[name] - 1) / counts[name])
    with torch.no_grad():
        torch.testing.assert_close(net(x), wanted, rtol=1e-4, atol=1e-4)


def test_eval_mode_is_left_on_and_momentum_as_it_was() -> None:
    net = backbone().train()
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    for i, norm in enumerate(norms):
        norm.momentum = i / 100
    weights = copy.deepcopy(dict(net.named_parameters()))
    recalibrate(net, [torch.randn(4, 3, 16, 16)] * 2)
    assert not any(part.training for part in net.modules())
    assert [norm.momentum for norm in norms] == [i / 100 for i in range(len(norms))]
    assert all(torch.equal(p, weights[name]) and p.grad is None for name, p in net.named_parameters())


def test_what_was_there_before_leaves_no_trace() -> None:
    parts = [torch.randn(4, 3, 16, 16) for _ in range(2)]
    net = backbone()
    recalibrate(net, [10 + parts[0]])
    recalibrate(net, parts)
    once = {name: b.clone() for name, b in net.named_buffers()}
    recalibrate(net, parts)
    assert all(torch.equal(b, once[name]) for name, b in net.named_buffers())


def test_no_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="0 batches; statistics need at least 1"):
        recalibrate(backbone(), [])


@pytest.mark.parametrize("px", [32, 80, 160, 224, 1024])
@pytest.mark.parametrize("images", [1, 2, 129, 300, 5000])
def test_batches_are_even_and_hold_fewer_images_the_larger_these_are(images: int, px: int) -> None:
    parts = batches(images, px, px)
    sizes, chosen = [len(part) for part in parts], torch.cat(parts)
    assert len(set(chosen.tolist())) == len(chosen) and int(chosen.max()) < images  # each once
    assert max(sizes) - min(sizes) <= 1 and (min(sizes) > 1 or images == 1)
    assert min(256, images) <= sum(sizes) <= min(2048, images)
    assert sum(sizes) == images or sum(sizes) >= sum(map(len, batches(images, 2 * px, px)))
    assert (max(sizes) - 1) * px * px <= max(128 * 80**2, 16 * px * px)  # what a pass takes in memory


def test_every_batch_has_images_of_all_parts_of_a_folder_that_comes_class_by_class() -> None:
    assert all(len((part // 500).unique()) == 8 for part in batches(4000, 80, 80))


def test_momentum_and_mode_survive_a_failure() -> None:
    def wrong() -> list[Tensor]:
        return [torch.randn(4, 4, 16, 16)]  # four channels

    net = backbone()
    with pytest.raises(RuntimeError):
        recalibrate(net, wrong())
    assert not any(part.training for part in net.modules())
    assert all(part.momentum == 0.1 for part in net.modules() if isinstance(part, nn.BatchNorm2d))
