import dataclasses
import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from search.errors import BadArchitecture, BadSupernet, WriteFailed
from search.nets import NETS
from search.supernet import CARD, WEIGHTS, Supernet, load_supernet, save_supernet, slice_to
from search.types import Architecture
from tests.conftest import refused
from tests.search.small_supernets import no_file_above, random_supernet


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return random_supernet("tiny", 16)


@pytest.fixture
def folder(supernet: Supernet, tmp_path: Path) -> Path:
    save_supernet(supernet, tmp_path / "supernet")
    return tmp_path / "supernet"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_saved_loads_back_equal_up_to_fp16(supernet: Supernet, folder: Path) -> None:
    loaded = load_supernet(folder)
    assert loaded.card == supernet.card
    assert loaded.weights.keys() == supernet.weights.keys()
    assert all(torch.equal(loaded.weights[k], v.half().float()) for k, v in supernet.weights.items())
    save_supernet(loaded, folder.with_name("again"))
    assert contents(folder.with_name("again")) == contents(folder)


def test_a_folder_holds_the_two_files_which_others_may_read(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CARD}
    fresh = folder / "fresh"
    fresh.touch()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {stat.S_IMODE(fresh.stat().st_mode)}


def test_a_subnet_s_tensors_are_slices_of_the_largest_s_and_share_no_storage(supernet: Supernet) -> None:
    net, rng = supernet.net, np.random.default_rng(0)
    owned = {tensor.untyped_storage().data_ptr() for tensor in supernet.weights.values()}
    for architecture in (net.largest(16), net.smallest(16), net.random(16, rng)):
        subnet = supernet.subnet(architecture)
        projector = supernet.projector(subnet.embedding_dim)
        for part, module in (("backbone", subnet), ("projector", projector)):
            for name, tensor in module.named_parameters():
                whole = supernet.weights[f"{part}.{name}"]
                prefix = whole[tuple(slice(length) for length in tensor.shape[:2])]
                start = (whole.shape[-1] - tensor.shape[-1]) // 2 if tensor.ndim == 4 else 0
                center = slice(start, start + tensor.shape[-1])
                assert torch.equal(tensor, prefix[:, :, center, center] if tensor.ndim == 4 else prefix)
                assert tensor.untyped_storage().data_ptr() not in owned
        subnet.stem.conv[0].weight.data.zero_()
    assert supernet.weights["backbone.stem.conv.0.weight"].any()


def test_a_small_kernel_is_the_center_of_the_large_one() -> None:
    kernel = torch.arange(25.0).view(1, 1, 5, 5)
    assert torch.equal(slice_to(kernel, torch.Size((1, 1, 3, 3))), kernel[:, :, 1:4, 1:4])
    assert torch.equal(slice_to(torch.arange(6.0), torch.Size((4,))), torch.arange(4.0))


def test_a_subnet_is_in_eval_mode_with_fresh_statistics_and_draws_no_random_number(supernet: Supernet) -> None:
    before = torch.get_rng_state()
    subnet = supernet.subnet(supernet.net.largest(16))
    assert torch.equal(torch.get_rng_state(), before)
    assert not subnet.training
    for name, buffer in subnet.named_buffers():
        assert bool((buffer == (1 if name.endswith("running_var") else 0)).all())
    with torch.no_grad():
        assert subnet(torch.randn(2, 3, 16, 16)).isfinite().all()


def test_an_architecture_of_another_net_is_refused(supernet: Supernet) -> None:
    with pytest.raises(BadArchitecture, match="'mobile', not 'tiny'"):
        supernet.subnet(Architecture(net="mobile", choices=(), resolution_px=16))


def card_with(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        fields = json.loads((folder / CARD).read_text())
        change(fields)
        (folder / CARD).write_text(json.dumps(fields))

    return edit


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-100] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def sign_again(folder: Path, data: bytes) -> None:
    (folder / WEIGHTS).write_bytes(data)
    card_with(lambda fields: fields.update(sha256=hashlib.sha256(data).hexdigest()))(folder)


def drop_a_tensor(folder: Path) -> None:
    tensors = load((folder / WEIGHTS).read_bytes())
    del tensors["projector.3.bias"]
    sign_again(folder, save(tensors))


def reshape_a_tensor(folder: Path) -> None:
    tensors = load((folder / WEIGHTS).read_bytes())
    sign_again(folder, save({**tensors, "projector.3.bias": torch.zeros(9)}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "is damaged: its sha256 is not the card's"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000]), "is damaged"),
        (lambda folder: sign_again(folder, b"not safetensors at all"), "is no safetensors file"),
        (drop_a_tensor, "is no supernet of tiny: 1 tensors differ, first projector.3.bias"),
        (reshape_a_tensor, "is no supernet of tiny: 1 tensors differ, first projector.3.bias"),
        (lambda folder: (folder / WEIGHTS).unlink(), "model.safetensors cannot be read (No such file or directory)"),
        (lambda folder: (folder / CARD).unlink(), "card.json cannot be read (No such file or directory)"),
        (lambda folder: (folder / CARD).write_bytes(b"\xff\x00"), "is no supernet's card"),
        (lambda folder: (folder / CARD).write_text("{"), "is no supernet's card"),
        (lambda folder: (folder / CARD).write_text("[1, 2]"), "is no supernet's card"),
        (card_with(lambda fields: fields.pop("projection")), "it has no 'projection'"),
        (card_with(lambda fields: fields.pop("recipe")), "recipe"),
        (card_with(lambda fields: fields.pop("sha256")), "it has no 'sha256'"),
        (card_with(lambda fields: fields.update(extra=1)), "extra"),
        (card_with(lambda fields: fields.update(schema=99)), "has schema 99; this version reads 2"),
        (card_with(lambda fields: fields.update(net="vit")), "net is 'vit'; known are mobile, mobile-photo"),
        (card_with(lambda fields: fields.update(net="mobile")), "is no supernet of mobile"),
        (card_with(lambda fields: fields.update(resolution_px="big")), "resolution_px is ('big',)"),
        (card_with(lambda fields: fields.update(projection=[16])), "projection is (16,); it must be 2 number(s)"),
        (card_with(lambda fields: fields.update(std=[0, 1, 1])), "must be above 0"),
        (card_with(lambda fields: fields.update(mean=None)), "is no supernet's card"),
    ],
)
def test_a_damaged_supernet_is_refused_in_one_line(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with refused(BadSupernet) as caught:
        load_supernet(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_when_the_disk_is_full_the_previous_supernet_stays_whole(supernet: Supernet, folder: Path) -> None:
    before = contents(folder)
    changed = dataclasses.replace(supernet, weights={k: v + 1 for k, v in supernet.weights.items()})
    with no_file_above(2000), pytest.raises(WriteFailed, match=r"cannot be written to .*; free some space") as caught:
        save_supernet(changed, folder)
    assert "\n" not in str(caught.value)
    assert contents(folder) == before
    assert load_supernet(folder).card == supernet.card


def test_when_the_disk_is_full_a_new_folder_stays_empty(supernet: Supernet, tmp_path: Path) -> None:
    with no_file_above(2000), pytest.raises(WriteFailed):
        save_supernet(supernet, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused_in_one_line(supernet: Supernet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailed, match="cannot be written"):
        save_supernet(supernet, tmp_path / "file")
    with pytest.raises(BadSupernet, match="cannot be read"):
        load_supernet(tmp_path / "file")


def test_the_tensors_of_every_net_are_known_by_name(supernet: Supernet) -> None:
    for name in ("mobile", "resnet"):
        net = NETS[name]
        with torch.device("meta"):
            names = {key for key, _ in net.build(net.largest(32)).named_parameters()}
            for architecture in (net.smallest(32), net.random(32, np.random.default_rng(0))):
                assert {key for key, _ in net.build(architecture).named_parameters()} <= names
