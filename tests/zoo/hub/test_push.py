import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard as HubCard
from huggingface_hub import constants

from search.nets import Backbone
from tests.hub_server.hub_faults import Fault
from tests.hub_server.hub_server import HubServer
from tests.zoo.hub.hub_names import ADDRESS, REPO, TOKEN
from zoo.errors import BadAddress, BadPackage, HubError, VerificationFailed
from zoo.hub.push import publish, push
from zoo.package.card import read_config
from zoo.package.folder import write_package
from zoo.package.manifest import describe
from zoo.types import ModelCard, silent


def adapted(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that a push writes anew."""
    return {file: files[file] for file in ("README.md", "config.json")}


def test_a_push_creates_the_repository_commits_once_and_tags(server: HubServer, pristine: Path) -> None:
    said: list[str] = []
    pushed = push(pristine, REPO, message="First signs", say=said.append)
    repo = server.store.repos[REPO]
    assert repo.tags == {"v1": pushed.commit} and repo.branches == {"main": pushed.commit}
    assert list(repo.messages.values()) == ["initial commit", "First signs"]
    assert pushed.address.revision == "v1" and pushed.url == f"{server.url}/{REPO}" and not repo.private
    assert said[0].startswith(f"created {REPO}") and said[-1] == "tagged v1"


def test_what_is_published_is_the_package_with_a_card_that_knows_its_address(server: HubServer, pristine: Path) -> None:
    push(pristine, REPO)
    published = server.files(REPO)
    local = {path.relative_to(pristine).as_posix(): path.read_bytes() for path in pristine.rglob("*") if path.is_file()}
    assert published.keys() == local.keys()
    assert published | adapted(local) == local
    card, manifest = read_config(published["config.json"].decode())
    assert (card, manifest.keys()) == (read_config(local["config.json"].decode())[0], local.keys() - {"config.json"})
    assert f'zoo.get("{REPO}"'.encode() in published["README.md"]


def test_a_second_push_is_the_next_version_and_removes_what_the_new_one_lacks(
    server: HubServer, pristine: Path, card: ModelCard, backbone: Backbone, tmp_path: Path
) -> None:
    extra = tmp_path / "extra"
    renamed = tmp_path / "model_old.onnx"
    shutil.copyfile(pristine / "onnx/model.onnx", renamed)
    write_package(extra, card=replace(card, reports=(replace(card.reports[0], path=renamed),)), backbone=backbone)
    assert push(extra, REPO).address.revision == "v1"
    server.store.put(REPO, {"NOTES.txt": b"by a user"})
    assert push(pristine, REPO).address.revision == "v2"
    assert push(pristine, REPO).address.revision == "v3"
    assert "onnx/model_old.onnx" in server.files(REPO, "v1")
    assert "onnx/model_old.onnx" not in server.files(REPO, "v2") and "onnx/model.onnx" in server.files(REPO, "v2")
    assert server.files(REPO, "v2") == server.files(REPO, "v3") and server.files(REPO)["NOTES.txt"] == b"by a user"


def test_versions_count_up_from_the_highest_and_leave_other_tags_alone(server: HubServer, pristine: Path) -> None:
    push(pristine, REPO)
    repo = server.store.repos[REPO]
    repo.tags |= dict.fromkeys(("v9", "v10", "v011", "v2-beta", "paper"), repo.branches["main"])
    assert push(pristine, REPO).address.revision == "v11"


def test_a_branch_is_made_for_a_revision_and_main_stays(server: HubServer, pristine: Path) -> None:
    push(pristine, REPO)
    main = server.store.repos[REPO].branches["main"]
    server.store.put(REPO, {"README.md": b"edited"}, branch="main")
    edited = server.store.repos[REPO].branches["main"]
    pushed = push(pristine, REPO, revision="try/int8")
    assert server.store.repos[REPO].branches == {"main": edited, "try/int8": pushed.commit} and edited != main


def test_a_new_repository_is_private_when_asked(server: HubServer, pristine: Path) -> None:
    push(pristine, REPO, private=True)
    assert server.store.repos[REPO].private


def test_a_dry_run_needs_no_token_and_asks_nothing(
    server: HubServer, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    pushed = push(pristine, REPO, dry_run=True)
    assert server.requests == [] and pushed.commit is None and pushed.address == ADDRESS
    assert pushed.sizes_bytes.keys() == {p.relative_to(pristine).as_posix() for p in pristine.rglob("*") if p.is_file()}
    assert pushed.readme.startswith("---\nlibrary_name: subnet-zoo")


def test_the_head_of_the_card_is_what_the_hub_reads(server: HubServer, pristine: Path, card: ModelCard) -> None:
    about = HubCard(push(pristine, REPO, dry_run=True).readme).data
    assert (about.library_name, about.license, about.base_model) == ("subnet-zoo", "apache-2.0", "mobile-mocov2")
    assert about.pipeline_tag == "image-feature-extraction" and "task:cls" in about.tags
    (result,) = about.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("cifar10", "accuracy", 0.71)
    assert about.metrics == ["accuracy"] and about.model_name == card.name


def test_a_card_without_evaluation_has_a_valid_head_too(
    server: HubServer, card: ModelCard, backbone: Backbone, tmp_path: Path
) -> None:
    write_package(tmp_path / "bare", card=replace(card, evaluation=()), backbone=backbone)
    about = HubCard(push(tmp_path / "bare", REPO, dry_run=True).readme).data
    assert about.eval_results is None and about.license == "apache-2.0"


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Fault("/commit/", status=401), r"does not know the token.*hf auth login"),
        (Fault("/repos/create", status=403), r"does not let this token do that; use one with write access"),
        (Fault("/preupload/", status=404), r"has nothing there that this token may see"),
        (Fault("/commit/", status=412), r"somebody else pushed meanwhile; run the same command again"),
        (Fault("/lfs/objects/batch", status=413), r"finds a file too large"),
        (Fault("/tag/", status=429), r"asks for fewer requests"),
        (Fault("/commit/", status=400), r"refused what was sent"),
        (Fault("/refs", status=500), r"in trouble; try again later \(500\)"),
        (Fault("^/lfs/", "PUT", status=500, times=100), r"in trouble; try again later \(500\)"),
        (Fault("/commit/", cut_after=0), r"connection to 127.0.0.1:\d+ broke.*HF_HUB_DISABLE_XET=1"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do_and_never_the_token(
    server: HubServer,
    files: dict[str, bytes],
    impatient: list[float],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    complaint: str,
) -> None:
    server.faults.add(replace(fault, say="what do you want with {token}?", times=max(fault.times, 50)))
    with pytest.raises(HubError, match=complaint) as caught:
        publish(files, ADDRESS, private=False, message="m", say=silent)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {''.join(capfd.readouterr())} {caplog.text}"
    assert TOKEN not in shown and len(str(caught.value).splitlines()) == 1
    server.faults.clear()
    assert publish(files, ADDRESS, private=False, message="m", say=silent)[1].revision == "v1"


def test_a_token_that_may_not_write_there_is_told_so(
    server: HubServer, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    with pytest.raises(HubError, match="use one with write access to the organization"):
        publish(files, ADDRESS, private=False, message="m", say=silent)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(HubError, match="does not know the token"):
        publish(files, ADDRESS, private=False, message="m", say=silent)
    assert REPO not in server.store.repos


def test_without_a_token_or_offline_nothing_is_asked(
    server: HubServer, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE=1 forbids pushing"):
        push(pristine, REPO)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"needs a token with write access: `hf auth login` or HF_TOKEN; --dry-run"):
        push(pristine, REPO)
    assert server.requests == []


@pytest.mark.parametrize("repo", ["signs", "../signs", "acme/signs@v1", "acme/si gns", "/etc/passwd"])
def test_a_push_goes_to_a_repository_only(server: HubServer, pristine: Path, repo: str) -> None:
    with pytest.raises(BadAddress):
        push(pristine, repo)


def test_a_commit_is_no_branch_to_push_to(server: HubServer, pristine: Path) -> None:
    with pytest.raises(BadAddress, match="name a branch"):
        push(pristine, REPO, revision="0" * 40)


@pytest.mark.parametrize("theirs", [{"model.safetensors": b"x"}, {"config.json": b'{"architectures": ["Bert"]}'}])
def test_what_is_no_package_is_never_overwritten(
    server: HubServer, files: dict[str, bytes], theirs: dict[str, bytes]
) -> None:
    server.store.put(REPO, theirs)
    with pytest.raises(BadPackage, match="name another repository"):
        publish(files, ADDRESS, private=False, message="m", say=silent)
    assert server.files(REPO) == theirs


def test_a_repository_with_nothing_but_a_readme_is_taken(server: HubServer, pristine: Path) -> None:
    server.store.put(REPO, {"README.md": b"soon"})
    assert push(pristine, REPO).address.revision == "v1"


def test_a_damaged_package_or_one_that_does_not_reproduce_is_not_published(
    server: HubServer, pristine: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from zoo.package.card import config_text, read_manifest

    package = Path(shutil.copytree(pristine, tmp_path / "package"))
    weights = load_file(package / "model.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    save_file({**weights, name: weights[name] * 1.1}, package / "model.safetensors")
    with pytest.raises(BadPackage, match="damaged"):
        push(package, REPO)
    card, manifest = read_manifest(package)
    (package / "config.json").write_text(config_text(card, describe(package, manifest)))
    with pytest.raises(VerificationFailed):
        push(package, REPO)
    assert server.requests == []


def test_two_pushes_at_once_are_two_versions_or_one_is_told_to_repeat(server: HubServer, pristine: Path) -> None:
    files = {file: (pristine / file).read_bytes() for file in ("config.json", "perf.yaml")}
    outcomes: list[str] = []

    def go(number: int) -> None:
        try:
            mine = {**files, "notes.md": b"%d" % number}
            outcomes.append(publish(mine, ADDRESS, private=False, message=f"{number}", say=silent)[1].revision or "")
        except HubError as error:
            outcomes.append("again" if "run the same command again" in str(error) else str(error))

    publish(files, ADDRESS, private=False, message="first", say=silent)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(outcome for outcome in outcomes if outcome != "again")
    assert versions and versions == [f"v{i + 2}" for i in range(len(versions))]


def test_the_client_would_use_xet_where_the_server_has_none(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work-around in ``zoo.hub.compat`` is needed while this passes."""
    import huggingface_hub._commit_api as client

    asked: list[object] = []
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(client, "_upload_xet_files", lambda **what: asked.append(what["repo_id"]))
    server.store.create(REPO, private=False)
    from huggingface_hub import HfApi

    with pytest.raises(Exception, match=r"large file was not uploaded|400"):
        HfApi(endpoint=server.url).upload_file(path_or_fileobj=b"x", path_in_repo="a.onnx", repo_id=REPO)
    assert asked == [REPO]
    publish({"a.onnx": b"x"}, replace(ADDRESS, repo="acme/other"), private=False, message="m", say=silent)
    assert asked == [REPO] and constants.HF_HUB_DISABLE_XET is False


def test_the_users_own_word_on_xet_is_kept(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.hub.compat import without_xet

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with without_xet():
        assert constants.HF_HUB_DISABLE_XET is True
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "0")
    with without_xet():
        assert constants.HF_HUB_DISABLE_XET is False
    monkeypatch.delenv("HF_HUB_DISABLE_XET")
    monkeypatch.delenv("HF_ENDPOINT")
    with without_xet():
        assert constants.HF_HUB_DISABLE_XET is False


def test_the_snippets_of_the_published_card_run(
    server: HubServer, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib
    import io

    import numpy as np
    from PIL import Image

    readme = push(pristine, REPO).readme
    snippets = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(snippets) == 3 and all(REPO in snippet for snippet in snippets)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    for snippet in snippets:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(snippet, {})
        assert "1504" in printed.getvalue()
