"""What a task's unit is called and made of, without a systemd."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barbossad.model.isolation import Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.model.names import RunId, TaskId
from barbossad.process import profiles
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.process.systemd import units
from barbossad.process.systemd.units import Files

KEY = AttemptKey(RunId("01m89539n0"), TaskId("a-b_C-3"), 12)
SPEC = LaunchSpec(key=KEY, argv=("/bin/true",), env={"PATH": "/usr/bin:relative:/bin"}, working_dir="/srv")
FILES = Files(environment="/run/e", credentials={}, runtime_folder="barbossa-tasks/x")


def made(spec: LaunchSpec = SPEC, files: Files = FILES, foreign: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the properties as plain values."""
    found = [*units.properties(spec, spec.argv, files), units.without(spec, foreign)]
    assert len(dict(found)) == len(found), "a property is given twice"
    return {name: variant.value for name, variant in found}


def test_names_lead_back() -> None:
    """A unit's name tells the run that it is of, whatever dashes its task has."""
    assert units.unit_name(KEY) == "barbossa-01m89539n0-a-b_C-3-12.service"
    assert units.run_of(units.unit_name(KEY)) == KEY.run_id


def test_names_are_never_too_long() -> None:
    """However long the id and the number, a folder in /tmp may be named for the unit, and no other task's is alike."""
    whole = units.unit_name(KEY._replace(task_id=TaskId("a" * 168)))
    assert (len(whole), "a" * 168 in whole) == (units.LONGEST_NAME, True)
    found = set()
    for last in ("b", "c", "d[3]", "d[30]"):
        for number in (1, 1000):
            task = f"{'a' * 63}.{'b' * 63}[12].{'c' * 60}{last}"
            name = units.unit_name(KEY._replace(task_id=TaskId(task), number=number))
            assert len(f"/tmp/systemd-private-{'0' * 32}-{name}-XXXXXX".rpartition("/")[2]) <= 255
            assert name.endswith(f"-{number}.service")
            assert units.run_of(name) == KEY.run_id
            found.add(name)
    assert len(found) == 8


@pytest.mark.parametrize(
    "name",
    ["barbossad.service", "barbossa-01m89539n0-x.service", "barbossa-01m89539n0-x-0.service", "barbossa-x-y-1.service",
     "barbossa-01m89539n0-x-1.scope", "xbarbossa-01m89539n0-x-1.service"],
)  # fmt: skip
def test_other_names(name: str) -> None:
    """What is not named as we name units is nobody's."""
    assert units.run_of(name) is None


def test_what_every_unit_has() -> None:
    """Its end is kept, its tree is one control group, nothing is expanded, and its user is said."""
    found = made(replace(SPEC, argv=("/bin/echo", "$HOME", "$$", "a")))
    assert found["Type"] == "exec"
    assert found["RemainAfterExit"] is True
    assert found["KillMode"] == "control-group"
    assert found["Slice"] == "barbossa.slice"
    assert found["User"] == "root"
    assert found["ExecStart"] == [["/bin/echo", ["/bin/echo", "$$HOME", "$$$$", "a"], False]]
    assert found["ExecSearchPath"] == ["/usr/bin", "/bin"]
    assert (found["StandardOutputFileDescriptor"], found["StandardErrorFileDescriptor"]) == (0, 1)
    assert found["EnvironmentFiles"] == [["/run/e", False]]
    assert "RuntimeMaxUSec" not in found
    assert found["TimeoutStartUSec"] == 2**64 - 1, "systemd's own 90 s would end a task of whose start it hears late"


def test_times() -> None:
    """systemd waits a little longer than the daemon before it ends a task whose time is over."""
    found = made(replace(SPEC, timeout_seconds=1.5, grace_seconds=0.0))
    assert found["RuntimeMaxUSec"] == found["TimeoutStartUSec"] == 3_500_000
    assert found["TimeoutStopUSec"] == 1, "0 would mean for ever"


def test_foreign_variables_are_unset() -> None:
    """What systemd adds to every service, and what its own environment has, is taken out unless the task sets it."""
    found = made(replace(SPEC, env={"LANG": "C", "PATH": "/bin"}), foreign=("LANG", "EVIL"))
    assert "EVIL" in found["UnsetEnvironment"]
    assert "INVOCATION_ID" in found["UnsetEnvironment"]
    assert "LANG" not in found["UnsetEnvironment"]


def test_who_is_made_for_a_task_has_the_name_that_systemd_gives() -> None:
    """Nobody else knows it beforehand; who is there already is said by the task's environment."""
    dynamic = replace(SPEC, isolation=Isolation(run_as=RunAs(is_dynamic=True)))
    assert {"USER", "LOGNAME"} <= set(made()["UnsetEnvironment"])
    assert {"USER", "LOGNAME"}.isdisjoint(made(dynamic, foreign=("USER",))["UnsetEnvironment"])
    assert {"HOME", "SHELL"} <= set(made(dynamic)["UnsetEnvironment"])


def test_user_group_dynamic_detach_and_credentials() -> None:
    """Each wish is the property that systemd has for it."""
    found = made(replace(SPEC, isolation=Isolation(run_as=RunAs(user="shop", group="data")), detach=True))
    assert (found["User"], found["Group"], found["KillMode"]) == ("shop", "data", "process")
    dynamic = replace(SPEC, isolation=Isolation(run_as=RunAs(is_dynamic=True)))
    found = made(dynamic, replace(FILES, credentials={"script": "/run/s"}))
    assert found["DynamicUser"] is True
    assert "User" not in found
    assert found["LoadCredential"] == [["script", "/run/s"]]


def test_limits() -> None:
    """What is limited is set, in systemd's units, and what is not is left alone."""
    limits = Limits(memory_bytes=1 << 20, cpu_percent=150, processes=7, open_files=9, io_weight=50, file_size_bytes=5)
    found = made(replace(SPEC, isolation=Isolation(limits=limits)))
    assert found["MemoryMax"] == 1 << 20
    assert found["MemorySwapMax"] == 0
    assert found["CPUQuotaPerSecUSec"] == 1_500_000
    assert (found["TasksMax"], found["LimitNOFILE"], found["IOWeight"], found["LimitFSIZE"]) == (7, 9, 50, 5)
    assert made().keys().isdisjoint({"MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"})


@pytest.mark.parametrize("profile", SandboxProfile)
def test_profiles(profile: SandboxProfile) -> None:
    """A profile's properties are those of its table; each but none keeps from the ways to the daemon and to systemd."""
    found = made(replace(SPEC, isolation=Isolation(sandbox=Sandbox(profile=profile))))
    wanted = {name: value for name, (_, value) in profiles.BY_PROFILE[profile].items()}
    assert {name: found[name] for name in wanted} == wanted
    assert ("InaccessiblePaths" in found) is (profile is not SandboxProfile.NONE)
    spec = replace(SPEC, isolation=Isolation(sandbox=Sandbox(profile=profile)))
    more = dict(units.properties(spec, spec.argv, FILES, ["/etc/x"]))
    assert "InaccessiblePaths" not in found or more["InaccessiblePaths"].value[-1] == "-/etc/x"


@pytest.mark.parametrize(
    ("path", "closed"),
    [
        ("/run/x", ["/run", "-/dev/hugepages"]),
        ("/run", ["-/dev/hugepages"]),
        ("/var/run/", ["-/dev/hugepages"]),
        ("//run/.", ["-/dev/hugepages"]),
    ],
)
def test_what_is_closed_by_name_may_be_declared(path: str, closed: list[str]) -> None:
    """Under strict some places are closed by name, unless the task declares them: systemd closes what is in both."""
    sandbox = Sandbox(profile=SandboxProfile.STRICT, writable=(path,))
    found = made(replace(SPEC, isolation=Isolation(sandbox=sandbox)))
    assert (found["ReadWritePaths"], found["ReadOnlyPaths"]) == ([path], closed)


def test_what_a_task_says_otherwise() -> None:
    """Network and writable paths change the profile, and a raw property takes the place of the profile's."""
    sandbox = Sandbox(
        profile=SandboxProfile.STRICT,
        network=True,
        writable=("/srv",),
        properties={"ProtectSystem": "full", "Nice": 3, "ReadOnlyPaths": ("/etc",), "PrivateUsers": True},
    )
    found = units.properties(replace(SPEC, isolation=Isolation(sandbox=sandbox)), SPEC.argv, FILES)
    typed = {name: (variant.signature, variant.value) for name, variant in found}
    assert typed["PrivateNetwork"] == ("b", False)
    assert typed["ReadWritePaths"] == ("as", ["/srv"])
    assert typed["ProtectSystem"] == ("s", "full")
    assert typed["Nice"] == ("i", 3)
    assert typed["ReadOnlyPaths"] == ("as", [*profiles.CLOSED, "/etc"])
    assert typed["PrivateUsers"] == ("b", True)


def test_raw_lists_are_added_to_the_profiles() -> None:
    """No raw property shows what a profile hides, nor is one given twice."""
    sandbox = Sandbox(
        profile=SandboxProfile.STANDARD,
        writable=("/srv",),
        properties={"InaccessiblePaths": ("/opt",), "ReadWritePaths": "/var", "MemoryMax": 9, "User": "shop"},
    )
    isolation = Isolation(limits=Limits(memory_bytes=1 << 20), sandbox=sandbox)
    found = units.properties(replace(SPEC, isolation=isolation), SPEC.argv, FILES, ["/etc/x"])
    values = {name: variant.value for name, variant in found}
    assert len(values) == len(found)
    assert values["InaccessiblePaths"] == [*profiles.HIDDEN, "-/etc/x", "/opt"]
    assert values["ReadWritePaths"] == ["/srv", "/var"]
    assert (values["MemoryMax"], values["MemorySwapMax"], values["User"]) == (9, 0, "shop")


WAYS = ["/run/systemd", "//run//systemd/", "/run/./systemd/.", "/var/run/systemd", "/proc/1/root/run/systemd"]


@pytest.mark.parametrize("name", sorted(profiles.SHOWING))
@pytest.mark.parametrize("profile", [one for one in SandboxProfile if one is not SandboxProfile.NONE])
def test_no_list_names_what_a_task_has_instead_of_the_host(profile: SandboxProfile, name: str, tmp_path: Path) -> None:
    """Of two mounts for one place systemd drops the file system in memory; so no list may name such a place."""
    (tmp_path / "link").symlink_to("/run")
    (tmp_path / "process").symlink_to("/proc/1/root/run/systemd")
    ways = [*WAYS, "+/run/systemd", "-/run/systemd", f"-+{tmp_path}/link/systemd", f"{tmp_path}/process"]
    sandbox = Sandbox(profile=profile, properties={name: (*ways, "/srv", "/run/systemd/private")})
    values = made(replace(SPEC, isolation=Isolation(sandbox=sandbox)))
    own = list(profiles.CLOSED) if profile is SandboxProfile.STRICT and name == "ReadOnlyPaths" else []
    assert values[name] == [*own, "/srv", "/run/systemd/private"]
    found = made(replace(SPEC, isolation=Isolation(sandbox=Sandbox(profile=profile, writable=(*WAYS, "/srv")))))
    assert found["ReadWritePaths"] == ["/srv"]


@pytest.mark.parametrize("place", [profiles.SHARED_MEMORY, profiles.QUEUES])
def test_memory_of_its_own_is_the_hosts_only_where_declared(place: str) -> None:
    """A raw list does not show the host's shared memory and queues to a strict task; ``writable`` does."""
    strict = Sandbox(profile=SandboxProfile.STRICT, properties={"ReadWritePaths": (f"{place}/.", "/srv")})
    assert made(replace(SPEC, isolation=Isolation(sandbox=strict)))["ReadWritePaths"] == ["/srv"]
    declared = Isolation(sandbox=replace(strict, writable=(place,)))
    assert made(replace(SPEC, isolation=declared))["ReadWritePaths"] == [place, f"{place}/.", "/srv"]


def test_environment_file() -> None:
    """Whatever systemd's reader would understand is escaped; what it drops goes by the shell, with the arguments."""
    plain, odd = units.environment_file({"A": 'a "b" \\ $x `y`\nz', "B": ""}, ["x"])
    assert plain.decode() == 'A="a \\"b\\" \\\\ \\$x \\`y\\`\nz"\nB=""\n'
    assert odd == b""
    plain, odd = units.environment_file({"A": "bell\a", "B": "it's"}, ["echo", "a b", "c'd"])
    assert plain == b'B="it\'s"\n'
    assert odd.decode() == "export A='bell\a'\nset -- echo 'a b' 'c'\"'\"'d'\n"
    assert units.environment_file({}, ["no \ufffe character"])[1]
    found = made(files=replace(FILES, exports="/run/x"))
    assert found["ExecStart"][0][1] == ["/bin/sh", "-c", '. "$$0" && exec "$$@"', "/run/x"]
