import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from search.errors import BadArchitecture
from search.nets import NETS
from search.supernet import Supernet, save_supernet
from zoo.cli.app import program
from zoo.supernets import read_supernet
from zoo.use.evaluate import evaluate
from zoo.use.resolve import read_choices

SMALLEST = NETS["mobile"].smallest(16)
CHOICES = " ".join(map(str, SMALLEST.choices))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of reddish, greenish and bluish images: 20 a class to know, 4 to classify."""
    root, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (20, 20, 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root / "train", root / "test"


def run(what: object, train: Path, test: Path, *args: object) -> Result:
    command = ("evaluate", what, "--train", train, "--test", test, *args)
    return CliRunner().invoke(program(), [str(arg) for arg in command])


def test_colors_are_told_apart_by_features_and_rows_say_of_which_network(home: Path, sets: tuple[Path, Path]) -> None:
    said: list[str] = []
    found = evaluate(
        "mobile-mocov2", train=sets[0], test=sets[1], subnets=1, k=10, with_untrained=True, say=said.append
    )
    assert [row.network for row in found.networks] == ["largest", "smallest", "random 0"]
    assert (found.train, found.test, found.classes, found.resolution_px) == (60, 12, 3, 16)
    for row in found.networks:
        assert row.untrained is not None and min(row.trained.knn, row.trained.linear, row.untrained.linear) > 0.5
    assert found.networks[0].params > found.networks[1].params
    assert found.networks[1].architecture == SMALLEST
    assert len(said) == 6 and said[0].startswith("largest: k-NN ")


def test_the_same_seed_gives_the_same_figures_and_networks(home: Path, sets: tuple[Path, Path]) -> None:
    options = {"train": sets[0], "test": sets[1], "k": 10, "architectures": [CHOICES]}
    one, two = (evaluate("mobile-mocov2", **options, seed=3) for _ in range(2))
    assert one == two


def test_a_package_is_judged_as_it_was_delivered(pristine: Path, home: Path, sets: tuple[Path, Path]) -> None:
    result = run(pristine, *sets, "--k", 10, "--json", "--quiet")
    assert result.exit_code == 0 and result.stderr == ""
    document = json.loads(result.stdout)
    assert document["name"] == "data-mocov2-cls-1ms@bench" and document["k"] == 10
    (row,) = document["networks"]
    assert row["network"] == "package" and 0 <= row["trained"]["knn"] <= 1 and row["untrained"] is None


def test_people_get_a_table(home: Path, sets: tuple[Path, Path]) -> None:
    result = run("mobile-mocov2", *sets, "--k", 10, "--architecture", CHOICES.replace(" ", ","))
    title, heading, row = result.stdout.splitlines()
    assert (
        title
        == "mobile-mocov2 at 16 px; 60 training and 12 test images of 3 classes; standard error at most 14.4 points"
    )
    assert heading.split() == ["network", "parameters", "10-NN", "linear"] and row.count("%") == 2


def test_choices_are_read_as_they_are_printed() -> None:
    for net in (NETS["mobile"], NETS["resnet"]):
        for architecture in (net.largest(32), net.random(32, np.random.default_rng(0))):
            assert read_choices(" ".join(map(str, architecture.choices)), net, 32) == architecture
    with pytest.raises(BadArchitecture, match="needs"):
        read_choices("1 2 3", NETS["resnet"], 32)
    with pytest.raises(BadArchitecture, match="'x'"):
        read_choices(" ".join(["x"] * len(NETS["resnet"].space)), NETS["resnet"], 32)


def test_bad_input_gets_one_line_with_the_fix(
    home: Path, pristine: Path, sets: tuple[Path, Path], image_folder: Path, tmp_path: Path
) -> None:
    train, test = sets
    (tmp_path / "one" / "red").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "one" / "red" / "a.png")
    Image.new("RGB", (20, 20), "red").save(tmp_path / "one" / "red" / "b.png")
    (tmp_path / "damaged" / "red").mkdir(parents=True)
    (tmp_path / "damaged" / "red" / "a.png").write_bytes(b"no image")
    (tmp_path / "other" / "pink").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "other" / "pink" / "a.png")
    Image.new("RGB", (20, 20), "pink").save(tmp_path / "other" / "pink" / "b.png")
    for what, first, second, complaint, code in (
        ("mobile-mocov2", image_folder, test, "has no sub-folder with images", 1),
        ("mobile-mocov2", tmp_path / "one", test, "has one class, red; accuracy needs at least 2", 1),
        ("mobile-mocov2", tmp_path / "damaged", test, "holds 0 usable images", 1),
        ("mobile-mocov2", tmp_path / "none", test, "is not a folder", 1),
        ("mobile-mocov2", train, tmp_path / "other", "1 classes that the training images have not (pink)", 1),
        ("mobile-mocov2", train, test, "60 training images are fewer than the 200 neighbors that vote", 2),
        ("mobil-mocov2", train, test, "nearest: mobile-mocov2", 1),
        (tmp_path / "none", train, test, "is no package", 1),
    ):
        result = run(what, first, second, "--k", 200 if "neighbors" in complaint else 1)
        assert result.exit_code == code and result.stdout == "", result.stderr
        assert complaint in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr
    result = run(pristine, train, test, "--architecture", "1 2")
    assert result.exit_code == 2 and "is none; leave it out" in result.stderr


def test_a_quarter_of_few_training_images_votes_and_it_is_said(
    home: Path, pristine: Path, sets: tuple[Path, Path]
) -> None:
    said: list[str] = []
    found = evaluate(pristine, train=sets[0], test=sets[1], progress=None, say=said.append)
    assert found.k == found.train // 4 == 15
    assert "15 neighbors vote, for 60 training images are fewer than 200" in said


def test_a_supernet_of_one_network_has_one_row(home: Path, sets: tuple[Path, Path], tmp_path: Path) -> None:
    whole = read_supernet("mobile-mocov2").supernet
    smallest, projector = whole.subnet(SMALLEST), whole.projector(whole.subnet(SMALLEST).embedding_dim)
    parts = {"backbone": smallest, "projector": projector}
    weights = {f"{part}.{name}": p.detach() for part, module in parts.items() for name, p in module.named_parameters()}
    card = replace(whole.card, name="alone", architecture=SMALLEST.choices)
    save_supernet(Supernet(card=card, weights=weights), tmp_path / "alone")
    (row,) = evaluate(tmp_path / "alone", train=sets[0], test=sets[1], k=10).networks
    (same,) = evaluate("mobile-mocov2", train=sets[0], test=sets[1], k=10, architectures=[CHOICES]).networks
    assert row.architecture == same.architecture and row.network == "only"
    assert row.trained.knn == pytest.approx(same.trained.knn, abs=0.1)  # its weights were stored with 16 bits
