"""The samples for containers: well-formed, hardened, without a secret, and true to the checkout."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recon.errors import OwnerError
from recon.system.state_folder import locked_state
from tests.conftest import AsNobody

ROOT = Path(__file__).resolve().parents[2]
CRON = ROOT / "cron"
TEXT = (CRON / "cronjob.yaml").read_text(encoding="utf-8")
CLAIM, JOB = list(yaml.safe_load_all(TEXT))
NIGHT = JOB["spec"]["jobTemplate"]["spec"]
POD = NIGHT["template"]["spec"]
[CONTAINER] = POD["containers"]


def instructions() -> list[tuple[str, str]]:
    """Read the Containerfile: each instruction, and what stands behind it on one line."""
    text = (CRON / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    parts = [line.split(maxsplit=1) for line in lines if line]
    return [(name, " ".join(rest.split())) for name, rest in parts]


def copied() -> list[str]:
    """Return what the image takes from the checkout."""
    return [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def last(name: str) -> str:
    """Return what the last instruction of that name says: that of the image itself."""
    return [rest for each, rest in instructions() if each == name][-1]


def places(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of every leaf."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*where, key))
    else:
        yield (*where, str(value))


def test_the_night_runs_when_the_crontab_s_does_and_never_twice_at_once() -> None:
    spec = JOB["spec"]
    line = re.search(r"(?m)^(\d+ \d+ \* \* \*) ", (CRON / "crontab").read_text("utf-8"))
    assert line is not None
    assert (spec["schedule"], spec["timeZone"]) == (line[1], "Etc/UTC")
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 3600, "a night that was missed is caught up"
    service = (CRON / "recon.service").read_text(encoding="utf-8")
    assert "TimeoutStartSec=1h" in service
    assert NIGHT["activeDeadlineSeconds"] == 3600
    assert (NIGHT["backoffLimit"], POD["restartPolicy"]) == (0, "Never")


def test_the_pod_may_do_nothing_that_a_night_does_not_need() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not re.search(r"\b(hostPath|hostNetwork|hostPID|hostIPC|privileged|ports):", TEXT)
    mounts = {each["name"]: each for each in CONTAINER["volumeMounts"]}
    assert set(mounts) == {each["name"] for each in POD["volumes"]}
    assert {name for name, each in mounts.items() if not each.get("readOnly")} == {"state", "tmp"}


def test_no_secret_stands_in_it() -> None:
    assert {each["kind"] for each in (CLAIM, JOB)} == {"PersistentVolumeClaim", "CronJob"}
    volumes = {each["name"]: each for each in POD["volumes"]}
    mounted = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert CONTAINER["env"] == [{"name": "CREDENTIALS_DIRECTORY", "value": mounted["secrets"]}]
    assert volumes["secrets"]["secret"] == {"secretName": "recon", "defaultMode": 0o400}
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]


def kept_by_kubectl(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a CronJob as Kubernetes' own types read it: what they do not know is gone."""
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run(
        ["kubectl", "set", "image", "--local", "-f", str(path), "recon=other", "-o", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    kept: dict[str, Any] = json.loads(done.stdout)
    return kept


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubernetes_knows_every_field(tmp_path: Path) -> None:
    def lost(job: dict[str, Any]) -> set[tuple[str | int, ...]]:
        gone = set(places(job)) - set(places(kept_by_kubectl(job, tmp_path)))
        return {place for place in gone if place[-2] != "image"}

    assert lost(JOB) == set()
    misspelt = copy.deepcopy(JOB)
    misspelt["spec"]["concurencyPolicy"] = misspelt["spec"].pop("concurrencyPolicy")
    assert lost(misspelt) == {("spec", "concurencyPolicy", "Forbid")}


def test_a_volume_that_is_somebody_else_s_holds_the_state_in_a_folder(
    tmp_path: Path, as_nobody: AsNobody
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to own a folder that another user writes")
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2777)
    with as_nobody():
        refused = pytest.raises(OwnerError, match="let `state` name a new folder inside it")
        with refused, locked_state(volume):
            pass
        with locked_state(volume / "state") as state:
            assert state.stat().st_mode & 0o777 == 0o700


def test_the_image_is_small_of_rights_and_holds_no_secret() -> None:
    names = {name for name, _ in instructions()}
    assert names == {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "ENTRYPOINT", "CMD"}
    user = POD["securityContext"]["runAsUser"]
    assert last("USER") == f"{user}:{POD['securityContext']['runAsGroup']}"
    assert user != 0
    settings = dict(part.split("=", 1) for part in last("ENV").split())
    assert set(settings) == {"HOME", "PYTHONDONTWRITEBYTECODE", "RECON_CONFIG"}
    installs = [rest for name, rest in instructions() if name == "RUN" and "install" in rest]
    assert len(installs) == 2
    assert "--require-hashes --no-deps -r requirements.txt" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_the_image_s_python_is_one_that_recon_runs_on() -> None:
    bases = {rest.split()[0] for name, rest in instructions() if name == "FROM"}
    assert len(bases) == 1, "an environment runs on the Python that it was made with"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = project["requires-python"].removeprefix(">=")
    assert bases == {f"python:{version}-slim"}


@pytest.mark.parametrize(
    "typed", [[*json.loads(last("CMD"))], [*CONTAINER["args"]]], ids=["image", "cronjob"]
)
def test_what_is_started_is_a_command_of_recon_s(typed: list[str]) -> None:
    assert json.loads(last("ENTRYPOINT")) == ["/opt/recon/.venv/bin/recon"]
    done = subprocess.run(
        [sys.executable, "-m", "recon", *typed, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_the_image_copies_is_enough_to_install(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in copied():
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "recon/run/ping_send.py",
        "connectors/okx/connector.py",
        "recon/sql/staging/fills.sql",
    } <= names
