"""Imports run the way the data runs: every import of the four packages is checked, wherever in a file it stands."""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "hardware_profiles": set(),
    "search": {"hardware_profiles"},
    "export": {"hardware_profiles"},
    "zoo": {"hardware_profiles", "search", "export"},
}
ONLY_IN = {
    "nni": "search/oneshot/",
    "pytorch_lightning": ("search/oneshot/", "search/finetune/loop.py", "search/machines.py"),
    "faster_coco_eval": "search/evaluate/scores.py",
    "huggingface_hub": "zoo/",
    "tensorrt": ("export/tensorrt/build.py", "hardware_profiles/runners/tensorrt.py"),
    "tensorrt_rtx": ("export/tensorrt/build.py", "hardware_profiles/runners/tensorrt.py"),
    "ray": "search/study/workers.py",
    "openvino": "hardware_profiles/runners/openvino.py",
    "sklearn": ("search/evaluate/classifiers.py", "zoo/demo.py"),
}
NOWHERE = {"lightning", "pickle", "dill", "cloudpickle", "shelve", "tests"}
NEVER_CALLED = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads"}
HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "onnxslim", "pydantic", "nni", "pytorch_lightning", "sklearn"}


def imported_modules(tree: ast.AST, path: str) -> Iterator[str]:
    """Full names of all modules a file imports, those named by a string included."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from [module] if node.module else (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def modules_of(packages: Iterable[str]) -> dict[str, Path]:
    """Every file of the rooms by its module's name."""
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in files]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


def files_imported(source: str, path: str, known: Collection[str]) -> set[str]:
    """The modules among ``known`` that a file imports, lazily or not, but for type checkers alone."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    whole = {f"{n.module}.{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    return {name for name in {*imported_modules(tree, path), *whole} if name in known}


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of files that import each other, directly or not: what is left when all that ends somewhere is gone."""
    left = {name: set(to) - {name} for name, to in arrows.items()}
    while ends := [name for name, to in left.items() if not to & left.keys()]:
        for name in ends:
            del left[name]
    # What leads into a circle is none of its members.
    while starts := [name for name in left if not any(name in to for to in left.values())]:
        for name in starts:
            del left[name]
    return [sorted(left)] if left else []


def test_no_files_import_each_other_in_a_circle_lazily_or_not() -> None:
    files = modules_of(MAY_IMPORT)
    arrows = {
        name: files_imported(path.read_text("utf-8"), path.relative_to(ROOT).as_posix(), files.keys())
        for name, path in files.items()
    }
    # A room's own table of contents offers names by import when used; nothing inside the rooms goes through zoo's.
    arrows["zoo"] = arrows["zoo.devices"] = set()
    assert circles(arrows) == []
    assert not [name for name, to in arrows.items() if "zoo" in to and name.startswith("zoo.")]


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    lazy = "def f():\n    from zoo.catalogue.get import get\nif TYPE_CHECKING:\n    import zoo.make.search"
    assert files_imported(lazy, "zoo/a.py", {"zoo.catalogue.get", "zoo.make.search"}) == {"zoo.catalogue.get"}


def forbidden_calls(tree: ast.AST) -> Iterator[str]:
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(node.func)
        safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
        if name in NEVER_CALLED or (name == "torch.load" and not safe):
            yield name


def broken_rules(path: str, source: str) -> list[str]:
    """What a file, named relative to the repository, does that it must not."""
    tree = ast.parse(source, filename=path)
    package = path.split("/")[0]
    broken = [f"{path} calls {name}" for name in forbidden_calls(tree)]
    for module in imported_modules(tree, path):
        top = module.split(".")[0]
        if top in NOWHERE:
            broken.append(f"{path} imports {module}, which nothing may")
        elif top in MAY_IMPORT and top != package and top not in MAY_IMPORT[package]:
            broken.append(f"{path} imports {module}; {package} may import {sorted(MAY_IMPORT[package])}")
        elif top in ONLY_IN and not path.startswith(ONLY_IN[top]):
            broken.append(f"{path} imports {module}, which only {ONLY_IN[top]} may")
    return broken


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    broken = [
        rule for file in files for rule in broken_rules(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hardware_profiles/a.py", "import search"),
        ("search/a.py", "from export.types import ExportReport"),
        ("export/a.py", "def f():\n    from search import nets"),
        ("search/nets/a.py", "from .. import zoo as z\nfrom ...zoo import names"),
        ("search/a.py", "from importlib import import_module\nimport_module('zoo.names')"),
        ("search/nets/a.py", "import nni.nas.space"),
        ("zoo/a.py", "from pytorch_lightning import Trainer"),
        ("export/a.py", "import huggingface_hub"),
        ("export/run.py", "try:\n    import tensorrt\nexcept ImportError:\n    pass"),
        ("search/oneshot/a.py", "import lightning.pytorch"),
        ("zoo/a.py", "import pickle"),
        ("zoo/a.py", "import yaml\nyaml.load(open('x'))"),
        ("zoo/a.py", "import torch\ntorch.load('x')"),
        ("zoo/a.py", "eval('1')"),
    ],
)
def test_the_check_sees_a_broken_rule(path: str, source: str) -> None:
    assert broken_rules(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("zoo/a.py", "import search, export.types, hardware_profiles\nimport huggingface_hub"),
        (
            "search/oneshot/a.py",
            "import nni\nimport pytorch_lightning as pl\nfrom . import space\nfrom ..nets import NETS",
        ),
        ("export/tensorrt/build.py", "import tensorrt"),
        ("zoo/a.py", "import yaml\nyaml.safe_load('')\nmodel.eval()\nimport torch\ntorch.load('x', weights_only=True)"),
    ],
)
def test_the_check_lets_allowed_imports_pass(path: str, source: str) -> None:
    assert not broken_rules(path, source)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_importing_a_package_loads_no_heavy_library(package: str) -> None:
    code = f"import sys, {package}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    sizes = {folder: len(list(folder.glob("*.py"))) for room in MAY_IMPORT for folder in (ROOT / room).rglob("*/")}
    assert {str(folder): size for folder, size in sizes.items() if size > 14} == {}
    assert len(list((ROOT / "zoo").glob("*.py"))) <= 12


def test_what_a_folder_says_it_holds_is_there() -> None:
    for init in [init for room in MAY_IMPORT for init in (ROOT / room).rglob("*/__init__.py")]:
        says = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
        listed = re.findall(r"·\s*(\w+)", re.sub(r"\([^)]*\)", "", says))
        assert [name for name in listed if not list(init.parent.glob(f"{name}*"))] == [], init
