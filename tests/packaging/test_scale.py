"""The files for several replicas: balancers, Kubernetes, compose. They name what there is, and say what a2py does; where
the programs are installed, these accept them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2py.cli.serve import parser
from a2py.config import load
from bench import rolling
from tests.commands import LIMIT, clean_env
from tests.process import free_port
from tests.user_manager import ask, until

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
MANIFESTS: dict[tuple[str, str], dict[str, Any]] = {
    (one["kind"], one["metadata"]["name"]): one
    for path in sorted((PACKAGING / "kubernetes").glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text("utf-8"))
}
POD: dict[str, Any] = MANIFESTS["Deployment", "a2py"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
COMPOSE: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.replicas.yaml").read_text("utf-8"))
SINGLE: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yaml").read_text("utf-8"))
PATH = rolling.PATH


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def test_the_manifests_name_each_other() -> None:
    assert sorted(kind for kind, _ in MANIFESTS) == [
        "ConfigMap",
        "Deployment",
        "PodDisruptionBudget",
        "Secret",
        "Service",
    ]
    labels = MANIFESTS["Deployment", "a2py"]["spec"]["template"]["metadata"]["labels"]
    assert labels == MANIFESTS["Service", "a2py"]["spec"]["selector"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert MANIFESTS[kind, "a2py"]["spec"]["selector"]["matchLabels"] == labels
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)
    assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in MANIFESTS
    assert ("Secret", volumes["keys"]["secret"]["secretName"]) in MANIFESTS
    (port,) = CONTAINER["ports"]
    assert MANIFESTS["Service", "a2py"]["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == port["name"]


def test_the_pod_runs_what_the_image_has() -> None:
    """User, paths and port are those of the Containerfile; the command is one of a2py's."""
    image = (PACKAGING / "Containerfile").read_text("utf-8")
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}" in image
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    for path in (mounts["keys"], mounts["state"], f"{CONTAINER['ports'][0]['containerPort']}"):
        assert path in image
    assert CONTAINER["args"][0] == "serve"
    args = parser("serve").read(CONTAINER["args"][1:])
    assert args.config == f"{mounts['config']}/config.yaml" and args.num_workers == 2


def test_the_configuration_drains_within_the_time_of_the_pod(tmp_path: Path) -> None:
    """preStop, then drain_delay, then drain_seconds: otherwise Kubernetes would end streams."""
    file = tmp_path / "config.yaml"
    file.write_text(MANIFESTS["ConfigMap", "a2py"]["data"]["config.yaml"])
    secret = dict(line.split("=", 1) for line in MANIFESTS["Secret", "a2py"]["stringData"]["env"].splitlines() if line)
    config = load(str(file), secret, str(tmp_path))
    assert not config.warnings and not [one.problem for one in config.deployments if one.problem]
    assert secret["LITELLM_MASTER_KEY"].startswith("sk-")
    sleep = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = config.settings.drain_delay + config.settings.drain_seconds
    assert sleep + drain + 10 <= POD["terminationGracePeriodSeconds"]
    assert config.settings.drain_delay > CONTAINER["readinessProbe"]["periodSeconds"]


@pytest.mark.real
def test_kubernetes_accepts_the_manifests() -> None:
    """By the schemas of the API."""
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for one in MANIFESTS.values():
        validate.validate(one, "1.31", strict=True)


# -- compose -----------------------------------------------------------------------------------------------------------


def test_the_replicas_of_compose_are_like_the_single_one() -> None:
    """As hardened, and with time to drain."""
    services = COMPOSE["services"]
    own = SINGLE["services"]["a2py"]
    for name in ("one", "two"):
        for key in (
            "build",
            "image",
            "secrets",
            "read_only",
            "cap_drop",
            "security_opt",
            "stop_grace_period",
            "restart",
        ):
            assert services[name][key] == own[key]
        parser("serve").read(services[name]["command"][1:])
        assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "noeviction" in services["redis"]["command"]
    source = services["balancer"]["volumes"][0].partition(":")[0]
    text = (PACKAGING / source).read_text("utf-8")
    assert re.findall(r"server \w+ (\w+):4000", text) == ["one", "two"] and "bind :4000" in text


def test_the_configuration_of_the_replicas_names_their_redis() -> None:
    config = load(str(PACKAGING / "config.replicas.yaml"), {"DEEPSEEK_API_KEY": "k"}, str(PACKAGING))
    assert not config.warnings and config.redis is not None and config.redis.label == "redis://redis:6379"
    assert "config.replicas.yaml" in COMPOSE["services"]["one"]["volumes"][0]
    (one,) = config.deployments
    assert one.rpm == 600 and not one.problem
    assert config.settings.drain_delay + config.settings.drain_seconds < int(
        COMPOSE["services"]["one"]["stop_grace_period"].removesuffix("s")
    )


@pytest.mark.real
def test_the_commands_of_compose_run(tmp_path: Path) -> None:
    """As processes: Redis, and two replicas that share their limits there."""
    pytest.importorskip("redis", reason="redis is not installed")
    if shutil.which("redis-server", path=PATH) is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    services, ports = COMPOSE["services"], [free_port() for _ in range(3)]
    text = (PACKAGING / "config.replicas.yaml").read_text("utf-8")
    text = text.replace("redis_host: redis", f"redis_host: 127.0.0.1\n  redis_port: {ports[2]}")
    (tmp_path / "config.yaml").write_text(text)
    environment = {**clean_env(tmp_path), "PATH": PATH, "PYTHONPATH": str(ROOT), "DEEPSEEK_API_KEY": "k"}
    lines = [[*services["redis"]["command"], "--port", str(ports[2]), "--bind", "127.0.0.1"]]
    for name, port in zip(("one", "two"), ports, strict=False):
        command = [part.replace("/etc/a2py", str(tmp_path)) for part in services[name]["command"]]
        lines.append([sys.executable, "-m", "a2py", *command, "--port", str(port)])
    processes = [subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) for line in lines]
    try:
        for port in ports[:2]:
            url = f"http://127.0.0.1:{port}"
            assert until(lambda url=url: ask(url), 60)  # type: ignore[misc]
            assert until(lambda url=url: shares_with_all(url), 60)  # type: ignore[misc]
    finally:
        for process in reversed(processes):
            process.terminate()
            assert process.wait(60) == 0


def shares_with_all(url: str) -> bool:
    """Whether the proxy says that Redis answers, and that there are two replicas of two workers."""
    with urllib.request.urlopen(url + "/health", timeout=LIMIT) as answer:
        sharing = json.load(answer)["sharing"]
    return bool(sharing["is_up"] and sharing["processes"] == 4)


def test_the_balancer_of_compose_is_the_one_beside_it() -> None:
    """But for the addresses."""

    def plain(name: str) -> list[str]:
        lines = (PACKAGING / name).read_text("utf-8").splitlines()
        return [line for line in lines if not re.match(r"\s*(?:#|server |bind )", line)]

    assert plain("haproxy.compose.cfg") == plain("haproxy.cfg")


# -- balancers ---------------------------------------------------------------------------------------------------------

CHECKS = {
    "haproxy": ("haproxy.cfg", ("haproxy", "-c", "-f", "{file}")),
    "nginx": ("nginx.conf", ("nginx", "-t", "-c", "{file}", "-g", "error_log stderr;")),
}


@pytest.mark.real
@pytest.mark.parametrize("program", CHECKS)
def test_the_balancer_accepts_its_file(program: str, tmp_path: Path) -> None:
    name, command = CHECKS[program]
    path = shutil.which(program, path=PATH)
    if path is None:
        pytest.skip(f"{program} is not installed (apt-get install haproxy nginx-light)")
    text = (PACKAGING / name).read_text("utf-8").replace("127.0.0.1:4000", f"127.0.0.1:{free_port()}")
    file = tmp_path / name
    file.write_text(text.replace("/tmp/a2py-nginx.pid", str(tmp_path / "pid")))
    line = [path, *(part.format(file=file) for part in command[1:])]
    result = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.real
@pytest.mark.parametrize("program", CHECKS)
def test_a_rolling_restart_loses_nothing(program: str) -> None:
    """A small one of bench/rolling.py."""
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed (apt-get install haproxy nginx-light)")
    command = [sys.executable, "-m", "bench.rolling", program, "--streams", "20", "--clients", "4"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    outcome = json.loads(result.stdout)
    assert result.returncode == 0 and not outcome["streams_lost"] and set(outcome["statuses"]) == {"200"}, outcome
