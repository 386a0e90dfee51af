"""The folder list is the architecture diagram: imports go leftwards, each outside system has one door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "shapeft_tune"
LAYERS = (
    "errors",
    "atomic",
    "scores",
    "config",
    "data",
    "models",
    "train",
    "tracking",
    "tune",
    "report",
    "doctor",
    "cli",
    "__main__",
)
FORBIDDEN = {
    "scores": {"torch", "ray", "mlflow", "optuna"},
    "config": {"torch", "ray", "mlflow", "optuna"},
    "data": {"ray", "mlflow", "optuna"},
    "models": {"ray", "mlflow", "optuna"},
    "train": {"ray", "mlflow", "optuna"},
    "tracking": {"ray", "torch", "optuna"},
    "tune": {"mlflow"},
    "report": {"ray", "torch"},
}
DOORS = {
    "ray": ("tune/",),
    "optuna": ("tune/", "report/hyperparameters/"),
    "mlflow": ("tracking/", "report/runs.py"),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_layers_to_its_left_and_no_system_it_must_not_know(path: Path) -> None:
    layer = layer_of(path)
    if layer == "__init__":
        return
    assert layer in LAYERS, f"{path} belongs to no layer"
    for name in imports(path):
        system, *rest = name.split(".")
        assert system not in FORBIDDEN.get(layer, ()), f"{path} imports {name}"
        if system == "shapeft_tune" and rest:
            assert LAYERS.index(rest[0]) <= LAYERS.index(layer), f"{path} imports {name}"
        place = str(path.relative_to(PACKAGE))
        if system in DOORS:
            assert place.startswith(DOORS[system]), f"{place} imports {system}; only {DOORS[system]} may"


def test_models_do_not_know_loaders() -> None:
    for path in (PACKAGE / "models").glob("*.py"):
        assert not any(name.startswith("shapeft_tune.data") for name in imports(path)), path


def test_the_readme_shows_the_tree_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("<!-- tree -->")[1]
    shown: set[str] = set()
    folders: list[str] = []
    for indent, name in re.findall(r"^( *)([\w./]+)  ", tree, flags=re.MULTILINE):
        depth = len(indent) // 2
        folders[depth:] = [name]
        shown.add("".join(folders[: depth + 1]))
    files = {
        str(path.relative_to(ROOT)) for path in modules() if path.name not in ("__init__.py", "__main__.py")
    }
    files |= {str(path.relative_to(ROOT)) for path in (ROOT / "search_spaces").iterdir()}
    files |= {str(path.relative_to(ROOT)) for path in (ROOT / "docker").iterdir()}
    assert {name for name in shown if not name.endswith("/")} == files


def test_every_local_file_that_the_readme_links_to_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", readme)
    local = {"".join(each).partition("#")[0] for each in linked if "://" not in "".join(each)} - {""}
    assert len(local) >= 5
    assert [name for name in sorted(local) if not (ROOT / name).is_file()] == []


def test_the_readmes_first_commands_are_chores_of_the_makefile() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first_block = readme.split("```")[1]
    chores = re.findall(r"^make (\w+)", first_block, flags=re.MULTILINE)
    assert chores == ["sweep", "test"]
    assert all(re.search(rf"^{chore}:", makefile, flags=re.MULTILINE) for chore in chores)
