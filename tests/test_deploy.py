"""What is deployed is valid, safe by default, and agrees with the settings it uses."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from sotto.service.call import SERVICE
from sotto.service.settings import Settings

DEPLOY = Path(__file__).parents[1] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = ("1.32", "1.37")  # the sleep of preStop is on by default since 1.30


def manifest(kind):
    found = [yaml.safe_load(path.read_text()) for path in MANIFESTS]
    return next(item for item in found if item["kind"] == kind)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_fit_the_schema_of_kubernetes(path, version):
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), version, strict=True)


def test_a_wrong_manifest_would_be_noticed():
    broken = manifest("Deployment")
    broken["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def test_the_manifests_belong_together():
    deployment, service = manifest("Deployment"), manifest("Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_the_pod_outlives_its_drain_and_its_variables_are_settings():
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    named = {name.removeprefix("SOTTO_").lower() for name in variables}
    assert named <= set(Settings.model_fields)
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(variables["SOTTO_DRAIN_GRACE_S"])
    assert pod["terminationGracePeriodSeconds"] > sleep + drain
    probes = [container[f"{kind}Probe"]["grpc"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["port"] for probe in probes} == {
        int(variables["SOTTO_HEALTH_ADDRESS"].rpartition(":")[2])
    }
    assert {probe.get("service") for probe in probes} == {None, SERVICE}
    assert container["resources"]["requests"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]


def test_the_unit_is_hardened_and_outlives_its_drain():
    unit = (DEPLOY / "sotto.service").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert float(values["TimeoutStopSec"]) > Settings.model_fields["drain_grace_s"].default
    assert values["User"] == "sotto"
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert values[name] == "yes"
    assert values["ProtectSystem"] == "strict"


def test_systemd_accepts_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # The program is not on this machine; everything else must be right.
    unit = (DEPLOY / "sotto.service").read_text().replace("/opt/sotto/bin/sotto", "/bin/true")
    path = tmp_path / "sotto.service"
    path.write_text(unit)
    done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_dockerfile_is_clean():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_no_torch_and_no_root():
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"'\.\[(.*?)\]'", text) == ["cpu"]
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
