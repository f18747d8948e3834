"""Images need not fit in memory: wherever they are kept, the training is the same."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.curve import METRICS
from search.errors import NotEnoughImages, NotEnoughMemory, TrainingError, WriteFailed
from search.images.feed import feed, take
from search.images.read import image_files, image_names
from search.images.sources import source_of
from search.images.stored import PIXELS, Stored, decode, store
from search.oneshot.ssl import SSL
from search.supernet import WEIGHTS
from search.types import Cache
from tests.conftest import refused
from tests.search.small_runs import ctrl_c, interrupt_at, tiny, train
from tests.search.small_supernets import no_file_above, stripes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(stripes(64, 20).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    (folder / "65.png").write_bytes(b"no picture")
    return folder


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch's, on a machine of one core
def test_a_file_or_decoding_anew_trains_as_memory_does_with_any_workers_resumed_or_not(
    images: Path, tmp_path: Path
) -> None:
    def fed(cache: str) -> torch.Tensor:
        return feed(images, size_px=20, crop_px=16, cache=cache, folder=tmp_path / "cache").pixels  # type: ignore

    recipe = tiny(accumulate=2)
    train(recipe, fed("ram"), tmp_path / "ram")
    for cache, workers in (("disk", 0), ("disk", 2), ("none", 1)):
        out = tmp_path / f"{cache}{workers}"
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_at(3, patch, ctrl_c)
            train(recipe, fed(cache), out, running={"workers": workers})
        train(recipe, fed(cache), out, running={"workers": workers}, resume=True)
        assert (out / METRICS).read_text() == (tmp_path / "ram" / METRICS).read_text()
        assert (out / WEIGHTS).read_bytes() == (tmp_path / "ram" / WEIGHTS).read_bytes()


def test_a_file_is_made_once_and_again_where_it_or_the_folder_changed(images: Path, tmp_path: Path) -> None:
    def stored() -> Stored:
        return store(source_of(images), tmp_path / "cache", size_px=20)

    first = stored()
    assert len(first) == 64 and first.skipped == 1 and first.different == 64
    time_ns = (file := first.path).stat().st_mtime_ns
    assert stored().path == file and file.stat().st_mtime_ns == time_ns
    data = bytearray(file.read_bytes())
    for damage in (bytes(100), bytes(len(data))):
        file.write_bytes(damage)
        assert stored().checksum == first.checksum and file.read_bytes() == data
    Image.new("RGB", (20, 20), "red").save(images / "00.png")
    assert stored().checksum != first.checksum and stored().path != file


def test_a_folder_that_changed_is_not_resumed(images: Path, tmp_path: Path) -> None:
    def pixels() -> Stored:
        return store(source_of(images), tmp_path / "cache", size_px=20)

    train(tiny(), pixels(), tmp_path / "out")  # type: ignore[arg-type]
    (images / "63.png").unlink()
    with pytest.raises(TrainingError, match="of 64 other images than these 63"):
        train(tiny(), pixels(), tmp_path / "out", resume=True)  # type: ignore[arg-type]


def test_a_full_disk_leaves_no_file_and_says_what_to_do(images: Path, tmp_path: Path) -> None:
    with no_file_above(4000), pytest.raises(WriteFailed, match=r"cannot be written .*; free .* GB, .*--cache none"):
        store(source_of(images), tmp_path / "cache", size_px=20)
    assert not list((tmp_path / "cache").rglob(PIXELS))


def test_lists_and_shards_give_the_images_of_the_folder(images: Path, tmp_path: Path) -> None:
    paths = sorted(images.glob("*.png"))
    (tmp_path / "list.txt").write_text("\n".join(f"images/{path.name}" for path in paths))
    shards = tmp_path / "shards"
    shards.mkdir()
    for k in range(2):
        with tarfile.open(shards / f"{k}.tar", "w") as tar:
            for path in paths[k * 33 : (k + 1) * 33]:
                tar.add(path, path.name)
                (tmp_path / "label.cls").write_text("1")
                tar.add(tmp_path / "label.cls", f"{path.stem}.cls")
    whole = feed(images, size_px=20, crop_px=16, cache="ram", folder=tmp_path / "cache").pixels
    for other in (tmp_path / "list.txt", shards):
        for cache in ("ram", "disk", "none"):
            pixels = feed(other, size_px=20, crop_px=16, cache=cache, folder=tmp_path / "cache").pixels  # type: ignore
            rows = list(range(64))
            assert torch.equal(pixels[rows] if cache == "ram" else pixels.__getitems__(rows), whole), (other, cache)


def test_what_is_cut_off_missing_or_no_source_is_one_line(images: Path, tmp_path: Path) -> None:
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(images / "00.png", "00.png")
        tar.add(images / "01.png", "01.png")
    shard.write_bytes(shard.read_bytes()[:700])
    (tmp_path / "list.txt").write_text("images/00.png\nimages/none.png\n")
    (tmp_path / "x.csv").write_text("")
    for name, complaint in (
        ("a.tar", "cut off"),
        ("list.txt", "names 1 of 2 files that do not exist, first .*none.png"),
        ("x.csv", "is no folder, .tar, .txt"),
        ("nowhere", "is not a folder; name one that holds"),
    ):
        with refused(NotEnoughImages, match=complaint):
            feed(tmp_path / name, size_px=20, crop_px=16, folder=tmp_path)


@pytest.fixture
def dataset(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the Hub holds it: a Parquet file, and how many images it has."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    datasets.disable_progress_bars()
    paths = [str(path) for path in sorted(images.glob("*.png")) if path.stat().st_size > 20]
    rows = datasets.Dataset.from_dict({"label": list(range(64)), "image": paths})
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows.cast_column("image", datasets.Image()).to_parquet(folder / "train.parquet")
    about = "dataset_info:\n  splits:\n  - name: train\n    num_examples: 64\n    num_bytes: 1\n"
    (folder / "README.md").write_text(f"---\n{about}---\n")
    return folder


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
def test_a_dataset_gives_its_images_and_is_streamed_where_they_are_taken_once(
    dataset: Path, images: Path, tmp_path: Path, cache: Cache
) -> None:
    whole = feed(images, size_px=20, crop_px=16, cache="ram", folder=tmp_path / "cache").pixels
    for _ in range(2):
        pixels = feed(f"hf://{dataset}", size_px=20, crop_px=16, cache=cache, folder=tmp_path / "cache").pixels
        assert torch.equal(take(pixels, range(64)), whole)
    assert bool(list((tmp_path / "datasets").rglob("*-train.arrow"))) == (cache == "none")


def test_a_dataset_needs_a_column_of_images(dataset: Path, tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": ["a"] * 64}).to_parquet(dataset / "train.parquet")
    with refused(NotEnoughImages, match=r"has no column of images \(text\)"):
        feed(f"hf://{dataset}", size_px=20, crop_px=16, cache="disk", folder=tmp_path / "cache")


def test_shards_of_webdataset_are_read_and_their_index_is_kept(images: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    paths = [path for path in sorted(images.glob("*.png")) if path.stat().st_size > 20]
    (tmp_path / "shards").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "shards" / "%02d.tar"), maxcount=30, verbose=0) as sink:
        for i, path in enumerate(paths):
            sink.write({"__key__": f"{i:04}", "png": path.read_bytes(), "cls": i})
    whole = feed(images, size_px=20, crop_px=16, cache="ram", folder=tmp_path / "cache").pixels
    for change in (lambda index: None, lambda index: index.write_bytes(b"damaged"), lambda index: index.unlink()):
        source = source_of(tmp_path / "shards", folder=tmp_path / "index")
        found = np.stack([decode(source, i, 20) for i in source.items()])
        assert torch.equal(torch.from_numpy(found), whole) and source.name(31).endswith("01.tar:0031.png")
        (index,) = (tmp_path / "index").iterdir()
        change(index)


def test_the_files_of_a_folder_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a.png", "a-b/c.png", ".hidden/x.png", "a/.y.png", "a/b/c.png", "n.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    expected = sorted(tmp_path / name for name in ("b.png", "a/z.png", "a.png", "a-b/c.png", "a/b/c.png"))
    assert [Path(name) for name in image_names(tmp_path, [])] == expected == image_files(tmp_path)[0]


def test_more_than_the_memory_is_one_line_with_the_way_out(images: Path, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughMemory, match=r"65 images of 999999 px need .* GB of memory and .*--cache disk"):
        feed(images, size_px=999_999, crop_px=16, cache="ram", folder=tmp_path)


def test_each_rank_asks_for_its_own_rows() -> None:
    ssl = SSL(tiny(accumulate=2), stripes(64, 20))
    order = np.random.default_rng((0, 1)).permutation(64)
    assert np.concatenate([ssl.rows(5, part) for part in range(2)]).tolist() == order[16:32].tolist()
