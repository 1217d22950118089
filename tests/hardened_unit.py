"""The hardened system unit with the single file, run by a real `systemd --user` in a mount namespace of its own:
started under `unshare -m` by packaging/test_pyz.py.

All lines of the unit are kept but two, which a user's manager does not support: DynamicUser=, and ProtectHome= (its
credentials and its cache lie in what that hides). So seccomp, capabilities, the read-only system,
MemoryDenyWriteExecute=, CacheDirectory= and LoadCredential= are real.

python -m tests.hardened_unit FOLDER ARCHIVE    prints one JSON object: what was seen at each step
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.process import free_port
from tests.user_manager import LIMIT, control, show, until

KEY = "sk-from-a-credential"


ROOT = Path(__file__).resolve().parents[1]
#: The interpreter without its virtual environment, which may be in a folder that the unit hides (PrivateTmp=). The
#: single file needs no more.
PYTHON = os.path.realpath(sys.executable)


def place() -> Path:
    """Return a folder to cover with an empty file system for the unit's files: one that this program is not in."""
    return next(
        Path(name)
        for name in ("/srv", "/opt", "/mnt")
        if not any(path.is_relative_to(name) for path in (ROOT, Path(PYTHON)))
    )


def ask(url: str, key: str) -> tuple[int, bytes]:
    body = {"model": "demo", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "Say hello"}]}
    headers = {"content-type": "application/json", "x-api-key": key}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url + "/v1/messages", json.dumps(body).encode(), headers), timeout=LIMIT
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        return 0, repr(error).encode()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def configuration(port: int, name: str) -> str:
    params = {"model": "openai/demo", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "os.environ/DEMO_KEY"}
    entry = {"model_name": name, "litellm_params": params}
    return json.dumps({"model_list": [entry], "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"}})


def main(folder: Path, archive: Path) -> dict[str, object]:
    share = (
        "mount --make-rprivate / && mount --make-rshared /"  # systemd hands credentials on from a namespace of its own
    )
    srv = place()
    covers = f"mount -t tmpfs x /run && mount -t tmpfs -o mode=755 x {srv}"
    subprocess.run(["sh", "-c", f"{share} && {covers}"], check=True, timeout=LIMIT)
    os.makedirs("/run/systemd/system")
    os.makedirs("/run/user/0", mode=0o700)
    os.makedirs(
        "/run/systemd/inaccessible/dir", mode=0
    )  # as systemd makes it at boot: what is hidden is covered with these
    for name, kind in {
        "reg": stat.S_IFREG,
        "fifo": stat.S_IFIFO,
        "sock": stat.S_IFSOCK,
        "chr": stat.S_IFCHR,
        "blk": stat.S_IFBLK,
    }.items():
        os.mknod(f"/run/systemd/inaccessible/{name}", kind, os.makedev(0, 0))
    os.environ.update(XDG_RUNTIME_DIR="/run/user/0", HOME=str(folder), XDG_CONFIG_HOME=str(folder / "config"))
    shutil.copy(archive, srv / "a2py.pyz")
    port, upstream = free_port(), free_port()
    config, env = srv / "config.yaml", srv / "env"
    config.write_text(configuration(upstream, "demo"))
    config.chmod(0o644)
    env.write_text(f"LITELLM_MASTER_KEY={KEY}\nDEMO_KEY=x\n")
    env.chmod(0o600)
    command = [PYTHON, str(srv / "a2py.pyz")]
    text = subprocess.run(
        [*command, "service", "print", "--system", "--port", str(port), "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    ).stdout
    for pattern, new in (
        (r"^DynamicUser=yes$", "DynamicUser=no"),
        (r"^ProtectHome=yes$", "ProtectHome=no"),
        ("env:/etc/a2py/env", f"env:{env}"),
    ):
        text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
        assert count == 1, (pattern, text)
    units = folder / "config/systemd/user"
    units.mkdir(parents=True)
    (units / "a2py.service").write_text(text)
    url = f"http://127.0.0.1:{port}"
    report: dict[str, object] = {"unit": text}
    demo = subprocess.Popen([*command, "demo", "--port", str(upstream)], stderr=subprocess.DEVNULL)
    with (folder / "manager.log").open("wb") as log:
        manager = subprocess.Popen(
            ["systemd", "--user", "--log-target=console"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        report["manager"] = until(
            lambda: control("is-system-running") in (0, 1) and os.path.exists("/run/user/0/systemd/private")
        )
        control("daemon-reload")
        until(lambda: listens(upstream))
        report["start"] = control("start", "a2py.service")
        report["active"] = show("ActiveState")
        report["answer"] = ask(url, KEY)[1].decode()
        report["without the key"] = ask(url, "another")[0]
        process = Path("/proc", show("MainPID"))
        report["status"] = dict(
            re.findall(r"^(CapEff|CapBnd|NoNewPrivs|Seccomp):\s*(\S+)$", (process / "status").read_text(), re.MULTILINE)
        )
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
        report["root"] = next(line[5].split(",")[0] for line in mounts if line[4] == "/")
        cache = folder / ".cache" / "a2py"
        report["cache"] = [(path.name, path.stat().st_ino) for path in cache.iterdir()]
        config.write_text(configuration(upstream, "demo") + " ")
        report["reload"] = control("reload", "a2py.service"), show("ActiveState"), show("MainPID") == process.name
        report["restart"] = control("restart", "a2py.service"), show("MainPID") != process.name
        report["answer again"] = ask(url, KEY)[0]
        report["cache again"] = [(path.name, path.stat().st_ino) for path in cache.iterdir()]
        report["stop"] = control("stop", "a2py.service"), show("Result")
    finally:
        for running in (manager, demo):
            running.terminate()
            try:
                running.wait(LIMIT)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
    return report


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
