"""What holds for the images and the compose files without an engine to build or start them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NODES = ("ray-head", "ray-worker", "sweep")


@dataclass(frozen=True)
class Stage:
    """One ``FROM`` of the Dockerfile, and what follows it."""

    base: str
    instructions: tuple[tuple[str, str], ...]

    def arguments(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == instruction]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    logical = code.replace("\\\n", " ").splitlines()
    instructions = [(name, rest) for name, _, rest in (line.partition(" ") for line in logical) if name]
    starts = [index for index, (name, _) in enumerate(instructions) if name == "FROM"]
    found = {}
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        base, _, stage = instructions[start][1].split()
        found[stage] = Stage(base, tuple(instructions[start + 1 : end]))
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return _services("compose.yaml")


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_base_image_of_a_target_is_a_build_argument(stages: dict[str, Stage], target: str) -> None:
    assert _line_of_stages(stages, target)[-1].base == "${BASE}"


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_runs_the_project_as_a_numeric_user_other_than_root(
    stages: dict[str, Stage], target: str
) -> None:
    line = _line_of_stages(stages, target)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", line[0].arguments("USER")[-1])
    entrypoints = [entrypoint for stage in line for entrypoint in stage.arguments("ENTRYPOINT")]
    assert entrypoints == ['["python", "-m", "shapeft_tune"]']


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_every_dependency_of_a_target_is_installed_from_the_lock_with_hashes(
    stages: dict[str, Stage], target: str
) -> None:
    runs = [command for stage in _line_of_stages(stages, target) for command in stage.arguments("RUN")]
    installs = [part for run in runs for part in run.split("&&") if re.search(r"uv pip (sync|install)", part)]
    assert installs
    for install in installs:
        from_lock = "--require-hashes" in install and "requirements.lock" in install
        the_project_itself = "--no-deps" in install and "--offline" in install
        assert from_lock or the_project_itself, install


def test_the_driver_that_cuda_asks_for_is_of_the_major_version_in_the_lock(stages: dict[str, Stage]) -> None:
    asked = re.search(r'NVIDIA_REQUIRE_CUDA="cuda>=(\d+)', " ".join(stages["cuda"].arguments("ENV")))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = re.search(r"^cuda-toolkit==(\d+)", lock, re.MULTILINE)
    assert asked
    assert locked
    assert asked[1] == locked[1]


def test_the_context_holds_what_the_dockerfile_takes_from_it_and_nothing_else(
    stages: dict[str, Stage],
) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"  # .git, runs, .venv and whatever comes
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert let_in == _taken_from_context(stages)
    assert all((ROOT / path).exists() for path in let_in)


@pytest.mark.parametrize("node", NODES)
def test_every_ray_node_sets_its_auth_mode_and_shares_the_home(services: dict[str, Any], node: str) -> None:
    assert services[node]["environment"]["RAY_AUTH_MODE"] == "disabled"
    assert services[node]["volumes"] == ["home:/work/runs"]
    assert services[node]["shm_size"]


def test_no_service_but_the_nodes_runs_ray(services: dict[str, Any]) -> None:
    assert sorted(name for name, service in services.items() if "ray start" in _command(service)) == [*NODES]


@pytest.mark.parametrize("node", ["ray-head", "ray-worker"])
def test_a_node_ends_with_its_ray_so_that_it_is_started_again(services: dict[str, Any], node: str) -> None:
    assert "--block" in _command(services[node])
    assert services[node]["restart"] == "unless-stopped"


def test_no_service_has_privileges_or_a_port_open_to_others(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_service_is_waited_for_only_where_its_health_can_be_asked(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[name]


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml"])
def test_images_carry_the_tag_of_the_target_they_are_built_from(stages: dict[str, Stage], file: str) -> None:
    for service in _services(file).values():
        target = service["build"]["target"]
        assert target in stages
        assert service["image"].endswith(f":-shapeft-tune:{target}}}")


def test_the_gpu_file_changes_only_services_that_exist(services: dict[str, Any]) -> None:
    assert set(_services("compose.gpu.yaml")) <= set(services)


def _services(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker" / file).read_text(encoding="utf-8"))["services"])


def _line_of_stages(stages: dict[str, Stage], target: str) -> list[Stage]:
    """Return a target, the stage it is built on, and so on down to the base image."""
    line = [stages[target]]
    while line[-1].base in stages:
        line.append(stages[line[-1].base])
    return line


def _taken_from_context(stages: dict[str, Stage]) -> set[str]:
    """Return the paths of all copies and bind mounts that do not come from another stage."""
    taken: set[str] = set()
    for stage in stages.values():
        for copy in stage.arguments("COPY"):
            if "--from=" not in copy:
                taken.update(shlex.split(copy)[:-1])
        for mount in re.findall(r"--mount=(type=bind\S*)", " ".join(stage.arguments("RUN"))):
            options = dict(option.split("=", 1) for option in mount.split(","))
            if "from" not in options:
                taken.add(options["source"])
    return taken


def _command(service: dict[str, Any]) -> str:
    return " ".join([*service.get("entrypoint", []), *service.get("command", [])])
