"""What stands in deploy/ says nothing that the command does not know, and what it starts works, as processes of this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from p2praft.cli.app import command
from p2praft.cli.config_file import key_of, options_of
from tests.cli.every import commands_of
from tests.docs.pages import ROOT

yaml = pytest.importorskip("yaml")
DEPLOY = ROOT / "deploy"
UP = commands_of(command)["up"]
OPTIONS = {key_of(option): option for option in options_of(UP)}
VARIABLES = {f"P2PRAFT_{key.replace('-', '_').upper()}" for key in OPTIONS} | {"P2PRAFT_NODE", "P2PRAFT_SECRET"}
PATIENCE = 60.0
"""Seconds that anything may take before it counts as hanging."""
TEXTS = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in (".json", ".py"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_variable_command_and_flag_exists(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"\bP2PRAFT_[A-Z_]+\b", text)) <= VARIABLES
    for line in re.findall(r"(?:^|[ '/(])p2praft ((?:up|id|status|groups|map|doctor|snapshot)\b[^\n'\"`)&|]*)", text):
        words = shlex.split(line)
        found: click.Command = command
        while isinstance(found, click.Group) and words:
            found = commands_of(found)[words.pop(0)]
        known = {name for parameter in found.params for name in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line


def test_the_unit_s_settings_file_is_one() -> None:
    assert set(tomllib.loads((DEPLOY / "systemd" / "node.toml").read_text())) <= set(OPTIONS)


# --- the images


def _instructions(path: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


@pytest.mark.parametrize("path", [DEPLOY / "Dockerfile", ROOT / "examples" / "container" / "Dockerfile"], ids=str)
def test_an_image_copies_what_there_is_and_runs_without_root(path: Path) -> None:
    steps = _instructions(path)
    ignored = Path(f"{path}.dockerignore").read_text().splitlines()
    for word, rest in steps:
        if word == "COPY":
            source = rest.split()[:-1]
            assert source
            assert all((ROOT / name).exists() for name in source), rest
            assert all(f"!{name}" in ignored for name in source), f"{rest} is kept from the build by the ignore file"
    assert [rest for word, rest in steps if word == "USER"][-1] not in ("root", "0")
    assert {"HEALTHCHECK", "ENTRYPOINT", "VOLUME"} <= {word for word, _ in steps}
    user = max(number for number, (word, _) in enumerate(steps) if word == "USER")
    assert not [rest for word, rest in steps[user:] if word == "RUN"]


# --- what compose, Kubernetes and systemd start, as processes


class Machines:
    """Runs what containers would run: the same commands and environment, with paths and names of one scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = iter(_free_ports(16))
        self.names: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.environments: dict[str, dict[str, str]] = {}

    def here(self, text: str) -> str:
        """With paths and host names of this machine."""
        for there, local in self.names.items():
            text = re.sub(rf"(?<![\w/]){re.escape(there)}(?![\w-])", local, text)
        return text

    def environment(self, name: str, given: dict[str, str]) -> dict[str, str]:
        """What the image sets and what the container is given; each with ports of its own."""
        base = dict(
            part.split("=", 1)
            for word, rest in _instructions(DEPLOY / "Dockerfile")
            if word == "ENV"
            for part in shlex.split(rest)
        )
        data = self.folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        listen = self.names.get(f"{name}:7001", f"127.0.0.1:{next(self.ports)}")
        made = {
            **{key: value for key, value in os.environ.items() if not key.startswith("P2PRAFT_")},
            **{key: self.here(value) for key, value in {**base, **given}.items()},
            "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            "P2PRAFT_DATA_DIR": str(data),
            "P2PRAFT_NODE": str(data),
            "P2PRAFT_LISTEN": listen,
            "P2PRAFT_API": f"127.0.0.1:{next(self.ports)}",  # its token file, if it has one, is taken all the same
            "XDG_RUNTIME_DIR": str(self.folder),
            "HOSTNAME": name,
        }
        self.environments[name] = made
        return made

    def start(self, name: str, arguments: list[str], given: dict[str, str]) -> None:
        """Run a container's command."""
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [self.here(argument) for argument in arguments],
                cwd=self.folder,
                env=self.environment(name, given),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def healthy(self, name: str, *words: str) -> bool:
        """What the image's HEALTHCHECK says."""
        result = subprocess.run(
            [sys.executable, str(DEPLOY / "healthy.py"), *words],
            env=self.environments[name],
            capture_output=True,
            check=False,
        )
        return result.returncode == 0

    def wait_ready(self) -> None:
        """Until every node is sound and every group has a leader."""
        deadline = time.monotonic() + PATIENCE
        for name, process in self.processes.items():
            while not self._says_ready(name):
                log = (self.folder / f"{name}.log").read_text()
                assert process.poll() is None, f"{name} ended: {log}"
                assert time.monotonic() < deadline, f"{name} is not ready: {log}"
                time.sleep(0.1)
        assert all(self.healthy(name) and self.healthy(name, "ready") for name in self.processes)

    def _says_ready(self, name: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.environments[name]['P2PRAFT_API']}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # nobody listens yet, or it says that it is not
            return False

    def ask(self, name: str, *words: str) -> str:
        """Run the command inside a container."""
        return subprocess.run(
            ["p2praft", *words],
            env=self.environments[name],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        ).stdout

    def stop(self) -> None:
        """As ``docker stop`` does it: SIGTERM, and nobody has to be killed."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for name, process in self.processes.items():
            assert process.wait(PATIENCE) == 0, (self.folder / f"{name}.log").read_text()


@pytest.fixture
def machines() -> Iterator[Machines]:
    folder = Path(tempfile.mkdtemp(prefix="p2p-"))
    made = Machines(folder)
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def test_compose_s_five_nodes_become_one_group(machines: Machines) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services: dict[str, Any] = compose["services"]
    keys = machines.folder / "keys"
    keys.mkdir(mode=0o700)
    machines.names = {"/keys": str(keys), "node-1:7001": f"127.0.0.1:{next(machines.ports)}"}

    def container(name: str) -> list[str]:
        service = services[name]
        mounts = [mount.split(":")[1] for mount in service["volumes"]]
        assert "/keys" in mounts
        assert name == "keys" or "/data" in mounts
        return [argument.replace("$$", "$") for argument in service["entrypoint"]]

    machines.start("keys", container("keys"), {})
    assert machines.processes.pop("keys").wait(PATIENCE) == 0, (machines.folder / "keys.log").read_text()
    assert list(services) == ["keys", "node-1", "node-2", "node-3", "node-4", "node-5"]
    for number in (4, 5):  # they are as the third, each with a volume of its own
        volumes = [mount.replace("data-3", f"data-{number}") for mount in services["node-3"]["volumes"]]
        assert services[f"node-{number}"] == {**services["node-3"], "volumes": volumes}
    for name in ("node-1", "node-2", "node-3"):
        machines.start(name, container(name), services[name]["environment"])
    machines.wait_ready()
    assert machines.ask("node-2", "map", "set", "app", "apple", "3") == "version 1\n"
    assert machines.ask("node-3", "map", "get", "app", "apple") == "3\n"
    machines.stop()
    for volume in {mount.split(":")[0] for service in services.values() for mount in service["volumes"]}:
        assert volume in compose["volumes"]


def test_kubernetes_three_pods_become_one_group(machines: Machines) -> None:
    service, budget, stateful = yaml.safe_load_all((DEPLOY / "kubernetes" / "p2praft.yaml").read_text())
    spec = stateful["spec"]
    pod = spec["template"]
    (container,) = pod["spec"]["containers"]
    assert service["metadata"]["name"] == spec["serviceName"]
    labels = pod["metadata"]["labels"]
    assert service["spec"]["selector"] == spec["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"]
    assert labels == service["spec"]["selector"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {
        claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports

    shared = machines.folder / "shared"
    shared.mkdir()
    recipe = re.findall(r"^#   (.*)$", (DEPLOY / "kubernetes" / "p2praft.yaml").read_text(), re.MULTILINE)
    path = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", recipe[0]], cwd=shared, env=path, check=True, capture_output=True)
    shown = re.search(r"\$\(p2praft id show .*?\)", recipe[2])
    assert shown is not None
    seed_id = subprocess.check_output(["bash", "-ec", f"echo {shown[0]}"], cwd=shared, env=path, text=True).strip()
    for name in ("secret", "token"):  # as the kubelet mounts them
        (shared / name).chmod(0o440)
    seed = f"127.0.0.1:{next(machines.ports)}"
    machines.names = {
        "p2praft-0.p2praft:7001": seed,
        "p2praft-0:7001": seed,
        "/etc/p2praft": str(shared),
        "$(SEED_ID)": seed_id,
    }
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    for number in range(spec["replicas"]):
        name = f"p2praft-{number}"
        run = machines.folder / f"run-{number}"
        run.mkdir()
        machines.names["/run/p2praft"] = str(run)
        machines.start(name, [*container["command"], *container["args"]], given)
    machines.wait_ready()
    assert machines.ask("p2praft-1", "map", "set", "app", "apple", "3") == "version 1\n"
    assert machines.ask("p2praft-2", "map", "get", "app", "apple") == "3\n"
    machines.stop()


def test_the_unit_is_sound_and_what_it_starts_works(machines: Machines) -> None:
    unit = (DEPLOY / "systemd" / "p2praft.service").read_text()
    local = machines.folder / "p2praft.service"
    local.write_text(unit.replace("/opt/p2praft/bin/p2praft", f"{os.path.dirname(sys.executable)}/p2praft"))
    if analyze := shutil.which("systemd-analyze"):
        result = subprocess.run([analyze, "verify", str(local)], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        security = [analyze, "security", "--offline=true", "--threshold=20", str(local)]
        assert subprocess.run(security, capture_output=True, check=False).returncode == 0
    settings = (DEPLOY / "systemd" / "node.toml").read_text()
    settings = settings.replace("0.0.0.0:7001", "127.0.0.1:0").replace("127.0.0.1:8600", "127.0.0.1:0")
    (machines.folder / "node.toml").write_text(settings.replace("expect = 3", "expect = 1"))
    secret = machines.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery staple\n")
    start = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    environment = re.search(r"^Environment=(.*)$", unit, re.MULTILINE)
    assert start is not None
    assert environment is not None
    places = {"%S/p2praft": "state", "%d/secret": "secret", "%t/p2praft": "run"}
    (machines.folder / "run").mkdir(mode=0o700)
    given = environment[1]
    for there, name in places.items():
        given = given.replace(there, str(machines.folder / name))
    words = (
        start[1].replace("/opt/p2praft/bin/p2praft", "p2praft").replace("/etc/p2praft", str(machines.folder)).split()
    )
    env = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    env |= dict(part.split("=", 1) for part in given.split())
    with (machines.folder / "log").open("w") as log:
        machines.processes["unit"] = subprocess.Popen(
            words, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, text=True
        )
    machines.environments["unit"] = env | {"P2PRAFT_NODE": str(machines.folder / "state")}
    deadline = time.monotonic() + PATIENCE
    while "is founded" not in (machines.folder / "log").read_text():
        assert time.monotonic() < deadline, (machines.folder / "log").read_text()
        time.sleep(0.1)
    assert machines.ask("unit", "map", "set", "tills", "apple", "3") == "version 1\n"
    machines.processes["unit"].send_signal(signal.SIGTERM)
    assert machines.processes["unit"].wait(PATIENCE) == 0


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, for UDP and TCP alike."""
    import socket

    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held += [tcp, udp]
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports
