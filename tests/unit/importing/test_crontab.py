"""Crontabs of real life become workflows that run when and how cron ran their lines."""

from __future__ import annotations

import random
import subprocess
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from barbossad.importing import command, compose, crontab, fields, names
from barbossad.importing.crontab import Crontab
from barbossad.importing.draft import Draft, Found
from barbossad.model.schedules import ScheduleKind
from barbossad.recurrence.instants import instants
from barbossad.validation import RefusalError
from barbossad.workflows import expressions
from tests.unit.importing.reading import definitions, loaded

GOLDEN = sorted((Path(__file__).parent / "crontabs").glob("*.crontab"))


def read(text: str, **given: Any) -> Found:
    """Read a crontab of nobody."""
    return crontab.read(Crontab(**{"text": text, "source": "the crontab", "timezone": "Europe/London", **given}))


def one(line: str, **given: Any) -> Draft:
    """Return the draft of the only job."""
    found = read(line, **given)
    assert not found.faults
    (draft,) = found.drafts
    return draft


def printed(found: Found) -> str:
    """Return all that came of a crontab, as a golden file has it."""
    parts = [compose.text_of(draft) + "".join(f"# note: {note}\n" for note in draft.notes) for draft in found.drafts]
    parts.append("".join(f"# fault: {fault}\n" for fault in found.faults))
    parts.append("".join(f"# of all: {note}\n" for note in found.notes))
    return "---\n".join(part for part in parts if part)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_crontabs_of_real_life(path: Path) -> None:
    """Each gives what stands beside it, to the letter; and every file of it loads."""
    is_system = path.stem.startswith("etc-")
    user = None if is_system else "ada"
    found = read(path.read_text(), source=path.name, is_system=is_system, user=user)
    assert printed(found) == path.with_suffix(".expected").read_text()
    for draft in found.drafts:
        assert loaded(draft).name == draft.name


# -- lines ---------------------------------------------------------------------------------------------------


def test_variables_hold_for_the_lines_below_them() -> None:
    """A job has the variables above it, with the values that they had there."""
    found = read("* * * * * a\nX=1\n* * * * * b\nX=2\nY=3\n* * * * * c\n")
    shell = {"SHELL": "/bin/sh"}
    assert [draft.env for draft in found.drafts] == [shell, {**shell, "X": "1"}, {**shell, "X": "2", "Y": "3"}]


def test_the_shell_of_commands_is_that_of_cron() -> None:
    """It is ``/bin/sh`` and not that of the account, which may be nologin, unless the crontab says otherwise."""
    found = read("* * * * * a\nSHELL=/bin/bash\n* * * * * b\n")
    assert [loaded(draft).env["SHELL"] for draft in found.drafts] == ["/bin/sh", "/bin/bash"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=plain", "plain"),
        ("X = spaced out  ", "spaced out"),
        ("  X=1", "1"),
        ("X='  kept  '", "  kept  "),
        ('X="it\'s"  ', "it's"),
        ('X="', '"'),
        ("X='a' b", "'a' b"),
        ("X=", ""),
        ("X=a=b", "a=b"),
        ('"X"=1', "1"),
        ("X=$HOME/{{ y }}", "$HOME/{{ y }}"),
        ("X=a # b", "a # b"),
    ],
)
def test_values_of_variables(line: str, value: str) -> None:
    """Quotes around a whole value keep its blanks; nothing in it is replaced or taken for an expression."""
    draft = one(f"{line}\n* * * * * a")
    assert draft.env == {"SHELL": "/bin/sh", "X": value}
    written = loaded(draft).env["X"]
    assert expressions.render_text(written, {}) == value


def test_comments_directly_above_describe_a_job() -> None:
    """Those of other lines, and what the template of a crontab says, do not."""
    template = "# m h  dom mon dow   command"
    found = read(f"# Far\n\n{template}\n# Back up\n#  the shop\n1 * * * * a\n2 * * * * b\n# c\nX=1\n* * * * * d")
    assert [draft.description for draft in found.drafts] == ["Back up the shop", "", ""]


def test_a_job_that_is_a_comment_is_told() -> None:
    """It is no description; that it was left out is told."""
    found = read("#0 3 * * 1 tar -zcf /var/backups/home.tgz /home/\n0 4 * * * a\n")
    assert found.drafts[0].description == ""
    assert found.notes == ["line 1 is a comment that looks like a job; it was left out"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("61 * * * * a", "the minute (61)"),
        ("* 24 * * * a", "the hour (24)"),
        ("* * 0 * * a", "the day of the month (0)"),
        ("* * * 13 * a", "the month (13)"),
        ("* * * * 8 a", "the day of the week (8)"),
        ("1/20 * * * * a", "which cron refuses"),
        ("5-1 * * * * a", "runs backwards"),
        ("*/0 * * * * a", "a step that is no number above 0"),
        ("*/x * * * * a", "a step that is no number above 0"),
        ("0~30 * * * * a", "a random value"),
        ("* * * janu * a", "the month (janu)"),
        ("1, * * * * a", "the minute (1,)"),
        ("* * * * *", "there is no command"),
        ("* * *", "neither a variable"),
        ("@dayly a", "cron knows no '@dayly'"),
        ("@daily", "there is no command"),
        ("hello", "neither a variable"),
        ("BARBOSSA_X=1", "cannot be kept"),
        ("'a b'=1", "cannot be kept"),
    ],
)
def test_a_broken_line_hides_no_other(line: str, why: str) -> None:
    """It is told with its number and why; the lines around it are imported."""
    found = read(f"0 1 * * * first\n{line}\n0 2 * * * last\n")
    assert [draft.name for draft in found.drafts] == ["first", "last"]
    (fault,) = found.faults
    assert fault.line == 2
    assert why in fault.message


def test_a_systems_crontab_names_users() -> None:
    """The word after the times is who runs it; a line without one is told."""
    found = read("0 1 * * *\tada   /bin/true  x\n@daily root b\n0 2 * * * /usr/bin/c\n", is_system=True)
    assert [(draft.task["run_as"], draft.task["shell"]) for draft in found.drafts] == [
        ("ada", "/bin/true  x"),
        ("root", "b"),
    ]
    assert [fault.line for fault in found.faults] == [3]


def test_mail_is_never_dropped_silently() -> None:
    """MAILTO stays a variable and is told of, also where it is empty."""
    for value, words in (("ops@example.com", "mailed its output to ops@example.com"), ('""', "MAILTO is empty")):
        draft = one(f"MAILTO={value}\n* * * * * a")
        assert draft.env["MAILTO"] == value.strip('"')
        assert any(words in note for note in draft.notes)


def test_time_zones_and_delays_of_cronie() -> None:
    """CRON_TZ is the zone of the lines below it, RANDOM_DELAY their jitter; at boot there is neither."""
    found = read("0 1 * * * a\nCRON_TZ=Asia/Tokyo\nRANDOM_DELAY=10\n0 1 * * * b\n@reboot c\n")
    first, second, third = (loaded(draft).schedules[0] for draft in found.drafts)
    assert first.timing is not None
    assert second.timing is not None
    assert (first.timing.timezone, second.timing.timezone) == ("Europe/London", "Asia/Tokyo")
    assert (first.jitter_seconds, second.jitter_seconds) == (0.0, 600.0)
    assert third.kind is ScheduleKind.BOOT


# -- when ----------------------------------------------------------------------------------------------------


def by_cron(texts: list[str], start: datetime, count: int) -> list[datetime]:
    """Return when cron runs a line, minute by minute, as its find_jobs does; ``start`` is not one of them."""
    bounds = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    sets = []
    for text, (least, most) in zip(texts, bounds, strict=True):
        found: set[int] = set()
        for item in text.split(","):
            span, _, step = item.partition("/")
            low, _, high = (f"{least}-{most}" if span == "*" else span).partition("-")
            found |= set(range(int(low), int(high or low) + 1, int(step or 1)))
        sets.append({value % 7 for value in found} if most == 7 else found)
    found_at: list[datetime] = []
    instant = start
    while len(found_at) < count and instant < start + timedelta(days=800):
        instant += timedelta(minutes=1)
        of_month, of_week = instant.day in sets[2], instant.isoweekday() % 7 in sets[4]
        is_both = texts[2].startswith("*") or texts[4].startswith("*")
        if not ((of_month and of_week) if is_both else (of_month or of_week)) or instant.month not in sets[3]:
            instant = instant.replace(hour=23, minute=59)
        elif instant.minute in sets[0] and instant.hour in sets[1]:
            found_at.append(instant)
    return found_at


def chance_line(rng: random.Random) -> list[str]:
    """Return five fields at random."""
    texts = []
    for least, most in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7)):
        low = rng.randint(least, most)
        high = rng.randint(low, most)
        step = rng.randint(1, most + 5)
        options = (
            "*",
            "*",
            "*",
            str(low),
            f"{low}-{high}",
            f"*/{step}",
            f"{low}-{high}/{step}",
            f"{low},{high}",
            f"*,{low}",
        )
        texts.append(rng.choice(options))
    return texts


@pytest.mark.parametrize("seed", range(150))
def test_chance_lines_run_when_cron_runs_them(seed: int) -> None:
    """The days of month and week too, of which cron wants either or both."""
    texts = chance_line(random.Random(seed))
    start = datetime(2026, 2, 26, 11, 59, tzinfo=UTC)
    expected = by_cron(texts, start, 30)
    (definition,) = definitions([{"cron": fields.timing(texts), "timezone": "UTC"}])
    assert definition.timing is not None
    start_ms = int(start.timestamp() * 1000)
    found = [instant.at_ms for instant in islice(instants(definition.timing, start_ms), 30)]
    assert [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in found][: len(expected)] == expected, texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 * * 5-7", "0 0 * * 5-7"),
        ("0 0 1 * 0-6", "0 0 * * *"),
        ("*/90 * * * *", "0 * * * *"),
        ("0 0 */40 * 1", "0 0 */31 * 1"),
        ("0 0 1-7 * */8", "0 0 1-7 * */7"),
        ("0 0 */1 * 1", "0 0 * * 1"),
        ("0 9 * JAN-Mar MON", "0 9 * jan-mar mon"),
        ("0 0 */2 * 1", "0 0 */2 * 1"),
    ],
)
def test_an_expression_stays_as_it_is_where_it_can(text: str, expected: str) -> None:
    """What the language does not take, and nothing else, is written otherwise."""
    assert fields.timing(text.split()) == expected


def test_names_of_times() -> None:
    """@daily and its like are known as cron knows them, in small letters only."""
    assert one("@weekly a").schedules[0]["cron"] == "0 0 * * 0"
    assert one("@reboot a").schedules[0] == {"boot": True, "overlap": "allow"}
    with pytest.raises(RefusalError, match="knows no"):
        crontab._named("@Weekly")


# -- what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "program", "given"),
    [
        ("date +\\%F", "date +%F", None),
        ("cat%one%two", "cat", "one\ntwo\n"),
        ("cat%one%", "cat", "one\n"),
        ("cat%", "cat", ""),
        ("cat%50\\% off", "cat", "50% off\n"),
        ("cat%a\\b", "cat", "a\\b\n"),
        ("cat%%a", "cat", "\na\n"),
        ("sed s/\\\\./x/", "sed s/\\\\./x/", None),
        ("a\\", "a\\", None),
        ("cat%x\\", "cat", "x\\\n"),
    ],
)
def test_percent_signs(text: str, program: str, given: str | None) -> None:
    """The first bare one begins standard input, further ones are line ends; behind a backslash it is itself."""
    assert command.split(text) == (program, given)


COMMANDS = [
    "echo hello",
    "cat%one%two",
    "tr a-z A-Z | cat%one%  two%%END",
    "cat; echo done; cat%x",
    "false; echo on",
    "(cat; exit 3)%sub shell",
    "exit 4",
    "echo '{{ braces }}' {{%x",
    "cat%{{ braces }}%{% if %}",
    "cat <<EOF%never seen",
    'echo "$HOME" # a comment%x',
    "cat # a comment%given",
    "echo \\",
    "cat \\%still the command",
    "cat -%tab\there %  and blanks  ",
    "sh -c 'exit 7' || cat%q'u\"o`t$es\\",
    "if read x; then echo got $x; fi%value",
    "echo é ☃%☃",
    'echo "50% done" ; echo never',
    "echo '50%'; echo never",
    "cat; }; echo never; { cat%x",
    "echo $(cat%); echo never",
    "echo ${x:-%}; echo never",
    "if true%then echo never; fi",
    "cat `%`; echo never",
]


NO_SHELL = "/usr/bin/env"
"""What a crontab may name as its shell, and is none."""

RUN = [
    *((shell, text) for shell in (None, "/bin/bash") for text in COMMANDS),
    *((NO_SHELL, text) for text in COMMANDS[:2]),
]


@pytest.mark.parametrize(("shell", "text"), RUN)
def test_a_task_does_what_cron_does(shell: str | None, text: str, tmp_path: Path) -> None:
    """The same output and the same end as SHELL -c command, with its standard input."""
    program, given = command.split(text)
    wanted = subprocess.run(
        [shell or "/bin/sh", "-c", program], input=(given or "").encode(), capture_output=True, check=False
    )
    draft = one(f"{f'SHELL={shell}' if shell else ''}\n0 1 * * * {text}")
    (task,) = yaml.safe_load(compose.text_of(draft))["tasks"]
    done = subprocess.run(argv_of(task["shell"], tmp_path), capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.stdout, done.returncode) == (wanted.stdout, wanted.returncode)
    assert loaded(draft)


@pytest.mark.parametrize(("text", "is_told"), [("echo 50% done", True), ("date +\\%F", False)])
def test_where_a_command_ends_is_told(text: str, is_told: bool) -> None:
    """Who wrote a bare ``%`` may not know that the command ends there."""
    assert any("% ends the command" in note for note in one(f"0 1 * * * {text}").notes) is is_told


@pytest.mark.parametrize(
    "text",
    [
        "server &",
        "server&",
        "cd /srv && nohup sleep 7778 >/dev/null 2>&1 &",
        "a & b",
        "(a; b) & echo on its way",
        "su ada -c 'server &'",
        'su ada -c "server & "',
        "/usr/bin/setsid server",
        "sh -c 'nohup server'",
        "start-stop-daemon --start --background --exec /usr/bin/server",
        "rsync --daemon",
        "screen -dmS bot ./bot",
    ],
)
def test_what_would_outlive_its_task_is_told(text: str) -> None:
    """With cron it lives on; here it ends with the task, and the note says what to write instead."""
    assert any("add detach: true" in note for note in one(f"@reboot {text}").notes)


@pytest.mark.parametrize(
    "text",
    [
        "a && b",
        "a 2>&1",
        "a &>/dev/null",
        "a >& log",
        "a |& b",
        "a <&3",
        "curl 'http://x/?a=1&b=2'",
        'curl "http://x/?a=1&b=2"',
        "curl http://x/?a=1\\&b=2",
        "a & b & wait",
        "systemctl restart my-daemon",
        "echo 'Tom & Jerry'",
        "/opt/nohup-not/x",
    ],
)
def test_what_ends_with_its_task_is_not(text: str) -> None:
    """An ampersand has other meanings, too."""
    assert not any("detach" in note for note in one(f"@reboot {text}").notes)


def argv_of(shell: Any, folder: Path) -> list[str]:
    """Return how a shell task is run."""
    if isinstance(shell, list):
        return [str(expressions.render(item, {})) for item in shell]
    given = shell if isinstance(shell, dict) else {"script": shell}
    file = folder / "script"
    file.write_text(given["script"] if given["script"].endswith("\n") else given["script"] + "\n")
    return [given.get("shell", "/bin/sh"), *(["-e"] if given.get("stop_on_error", True) else []), str(file)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cd / && run-parts --report /etc/cron.hourly", "run-parts-cron-hourly"),
        (
            "test -x /usr/bin/certbot -a \\! -d /run/systemd/system && perl -e 'sleep 1' && certbot -q renew",
            "certbot-renew",
        ),
        ("[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ("/home/ada/bin/backup.sh >/dev/null 2>&1", "backup"),
        ("flock -n /tmp/x.lock /opt/sync.py --all", "sync"),
        ("nice -n 19 rsync -a /srv/ host:/x", "rsync-srv"),
        ("sudo -u www-data php /var/www/cron.php", "cron"),
        ("FOO=1 /usr/bin/python3 /opt/x/report.py weekly", "report-weekly"),
        ("bash -c 'cd /x && ./deploy.sh'", "deploy"),
        ("echo hello", "job"),
        ("'unclosed", "unclosed"),
        ("/opt/" + "long-name-" * 10, "long-name-long-name-long-name-long-name"),
    ],
)
def test_names_are_made_of_what_is_run(text: str, name: str) -> None:
    """The program that a line is about, and what it is told to do."""
    assert names.of_command(text) == name


def test_as_many_lines_and_jobs_as_are_read() -> None:
    """What lies beyond is left out, and said to be, where it begins."""
    found = read("* * * * * echo hi\n" * (crontab.MOST_JOBS + 5))
    assert len({draft.name for draft in found.drafts}) == crontab.MOST_JOBS
    assert [(fault.line, fault.message) for fault in found.faults] == [
        (1001, "no more than 1000 jobs are imported at once; this line and those below it are left out")
    ]
    assert not read("* * * * * echo hi\n" * crontab.MOST_JOBS).faults
    assert not read("#\n" * crontab.MOST_LINES).faults
    beyond = read("#\n" * crontab.MOST_LINES + "@daily x\n")
    assert [(fault.line, fault.message) for fault in beyond.faults] == [
        (10_001, "no more than 10000 lines are imported at once; this line and those below it are left out")
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"* * * * * {'a' * crontab.MOST_LINE_CHARACTERS}", "at most 131072 are read"),
        (f"{'1,' * 600}1 * * * * x", "more than 1000 characters"),
    ],
)
def test_a_line_that_is_too_long_is_a_fault(line: str, words: str) -> None:
    """It hides no other."""
    found = read(f"{line}\n@daily x\n")
    assert [draft.line for draft in found.drafts] == [2]
    assert words in found.faults[0].message


@pytest.mark.parametrize(
    "text",
    [
        "* * * * * " + "env " * 30_000,
        "* * * * * '" + "a" * 130_000,
        "# (" + " installed on " * 9000 + "\n@daily x",
        "A=" + "x" * 120_000 + "\n" + "MAILTO=" + "y" * 100_000 + "\n" + "* * * * * x\n" * 1000,
        "".join(f"A{number}=x\n" for number in range(2000)) + "* * * * * x\n" * 1000,
    ],
)
def test_no_text_is_read_for_long(text: str) -> None:
    """Whatever stands in it, it takes a time like its length: such texts took minutes, or gigabytes."""
    start = time.process_time()
    assert read(text).drafts
    assert time.process_time() - start < 2


def test_names_are_unique() -> None:
    """The second of a name has a number, and so on."""
    found = read("1 * * * * a\n2 * * * * a\n3 * * * * a\n")
    assert [draft.name for draft in found.drafts] == ["a", "a-2", "a-3"]


@pytest.mark.parametrize(
    "name",
    ["1", "2024", "1_000", "0x10", "0o7", "010", "1e3", "yes", "no", "on", "off", "y", "n", "null", "true", "nan"],
)
def test_what_yaml_takes_for_something_else_stays_text(name: str) -> None:
    """A job, its user and its variables may be called what YAML has another meaning for."""
    user, variable = (name, name) if name.isalpha() else ("root", f"_{name}")
    found = read(f"# {name}\n{variable}={name}\n# {name}\n0 2 * * * {user} /root/{name}.sh\n", is_system=True)
    assert not found.faults
    (draft,) = found.drafts
    said = loaded(draft)
    assert (said.name, said.description, dict(said.env)) == (name, name, {"SHELL": "/bin/sh", variable: name})
    assert yaml.safe_load(compose.text_of(draft))["env"] == dict(draft.env)  # as others read it, too
