import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import zoo.package.card
from export.graph.finish import to_fp16
from search.nets import Backbone
from tests.hub_server.hub_faults import Fault
from tests.hub_server.hub_server import HubServer
from tests.zoo.hub.hub_names import ADDRESS, REPO, TOKEN
from zoo.catalogue.get import get, pull
from zoo.catalogue.locate import card_of, locate
from zoo.errors import BadPackage, HubError, NotInCache, OutputExists, UnknownName, VerificationFailed
from zoo.hub.address import parse_address
from zoo.hub.client import list_hub
from zoo.hub.fetch import fetch
from zoo.hub.pull import pull_folder
from zoo.hub.push import push
from zoo.hub.settings import hub_cache
from zoo.package.card import config_text, read_config
from zoo.package.folder import load_package, write_package
from zoo.package.manifest import Digest, Wanted, describe
from zoo.types import ModelCard

DOWNLOADS = r"/resolve/.*/"
NO_README = {"golden.safetensors", "model.safetensors", "numerics.yaml", "onnx/model.onnx", "perf.yaml"}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def downloaded(server: HubServer) -> list[str]:
    return [path.split("/", 5)[5] for path in server.asked(DOWNLOADS, "GET")]


@pytest.fixture
def variants(card: ModelCard, backbone: Backbone, pristine: Path, tmp_path: Path) -> Path:
    """A package with three artefacts: cloud fp32, edge fp32 for a phone, edge fp16."""
    reports = []
    for name, target, precision, device in (
        ("model", "cloud", "fp32", "bench"),
        ("model_edge", "edge", "fp32", "phone"),
        ("model_fp16", "edge", "fp16", "bench"),
    ):
        path = tmp_path / f"{name}.onnx"
        graph = onnx.load(pristine / "onnx/model.onnx")
        onnx.save(to_fp16(graph) if precision == "fp16" else graph, path)
        (one,) = card.reports
        chosen = replace(one.target, name=target, precision=precision)
        content = path.read_bytes()
        about = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        reports.append(replace(one, path=path, target=chosen, device=device, **about))
    write_package(tmp_path / "variants", card=replace(card, reports=tuple(reports)), backbone=backbone)
    return tmp_path / "variants"


def test_what_was_pushed_is_what_is_pulled_byte_for_byte(published: HubServer, tmp_path: Path) -> None:
    out = pull_folder(REPO, tmp_path / "out", verify=True)
    assert files_in(out) == published.files(REPO)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert load_package(out, verify=True).card.name == load_package(pull_folder(REPO), verify=True).card.name


def test_a_model_from_the_hub_is_the_model(published: HubServer, pristine: Path) -> None:
    import torch

    x = torch.randn(2, 3, 16, 16)
    for model in (get(REPO, verify=True), get(f"{REPO}@v1"), pull(f"{REPO}@main")):
        assert torch.equal(model(x), get(pristine)(x)) and model.onnx_path.is_file()
    assert set(downloaded(published)) == {"config.json", *NO_README}


def test_a_second_get_downloads_nothing(published: HubServer) -> None:
    fetch(ADDRESS)
    published.requests.clear()
    fetch(ADDRESS)
    assert published.requests == [("GET", f"/api/models/{REPO}")]
    published.requests.clear()
    fetch(replace(ADDRESS, revision=published.store.repos[REPO].tags["v1"]))
    assert published.requests == []


def test_a_revision_is_a_version_of_its_own(
    published: HubServer, card: ModelCard, backbone: Backbone, tmp_path: Path
) -> None:
    write_package(tmp_path / "new", card=replace(card, evaluation=()), backbone=backbone)
    push(tmp_path / "new", REPO)
    assert [len(get(f"{REPO}{at}").card.evaluation) for at in ("@v1", "@v2", "", "@main")] == [1, 0, 0, 0]
    with pytest.raises(HubError, match=r"acme/signs has no revision v3 on 127\.0\.0\.1"):
        get(f"{REPO}@v3")


@pytest.mark.parametrize(
    ("wanted", "artefacts"),
    [
        (Wanted(target="edge"), {"onnx/model_edge.onnx", "onnx/model_fp16.onnx"}),
        (Wanted(precision="fp16"), {"onnx/model_fp16.onnx"}),
        (Wanted(device="phone"), {"onnx/model_edge.onnx"}),
        (Wanted(target="cloud", device="bench"), {"onnx/model.onnx"}),
    ],
)
def test_only_the_files_for_what_is_wanted_are_downloaded(
    server: HubServer, variants: Path, tmp_path: Path, wanted: Wanted, artefacts: set[str]
) -> None:
    push(variants, REPO)
    server.requests.clear()
    model = pull(REPO, wanted=wanted, verify=True)
    assert {path.split("/", 5)[5] for path in server.asked(DOWNLOADS, "HEAD")} == (
        NO_README - {"onnx/model.onnx"}
    ) | artefacts | {"config.json"}
    assert {report.path.as_posix() for report in model.card.reports} == artefacts
    out = pull_folder(REPO, tmp_path / "out", wanted=wanted)
    assert {file for file in files_in(out) if file.startswith("onnx/")} == artefacts
    assert {r.path.as_posix() for r in load_package(out, verify=True).card.reports} == artefacts
    assert len(get(REPO).card.reports) == 3


def test_what_no_artefact_is_for_is_one_line_with_those_there_are(server: HubServer, variants: Path) -> None:
    push(variants, REPO)
    with pytest.raises(UnknownName, match=r"no artefact for device 'moon'; it has cloud fp32 for 'bench', edge fp16"):
        pull(REPO, wanted=Wanted(device="moon"))


def test_a_card_is_shown_without_its_weights(published: HubServer) -> None:
    assert card_of(REPO).card.reports[0].predicted_ms == 0.5
    assert set(downloaded(published)) == {"config.json", "perf.yaml", "numerics.yaml"}


def test_an_engine_is_left_on_the_hub(published: HubServer) -> None:
    _, manifest = read_config(published.files(REPO)["config.json"].decode())
    engine = Digest(bytes=6, sha256=hashlib.sha256(b"engine").hexdigest())
    card, _ = read_config(published.files(REPO)["config.json"].decode())
    text = config_text(card, {**manifest, "engines/h100.engine": engine})
    published.store.put(REPO, {"config.json": text.encode(), "engines/h100.engine": b"engine"})
    said: list[str] = []
    folder = pull_folder(REPO, say=said.append)
    assert "engines/h100.engine" not in downloaded(published) and "not fetched: engines/h100.engine" in said[0]
    assert load_package(folder).card.name == card.name


# The network fails.


def test_a_cut_download_goes_on_where_it_stopped(published: HubServer, impatient: list[float]) -> None:
    size = len(published.files(REPO)["model.safetensors"])
    published.sent_bytes = 0
    for _ in range(3):
        published.faults.add(Fault("model.safetensors", "GET", cut_after=size // 5))
    get(REPO, verify=True)
    assert len(published.asked("model.safetensors", "GET")) == 4
    total = sum(map(len, published.files(REPO).values()))
    assert published.sent_bytes < total + 3 * 300_000


def test_after_a_failed_download_the_next_one_fetches_only_what_is_missing(
    published: HubServer, impatient: list[float]
) -> None:
    published.faults.add(Fault("onnx/model.onnx", "GET", cut_after=10, times=50))
    with pytest.raises(HubError, match="run the same command again"):
        fetch(ADDRESS)
    published.faults.clear()
    published.requests.clear()
    fetch(ADDRESS)
    assert downloaded(published)[0] == "onnx/model.onnx" and "model.safetensors" not in downloaded(published)[1:2]
    assert not list(hub_cache().rglob("*.incomplete"))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(published: HubServer, impatient: list[float], status: int) -> None:
    published.faults.add(Fault("perf.yaml", "HEAD", status=status, times=2))
    fetch(ADDRESS)
    assert impatient


def test_a_slow_server_is_waited_for(published: HubServer) -> None:
    published.faults.add(Fault("perf.yaml", "GET", delay_s=0.5))
    fetch(ADDRESS)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Fault("/api/models/", status=401), "does not know the token"),
        (Fault("/api/models/", status=403), "does not let this token"),
        (Fault("/resolve/", status=404, headers={"X-Error-Code": "EntryNotFound"}), "has nothing there"),
        (Fault("/resolve/", status=409), "changed meanwhile"),
        (Fault("/api/models/", status=429), "asks for fewer requests"),
        (Fault("/api/models/", status=500), "in trouble"),
        (Fault("/api/models/", cut_after=0), "cannot be reached, and acme/signs is not in the cache"),
        (Fault("model.safetensors", "GET", status=500), "in trouble"),
    ],
)
def test_a_refusal_is_one_line_and_never_the_token(
    published: HubServer,
    impatient: list[float],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    complaint: str,
) -> None:
    published.faults.add(replace(fault, say="who is {token}?", times=50))
    with pytest.raises(HubError, match=complaint) as caught:
        fetch(ADDRESS)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {''.join(capfd.readouterr())} {caplog.text}"
    assert TOKEN not in shown and len(str(caught.value).splitlines()) == 1
    published.faults.clear()
    assert fetch(ADDRESS).files


def test_an_unknown_or_private_repository_looks_the_same_without_a_token(
    server: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.store.create(REPO, private=True)
    server.store.put(REPO, files)
    fetch(ADDRESS)
    monkeypatch.delenv("HF_TOKEN")
    complaints = []
    for repo in (REPO, "acme/absent"):
        with pytest.raises(HubError, match=r"may be seen without a token.*hf auth login") as caught:
            fetch(parse_address(f"{repo}@v1"))
        complaints.append(str(caught.value).replace(repo, ""))
    assert complaints[0] == complaints[1]


def test_a_dead_server_leaves_what_the_cache_has(server: HubServer, pristine: Path, tmp_path: Path) -> None:
    push(pristine, REPO)
    get(REPO)
    server.faults.add(Fault(".", status=503, times=1000))
    assert get(REPO, verify=True).card.name == get(f"{REPO}@main").card.name
    with pytest.raises(HubError, match=r"acme/other: 127\.0\.0\.1:\d+ is in trouble; try again later \(503\)"):
        get("acme/other")


# Offline.


def test_offline_the_cache_answers_without_a_request(published: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    get(f"{REPO}@v1")
    get(REPO)
    published.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert get(REPO, verify=True).card.name == get(f"{REPO}@v1").card.name
    assert published.requests == []


def test_offline_a_missing_package_says_what_is_missing_and_where(
    published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotInCache) as caught:
        fetch(ADDRESS)
    message = str(caught.value)
    assert REPO in message and str(hub_cache()) in message and "HF_HUB_OFFLINE=1 forbids" in message
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fetch(ADDRESS, card_only=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotInCache, match=r"golden\.safetensors of acme/signs"):
        fetch(ADDRESS)


def test_hf_home_is_where_the_files_go_and_what_others_fetched_is_used(
    published: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download

    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    snapshot_download(REPO, endpoint=published.url, cache_dir=hub_cache())
    published.requests.clear()
    folder = locate(REPO)
    assert folder.is_relative_to(tmp_path / "elsewhere" / "hub") and downloaded(published) == []


# What is there is wrong.


def test_a_damaged_file_in_the_cache_is_fetched_again(published: HubServer) -> None:
    fetched = fetch(ADDRESS)
    blob = (fetched.folder / "onnx/model.onnx").resolve()
    content = bytearray(blob.read_bytes())
    content[100] ^= 1
    blob.write_bytes(content)
    published.requests.clear()
    assert get(REPO, verify=True).card.name
    assert downloaded(published) == ["onnx/model.onnx"]


def test_a_file_that_is_not_what_its_manifest_says_is_refused(published: HubServer) -> None:
    weights = bytearray(published.files(REPO)["model.safetensors"])
    weights[-1] ^= 1
    published.store.put(REPO, {"model.safetensors": bytes(weights)})
    with pytest.raises(BadPackage, match=r"is not what it says of itself.*sha256 is not the manifest's"):
        get(REPO)
    assert get(f"{REPO}@v1", verify=True)


def test_a_flipped_byte_on_the_way_is_noticed_and_fetched_again(published: HubServer) -> None:
    published.faults.add(Fault("model.safetensors", "GET", flip=True))
    get(REPO, verify=True)
    assert len(published.asked("model.safetensors", "GET")) == 2


def test_an_edited_readme_does_not_hurt_the_model_but_is_no_part_of_the_package(published: HubServer) -> None:
    published.store.put(REPO, {"README.md": b"# edited on the web"})
    assert get(REPO, verify=True)
    with pytest.raises(BadPackage, match=r"README\.md"):
        pull_folder(REPO)


def test_golden_outputs_of_another_network_fail_the_check(
    server: HubServer, card: ModelCard, backbone: Backbone, pristine: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    package = Path(shutil.copytree(pristine, tmp_path / "package"))
    golden = load_file(package / "golden.safetensors")
    save_file({**golden, "embedding": golden["embedding"] + 1}, package / "golden.safetensors")
    found, manifest = read_config((package / "config.json").read_text())
    (package / "config.json").write_text(config_text(found, describe(package, manifest)))
    server.store.put(REPO, files_in(package))
    get(REPO)
    with pytest.raises(VerificationFailed):
        get(REPO, verify=True)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 2}, "schema 2; this version reads 1: update subnet-zoo"),
        ({"manifest": {"../../x.onnx": {"bytes": 1, "sha256": ""}}}, "not a path inside"),
        ({"manifest": {"/etc/x.json": {"bytes": 1, "sha256": ""}}}, "not a path inside"),
        ({"manifest": {"setup.py": {"bytes": 1, "sha256": ""}}}, "a package holds only"),
        ({"manifest": {"model.pkl": {"bytes": 1, "sha256": ""}}}, "a package holds only"),
        ({"manifest": {"model.onnx": {"bytes": 10**10, "sha256": ""}}}, "declares 10 GB; at most 2 GB"),
        ({"manifest": {"a.json": {"bytes": 1, "sha256": ""}, "A.json": {"bytes": 1, "sha256": ""}}}, "only in case"),
        ({"manifest": {}}, "has no perf.yaml"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_hostile_config_is_refused_before_anything_else_is_asked(
    published: HubServer, change: dict[str, object], complaint: str
) -> None:
    body = json.loads(published.files(REPO)["config.json"]) | change
    body.pop("sha256")
    published.store.put(REPO, {"config.json": zoo.package.card._sealed(body).encode()})
    with pytest.raises(BadPackage, match=complaint) as caught:
        fetch(ADDRESS)
    assert downloaded(published) == ["config.json"] and len(str(caught.value).splitlines()) == 1


def test_a_file_larger_than_declared_is_stopped_at_its_first_byte(published: HubServer) -> None:
    published.store.put(REPO, {"model.safetensors": bytes(5_000_000)})
    with pytest.raises(BadPackage, match=r"has 5000000 bytes or more on the Hub"):
        fetch(ADDRESS)
    big = b'{"schema": 1}' + b" " * 5_000_000
    published.store.put(REPO, {"config.json": big})
    with pytest.raises(BadPackage, match=r"config\.json has 5000013 bytes or more"):
        fetch(ADDRESS)


def test_a_symlink_in_the_repository_is_only_its_text(published: HubServer) -> None:
    published.store.put(REPO, {"model.safetensors": b"../../../../etc/passwd"})
    with pytest.raises(BadPackage, match=r"model\.safetensors has 22 bytes"):
        fetch(ADDRESS)


@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit"])
@pytest.mark.parametrize("value", ['"../../../../../outside"', "/tmp/outside", '"..\\\\outside"'])
def test_a_server_that_names_files_outside_the_cache_is_refused(
    published: HubServer, tmp_path: Path, header: str, value: str
) -> None:
    published.faults.add(Fault("/resolve/", headers={header: value}, times=100))
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(hub_cache())}
    with pytest.raises(HubError, match="do not use this server"):
        fetch(ADDRESS)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(hub_cache())} <= before | {
        hub_cache().parent,
        tmp_path / "home",
    }
    assert not Path("/tmp/outside").exists()


def test_someone_elses_model_is_no_package(server: HubServer) -> None:
    server.store.put("acme/bert", {"config.json": b'{"architectures": ["Bert"]}', "model.safetensors": b"x"})
    server.store.put("acme/notes", {"README.md": b"hello"})
    with pytest.raises(BadPackage, match=r"acme/bert on 127\.0\.0\.1:\d+: config\.json is not a package's"):
        get("acme/bert")
    with pytest.raises(HubError, match=r"acme/notes.*has nothing there"):
        get("acme/notes")


def test_an_existing_folder_is_never_taken_for_an_address(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme" / "signs").mkdir(parents=True)
    with pytest.raises(BadPackage, match=r"'acme/signs' is no package"):
        get(REPO)
    assert server.requests == []


def test_pull_writes_into_an_empty_folder_only(published: HubServer, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").write_text("mine")
    with pytest.raises(OutputExists):
        pull_folder(REPO, tmp_path / "out")
    assert published.requests == [] and (tmp_path / "out" / "photo.jpg").read_text() == "mine"


def test_what_an_organization_has_is_listed_by_tags(published: HubServer) -> None:
    published.store.put("acme/bert", {"README.md": b"---\nlibrary_name: transformers\n---\n"})
    (entry,) = list_hub("acme")
    assert (entry.repo, entry.task, entry.device) == (REPO, "cls", "bench")
    assert list_hub("nobody") == [] and parse_address(entry.repo) == ADDRESS


# What users of other libraries expect.


def test_the_mixins_methods_load_save_and_publish(published: HubServer, tmp_path: Path) -> None:
    from zoo.catalogue.model import Model

    model = Model.from_pretrained(REPO, revision="v1", verify=True)
    assert model.save_pretrained(tmp_path / "saved") == tmp_path / "saved"
    again = Model.from_pretrained(tmp_path / "saved", verify=True)
    assert again.card == model.card and not (tmp_path / "saved" / "onnx/model.onnx").is_symlink()
    with pytest.raises(OutputExists):
        model.save_pretrained(tmp_path / "saved")
    assert again.push_to_hub("acme/copy").address.revision == "v1"


def test_the_clients_own_mixin_loads_config_and_weights(published: HubServer, pristine: Path, tmp_path: Path) -> None:
    import torch
    from huggingface_hub import PyTorchModelHubMixin, snapshot_download

    from search.nets import NETS
    from search.types import Architecture

    class Network(torch.nn.Module, PyTorchModelHubMixin):
        def __init__(self, architecture: dict[str, object]) -> None:
            super().__init__()
            built = NETS["mobile"].build(Architecture(**architecture))
            for name, child in built.named_children():
                self.add_module(name, child)

    folder = snapshot_download(REPO, endpoint=published.url, cache_dir=tmp_path / "cache")
    weights = Network.from_pretrained(folder, strict=True).state_dict()
    expected = load_package(pristine).backbone.state_dict()
    assert weights.keys() == expected.keys() and all(torch.equal(weights[key], expected[key]) for key in expected)


def test_feature_info_says_what_features_returns(pristine: Path) -> None:
    import torch

    model = get(pristine)
    maps = model.features(torch.zeros(1, 3, 16, 16))
    assert [(about["module"], about["num_chs"], 16 // about["reduction"]) for about in model.feature_info] == [
        (name, found.shape[1], found.shape[2]) for name, found in maps.items()
    ]
