"""The pods of the manifests: confined, with what they need, and with settings and commands that the service has."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

import typer.main

from service.cli import app
from service.cli.api_processes import DRAIN_SECONDS
from service.cli.startup import COLLECTOR_STOP_SECONDS
from service.settings import Settings
from tests.cluster.manifests import KUBERNETES, containers, each_overlay, of_kind, pods, settings_of
from tools.lock import project


@each_overlay
def test_pods_are_confined(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(overlay).items():
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), 10001),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers"} & set(pod), name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


@each_overlay
def test_pods_say_what_they_need(overlay: str) -> None:
    for name, container in containers(overlay).items():
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert "memory" in container["resources"]["limits"], name
    for name, pod in pods(overlay).items():
        volumes = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in volume for volume in volumes), name


@each_overlay
def test_containers_write_to_volumes_alone_and_mount_all_that_their_pod_has(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert set(mounts) == set(volumes), name
        writable = {mount["mountPath"] for each, mount in mounts.items() if "emptyDir" in volumes[each]}
        assert writable == {"/data"}, name
        assert settings_of(overlay)["TMPDIR"] == "/data"
        assert settings_of(overlay)["BESTEPOCH_HOME"].startswith("/data/")
        assert all(mount.get("readOnly") for mount in mounts.values() if mount["mountPath"] not in writable), name


@each_overlay
def test_secrets_are_named_and_never_written(overlay: str) -> None:
    named = {
        "bestepoch-migrate": {"bestepoch-database"},
        "bestepoch-api": {"bestepoch-database", "bestepoch-api"},
    }

    assert not of_kind(overlay, "Secret")
    assert "password" not in urlsplit(settings_of(overlay)["BESTEPOCH_DATABASE_URL"]).netloc
    for name, pod in pods(overlay).items():
        sources = [
            source["secret"]
            for volume in pod["volumes"]
            if "projected" in volume
            for source in volume["projected"]["sources"]
        ]
        assert {source["name"] for source in sources} == named.get(name, {"bestepoch-database"})
        files = {f"/run/secrets/bestepoch/{item['path']}" for source in sources for item in source["items"]}
        given = {each["value"] for each in pod["containers"][0]["env"] if each["name"].endswith("_FILE")}
        assert given == files, name


@each_overlay
def test_every_variable_is_a_setting(overlay: str) -> None:
    given = set(settings_of(overlay))
    for container in containers(overlay).values():
        given |= {each["name"] for each in container["env"]}

    assert given - {"TMPDIR"} <= {f"BESTEPOCH_{field.upper()}" for field in Settings.model_fields}


@each_overlay
def test_every_container_gets_the_settings_as_they_are(overlay: str) -> None:
    (name,) = of_kind(overlay, "ConfigMap")  # with a hash of its content: a change replaces the pods

    assert name != "bestepoch-settings"
    for container in containers(overlay).values():
        assert container["envFrom"][0] == {"configMapRef": {"name": name}}
        assert all(each["secretRef"]["optional"] for each in container["envFrom"][1:])


@each_overlay
def test_every_command_is_one_of_the_service(overlay: str) -> None:
    commands = typer.main.get_group(app)
    for container in containers(overlay).values():
        program, name, *arguments = [*container["command"], *container["args"]]
        assert program == "bestepoch"
        command = commands.commands[name]
        command.make_context(name, arguments)  # raises for an unknown option or a bad value


@each_overlay
def test_pods_have_the_time_to_stop(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        arguments = pod["containers"][0]["args"]
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if name == "bestepoch-api":
            sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert grace >= sleep + DRAIN_SECONDS + 2 * COLLECTOR_STOP_SECONDS
        elif arguments[0] == "worker":
            notice = int(arguments[arguments.index("--drain-seconds") + 1])
            assert grace >= notice + 2 * COLLECTOR_STOP_SECONDS, name


@each_overlay
def test_a_job_may_take_the_memory_of_a_worker(overlay: str) -> None:
    limits = {
        container["resources"]["limits"]["memory"]
        for container in containers(overlay).values()
        if container["name"] == "worker"
    }

    assert limits == {"16Gi"}
    assert settings_of(overlay)["BESTEPOCH_MAX_JOB_BYTES"] == str(16 * 2**30)


@each_overlay
def test_images_are_of_this_version_and_built_by_the_dockerfile(overlay: str) -> None:
    stages = {
        words[3]
        for line in (KUBERNETES.parents[1] / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM ") and len(words := shlex.split(line)) == 4
    }
    images = {container["image"].rpartition("/")[2] for container in containers(overlay).values()}

    assert {image.partition(":")[2] for image in images} == {project()["version"]}
    assert {image.partition(":")[0].removeprefix("bestepoch-").removesuffix("-cuda") for image in images} <= stages
