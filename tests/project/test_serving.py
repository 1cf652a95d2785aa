"""The files in serving/: what a cluster runs is what `inkflow serve` understands and answers."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ruamel.yaml import YAML

from tests.support.model_server import model_server
from tests.support.pictures import draw, encoded, write_reader
from tests.support.root import ROOT

MANIFEST = ROOT / "serving" / "kubernetes.yaml"
POD = "10.1.2.3:8080"  # the name under which the kubelet asks


def objects() -> dict[str, Any]:
    """The objects of the manifest, by kind."""
    loaded = YAML(typ="safe", pure=True).load_all(MANIFEST.read_text(encoding="utf-8"))
    return {item["kind"]: item for item in loaded}


def pod() -> Any:
    """The pod of the Deployment."""
    return objects()["Deployment"]["spec"]["template"]["spec"]


def test_the_manifest_is_one_of_kubernetes() -> None:
    """Each key of the manifest is one of Kubernetes's published models, and each required one is there."""
    from kubernetes_asyncio.client import ApiClient  # late: 3 seconds in each process that collects the tests

    client: Any = object.__new__(ApiClient)  # its models alone: a whole one wants an event loop
    client.configuration = SimpleNamespace(client_side_validation=True)
    for kind, model in (("Deployment", "V1Deployment"), ("Service", "V1Service")):
        content = json.loads(json.dumps(objects()[kind]))
        typed = client.deserialize(SimpleNamespace(data=json.dumps(content)), model)
        assert client.sanitize_for_serialization(typed) == content


def test_the_pod_may_do_little() -> None:
    """No container runs as root, writes outside of its volumes, or gets more rights; the token comes from a Secret."""
    assert pod()["securityContext"]["runAsNonRoot"] and not pod()["automountServiceAccountToken"]
    for container in (*pod()["initContainers"], *pod()["containers"]):
        limits = container["securityContext"]
        assert limits["readOnlyRootFilesystem"] and not limits["allowPrivilegeEscalation"]
        assert limits["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
    [server] = pod()["containers"]
    assert server["envFrom"] == [{"secretRef": {"name": "inkflow-serve"}}]
    assert "TOKEN" not in json.dumps(objects())
    service = objects()["Service"]["spec"]
    assert service["selector"] == objects()["Deployment"]["spec"]["selector"]["matchLabels"]


def test_a_server_with_these_arguments_answers_the_probes(tmp_path: Path) -> None:
    """Started as the manifest and the image start it, the server answers all probes without the token, and only them.

    The kubelet asks under the pod's address.
    """
    write_reader(tmp_path / "model" / "model.onnx")
    dockerfile = (ROOT / "serving" / "model.Dockerfile").read_text(encoding="utf-8")
    baked = json.loads(dockerfile.partition("CMD ")[2])
    [server] = pod()["containers"]
    following = [argument for argument in server["args"][1:] if not argument.startswith(("--fetch", "--port"))]
    assert following == [argument for argument in baked[1:] if not argument.startswith("--name")]
    environment = {"INKFLOW_SERVE_TOKEN": "secret"}
    with model_server(tmp_path, str(tmp_path / "model"), *baked[1:], environment=environment) as client:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = server[probe]["httpGet"]["path"]
            assert client.get(path, headers={"Host": POD}).status_code == 200, probe
        picture, headers = encoded(draw(7), "PNG"), {"Host": POD}
        assert client.post("/predict", content=picture, headers=headers).status_code == 401
        headers["Authorization"] = "Bearer secret"
        assert client.post("/predict", content=picture, headers=headers).json()["label"] == "7"
        assert client.get("/v2/models/cnn", headers=headers).status_code == 200


def test_the_watch_has_a_writable_folder() -> None:
    """Each server works in a folder that is written although the root is read-only: /tmp, or a volume of the pod."""
    assert "\nWORKDIR /tmp\n" in (ROOT / "serving/model.Dockerfile").read_text(encoding="utf-8")
    assert "docker run --read-only --tmpfs /tmp " in (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    [server] = pod()["containers"]
    writable = [Path(mount["mountPath"]) for mount in server["volumeMounts"] if not mount.get("readOnly")]
    assert any(path in Path(server["workingDir"]).parents for path in writable)


def test_prometheus_finds_the_server_and_has_its_token() -> None:
    """The scrape job of docs/serve.md keeps the pods and the port of the manifest, and sends the token from a file."""
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    block = text.partition("```yaml\nscrape_configs:")[2].partition("```")[0]
    [job] = YAML(typ="safe", pure=True).load(f"scrape_configs:{block}")["scrape_configs"]
    assert job["authorization"]["credentials_file"]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule["action"] == "keep"}
    [(label, value)] = objects()["Deployment"]["spec"]["selector"]["matchLabels"].items()
    [server] = pod()["containers"]
    assert kept == {
        "__meta_kubernetes_pod_label_" + re.sub("[^a-z]", "_", label): value,
        "__meta_kubernetes_pod_container_port_name": server["ports"][0]["name"],
    }
    assert "annotations" not in objects()["Deployment"]["spec"]["template"]["metadata"]


def test_the_clone_is_whole() -> None:
    """The clone of the project has all objects: what DVC reads of a version cannot be fetched from the remote later."""
    [project] = pod()["initContainers"]
    [clone] = re.findall("git clone .*", project["command"][-1])
    assert "--filter" not in clone
    assert "--depth" not in clone


def test_copied_folders_can_be_entered() -> None:
    """A mode that an image gives to a copied folder lets its user, who does not own it, enter and read it."""
    files = [ROOT / "Dockerfile", *ROOT.glob("serving/*Dockerfile"), *ROOT.glob("examples/**/*Dockerfile")]
    modes = [mode for file in files for mode in re.findall(r"--chmod=(\S+)", file.read_text(encoding="utf-8"))]
    assert modes
    assert all(int(mode, 8) & 0o005 == 0o005 for mode in modes)


def test_the_project_is_cloned_once(tmp_path: Path) -> None:
    """The init container clones the project, also after an interrupted clone; started again in the same pod, it keeps a
    complete clone.
    """
    source, volume = tmp_path / "source", tmp_path / "project"
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=one"], check=True)
    (volume / "new").mkdir(parents=True)
    (volume / "new/interrupted").touch()
    [container] = pod()["initContainers"]
    command = [part.replace("/project/", f"{volume}/") for part in container["command"]]
    for _ in range(2):
        subprocess.run([*command, str(source)], check=True)
        (volume / "code/kept").touch()
    assert sorted(path.name for path in (volume / "code").iterdir()) == [".git", "kept"]
    assert [path.name for path in volume.iterdir()] == ["code"]


def test_the_image_has_a_target_for_the_server() -> None:
    """The target `serve` runs `inkflow serve` as another user than root; the worker stays the last, the default."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stages = {stage.partition("\n")[0].split()[-1]: stage for stage in text.split("\nFROM ")[1:]}
    assert list(stages)[-1] == "worker"
    lines = dict(line.split(" ", 1) for line in stages["serve"].splitlines() if line[:1].isupper())
    assert json.loads(lines["ENTRYPOINT"])[-2:] == ["inkflow", "serve"]
    assert lines["USER"] == str(pod()["securityContext"]["runAsUser"])
    assert ".[predict,s3,ssh]" in shlex.split(lines["RUN"])
