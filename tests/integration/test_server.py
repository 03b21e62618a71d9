"""The control socket under clients that are slow, flood, send garbage or vanish: no other client notices."""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad import wire
from barbossad.operations import registry
from barbossad.rpc import connection
from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import Client, Pinger, RpcError
from tests.helpers.rpc_server import serving
from tests.helpers.waiting import eventually

PING = wire.encode(wire.call("daemon.ping", {}, 1))
MEGABYTE = 1024 * 1024

CHATTY = f"""
name: chatty
tasks:
  - shell: |
      i=0
      while [ $i -lt 1000 ]; do echo "{"x" * 1000}"; i=$((i + 1)); done
"""
LATE = """
name: late
params: {gate: {type: path}}
tasks:
  - {id: first, shell: 'until [ -e "$gate" ]; do sleep 0.05; done; exit 1'}
""" + "".join(f"  - {{id: t{number}, depends_on: [first], shell: 'true'}}\n" for number in range(1000))
ASLEEP = "name: asleep\ntasks:\n  - {shell: exec sleep 600, grace: 1s}\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), config="clients: {limit: 1500}\n") as running:
        running.apply(CHATTY)
        running.apply(ASLEEP)
        with running.client() as client:  # each reader of the store opens its files when it is first used
            client.send(b"[" + b",".join([wire.encode(wire.call("run.list", {"limit": 1}, 1)).rstrip()] * 100) + b"]\n")
            client.receive()
            run_id = client.call("run.start", workflow="chatty")["id"]
            client.call("run.wait", run_id=run_id)
            client.call("run.get", run_id=run_id)
        yield running


@pytest.fixture
def asleep(daemon: Daemon) -> Iterator[str]:
    """Run something that does not end; its id."""
    run_id: str = daemon.call("run.start", workflow="asleep")["id"]
    yield run_id
    with contextlib.suppress(RpcError):  # the test may have cancelled it
        daemon.call("run.cancel", run_id=run_id)
    daemon.call("run.wait", run_id=run_id)


@pytest.fixture(autouse=True)
def nothing_stays_open(daemon: Daemon) -> Iterator[None]:
    """After each test the daemon has as many open files as before, and its log no sign of a fault."""
    before = daemon.open_files()
    yield
    wait_for_files(daemon, before)


def wait_for_files(daemon: Daemon, before: list[str]) -> None:
    """Wait until the daemon has nothing open that it had not before."""

    def more() -> Counter[str]:
        return Counter(daemon.open_files()) - Counter(before)

    with contextlib.suppress(AssertionError):
        daemon.eventually(lambda: not more(), "it has open what it had open before")
    assert not more()


def message_of(answer: Any) -> str:
    error = answer["error"]
    return f"{error['code']} {error['message']}"


# -- floods --------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_pings_in_one_go(daemon: Daemon) -> None:
    """A client that sends 100,000 calls at once gets 100,000 answers, in order, and others their turn."""
    count = 100_000
    with Pinger(daemon.socket_path), daemon.client() as client:
        sender = threading.Thread(
            target=lambda: client.send(b"".join(wire.encode(wire.call("daemon.ping", {}, n)) for n in range(count)))
        )
        sender.start()
        answered = [json.loads(client.read_line())["id"] for _ in range(count)]
        sender.join()
    assert answered == list(range(count))


def test_a_flood_of_the_costliest_reading(daemon: Daemon) -> None:
    """Calls with large answers are cheap enough, and get turns short enough, that others do not wait."""
    count = 300
    call = wire.encode(wire.call("rpc.discover", {}, 1)) + wire.encode(wire.call("daemon.status", {}, 2))
    with Pinger(daemon.socket_path), daemon.client() as client:
        sender = threading.Thread(target=lambda: client.send(call * count))
        sender.start()
        for _ in range(2 * count):
            assert "result" in client.receive()
        sender.join()


def test_a_slow_reader(daemon: Daemon) -> None:
    """A client that never reads its answers is not read either; the daemon does not grow."""
    memory = daemon.memory_bytes()
    with Pinger(daemon.socket_path), daemon.client() as client:
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.send(wire.encode(wire.call("rpc.discover", {}, 1)) * 100_000)
        for _ in range(20):
            daemon.call("daemon.status")
        assert daemon.memory_bytes() - memory < 16 * MEGABYTE


def test_answers_that_pile_up(daemon: Daemon, tmp_path: Path) -> None:
    """Calls that were under way when their client stopped reading cannot fill the memory: it is cut off."""
    gate = tmp_path / "gate"
    daemon.apply(LATE)
    run_id = daemon.call("run.start", workflow="late", params={"gate": str(gate)})["id"]
    memory = daemon.memory_bytes()
    with Pinger(daemon.socket_path, slowest_seconds=2.0), daemon.client() as client:
        client.send(b"".join(wait_call(run_id, n) for n in range(connection.MAX_IN_FLIGHT)))
        daemon.eventually(lambda: unread_bytes(client.socket) == 0, "it has taken all calls")
        gate.touch()
        daemon.says("answers unread and was cut off")
        assert daemon.memory_bytes() - memory < connection.MAX_UNSENT_BYTES + 128 * MEGABYTE
    daemon.call("run.wait", run_id=run_id)


def test_answers_that_pile_up_slowly(daemon: Daemon) -> None:
    """A client that asks for much and reads nothing is not served beyond what it has not read."""
    run_id = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="chatty")["id"])["id"]
    memory = daemon.memory_bytes()
    with Pinger(daemon.socket_path, slowest_seconds=2.0), daemon.client() as client, daemon.client() as other:
        client.send(b"".join(log_call(run_id, n) for n in range(connection.MAX_IN_FLIGHT)))
        for _ in range(500):  # in this time it could have answered all of them
            other.call("run.logs", run_id=run_id, task="shell-1", limit=10)
        assert daemon.memory_bytes() - memory < connection.MAX_UNSENT_BYTES + 128 * MEGABYTE


def unread_bytes(sender: socket.socket) -> int:
    """Return how much of what was sent the other side has not read yet."""
    return int.from_bytes(fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def log_call(run_id: str, number: int) -> bytes:
    return wire.encode(wire.call("run.logs", {"run_id": run_id, "task": "shell-1", "limit": 1000}, number))


def wait_call(run_id: str, number: int) -> bytes:
    return wire.encode(wire.call("run.wait", {"run_id": run_id}, number))


def test_a_fast_reader_may_ask_as_much(daemon: Daemon) -> None:
    """A client that asks for many large answers at once, and reads them, gets them all."""
    run_id = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="chatty")["id"])["id"]
    count = 50
    with Pinger(daemon.socket_path, slowest_seconds=2.0), daemon.client() as client:
        client.send(b"".join(log_call(run_id, n) for n in range(count)))
        answered = {client.receive()["id"] for _ in range(count)}
    assert answered == set(range(count))


# -- what is no message --------------------------------------------------------------------------------------


def test_garbage(daemon: Daemon) -> None:
    """Each line of garbage is answered with an error, and a proper call behind it with its result."""
    garbage = [b"\x00\xff\xfe", b"GET / HTTP/1.1", b"\x16\x03\x01\x02\x00\x01", b"{" * 1000, b"\xf0\x28\x8c\x28" * 1000]
    with Pinger(daemon.socket_path), daemon.client() as client:
        for line in garbage:
            assert client.ask(line)["error"]["code"] == -32700
        assert client.ask(PING.rstrip())["result"]["pid"] == daemon.pid


def test_a_hundred_megabytes_without_an_end(daemon: Daemon) -> None:
    """A message longer than any may be is refused as soon as that is sure, and the client cut off."""
    memory = daemon.memory_bytes()
    with Pinger(daemon.socket_path), daemon.client() as client:
        with pytest.raises(ConnectionError):
            for _ in range(100):
                client.send(b"x" * MEGABYTE)
        assert "more than 16777216 bytes" in message_of(client.receive())
        assert client.has_ended()
        assert daemon.memory_bytes() - memory < 64 * MEGABYTE


def test_a_line_longer_than_any_may_be(daemon: Daemon) -> None:
    """The same holds where the end of the line comes."""
    with Pinger(daemon.socket_path), daemon.client() as client:
        client.send(b'"' + b"x" * (16 * MEGABYTE - 2) + b'"\n' + PING)
        assert "more than 16777216 bytes" in message_of(client.receive())
        assert client.has_ended()


def test_sixteen_megabytes_for_an_operation_that_takes_less(daemon: Daemon) -> None:
    """A line that is too long for what it calls is refused, and the next is answered."""
    padding = b'{"jsonrpc":"2.0","method":"daemon.ping","id":1,"params":{"x":"' + b"x" * (15 * MEGABYTE) + b'"}}'
    with Pinger(daemon.socket_path), daemon.client() as client:
        answer = client.ask(padding)
        assert answer["error"]["code"] == -32600
        assert "too large; at most 1048576" in answer["error"]["message"]
        assert client.ask(PING.rstrip())["result"]


def test_a_megabyte_for_an_operation_that_takes_more(daemon: Daemon) -> None:
    """A workflow file may be longer than other requests; what is wrong with it is told in the usual way."""
    with Pinger(daemon.socket_path), daemon.client() as client:
        answer = client.call("workflow.validate", yaml="name: long\ntasks:\n  - shell: |\n" + "      echo\n" * 300_000)
    assert [fault["path"] for fault in answer["faults"]] == ["tasks[0].shell"]


def test_a_million_brackets(daemon: Daemon) -> None:
    """Nesting without end is a parse error, of arrays and of objects."""
    with Pinger(daemon.socket_path), daemon.client() as client:
        for opening in (b"[", b'{"a":', b'[{"a":'):
            assert client.ask(opening * (1_000_000 // len(opening)))["error"]["code"] == -32700


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",', b"0,"])
@pytest.mark.parametrize("size", [MEGABYTE - 1000, 4 * MEGABYTE - 1000])
def test_a_request_of_very_many_values(daemon: Daemon, piece: bytes, size: int) -> None:
    """What is cheap to send and dear to read is refused before it is read."""
    line = b'{"jsonrpc":"2.0","id":1,"method":"workflow.apply","params":[' + piece * (size // len(piece)) + b"0]}"
    with Pinger(daemon.socket_path), daemon.client() as client:
        assert client.ask(line)["error"]["code"] == -32700


@pytest.mark.parametrize(
    "text", ["name: x\ntasks: [" + "a," * 400_000 + "]", "name: x\ntasks:\n" + "- {a: b}\n" * 50_000]
)
def test_a_workflow_that_takes_long_to_read(daemon: Daemon, text: str) -> None:
    """A file that takes seconds to check is checked aside."""
    with Pinger(daemon.socket_path), daemon.client() as client:
        client.socket.settimeout(60)
        assert client.call("workflow.validate", yaml=text)["valid"] is False


def test_a_batch_of_a_hundred_thousand(daemon: Daemon) -> None:
    """A batch beyond the limit is refused as a whole."""
    batch = b"[" + b",".join([PING.rstrip()] * 100_000) + b"]"
    with Pinger(daemon.socket_path), daemon.client() as client:
        assert client.ask(batch)["error"]["code"] == -32600


def test_a_batch_of_the_most_calls(daemon: Daemon) -> None:
    """A thousand calls in one batch are answered, while others have their turn."""
    batch = b"[" + b",".join([wire.encode(wire.call("run.list", {"limit": 1}, 1)).rstrip()] * 1000) + b"]"
    with Pinger(daemon.socket_path), daemon.client() as client:
        assert len(client.ask(batch)) == 1000


def test_a_batch_of_the_costliest_calls(daemon: Daemon) -> None:
    """Others have their turn between the calls of a batch, and what is too much is not worked on."""
    batch = b"[" + b",".join([wire.encode(wire.call("rpc.discover", {}, 1)).rstrip()] * 1000) + b"]\n"
    before = daemon.cpu_seconds()
    with Pinger(daemon.socket_path), daemon.client() as client:
        answers = client.ask(batch)
    assert ["result" in answer for answer in answers] == sorted(
        ["result" in answer for answer in answers], reverse=True
    )
    assert message_of(answers[-1]).endswith("too large together; ask for less; this call was not begun")
    assert daemon.cpu_seconds() - before < 10


# -- clients that vanish -------------------------------------------------------------------------------------


def test_a_batch_whose_answer_would_be_too_large(daemon: Daemon) -> None:
    """Answers that are longer together than a message may be are given up, before they have filled the memory."""
    run_id = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="chatty")["id"])["id"]
    memory = daemon.memory_bytes()
    batch = b"[" + b",".join([log_call(run_id, 1).rstrip()] * 1000) + b"]"
    with Pinger(daemon.socket_path, slowest_seconds=2.0), daemon.client() as client:
        answers = client.ask(batch)
        assert len(answers) == 1000
        assert "result" in answers[0]
        assert "too large together; ask for less; this call was " in message_of(answers[-1])
        assert daemon.memory_bytes() - memory < 128 * MEGABYTE


def test_disconnecting_in_the_middle_of_calls(daemon: Daemon, asleep: str) -> None:
    """Clients that hang up while they wait leave nothing: no task, no open file, no line in the log."""
    before = daemon.log
    with Pinger(daemon.socket_path):
        for _ in range(50):
            with daemon.client() as client:
                client.begin("run.wait", run_id=asleep)
                client.begin("run.watch", run_id=asleep, after=10**6)
                client.begin("run.logs", run_id=asleep, task="shell-1", wait_seconds=300)
                client.send(PING * 10 + b'{"half')
                client.receive()
    assert daemon.log == before


def test_what_changes_something_goes_on(daemon: Daemon) -> None:
    """A client that hangs up after asking for a change does not leave half of it: memory and state file agree."""
    names = [f"vanished-{number}" for number in range(50)]
    for name in names:
        with daemon.client() as client:
            client.begin("workflow.apply", yaml=f"name: {name}\ntasks:\n  - shell: 'true'\n")
    for name in names:
        daemon.eventually(lambda name=name: is_there(daemon, name), f"{name} is in force")  # type: ignore[misc]
    runs = []
    for name in names:
        with daemon.client() as client:
            client.send(b"[" + wire.encode(wire.call("run.start", {"workflow": name}, 1)).rstrip() + b"]\n")
        runs.append(name)
    for name in runs:
        daemon.eventually(lambda name=name: has_run(daemon, name), f"{name} has run")  # type: ignore[misc]
        daemon.call("workflow.delete", name=name)


def is_there(daemon: Daemon, name: str) -> bool:
    page = daemon.call("workflow.list", limit=1000)
    return name in {item["name"] for item in page["items"]}


def has_run(daemon: Daemon, name: str) -> bool:
    return [run["state"] for run in daemon.call("run.list", workflow=name)["items"]] == ["succeeded"]


def test_half_a_line_then_silence(tmp_path: Path) -> None:
    """A client that leaves a line half sent is cut off; one that is idle between lines is not."""
    with (
        serving(tmp_path, registry.load(), stall_seconds=1.5) as path,
        Client(path) as idle,
        Client(path) as stalled,
        Pinger(path, method="rpc.discover"),
    ):
        stalled.send(b'{"jsonrpc":"2.0","method":"rpc.dis')
        assert stalled.has_ended()
        assert idle.call("rpc.discover")


def test_an_answer_that_is_not_taken(tmp_path: Path) -> None:
    """A client that takes nothing of its answers for a while is cut off."""
    with (
        serving(tmp_path, registry.load(), stall_seconds=1.5) as path,
        Client(path) as stalled,
        Pinger(path, method="rpc.discover"),
    ):
        stalled.send(wire.encode(wire.call("rpc.discover", {}, 1)) * 100)
        eventually(lambda: has_hung_up(stalled.socket), 20, "it is cut off")


def has_hung_up(connected: socket.socket) -> bool:
    """Whether the server hung up, without reading anything."""
    try:
        connected.send(b"\n")
    except ConnectionError:
        return True
    return False


def test_a_busy_client_is_not_taken_for_a_stalled_one(tmp_path: Path) -> None:
    """However pieces of lines fall, a client that goes on sending whole lines is served."""
    line = wire.encode(wire.call("rpc.discover", {}, 1))
    with serving(tmp_path, registry.load(), stall_seconds=1.5) as path, Client(path) as client:
        client.send(line[:10])
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            client.send(line[10:] + line[:10])
            assert "result" in client.receive()


def test_a_slow_but_steady_reader_is_served(tmp_path: Path) -> None:
    """A client that takes its answers slowly gets them all."""
    line = wire.encode(wire.call("rpc.discover", {}, 1))
    with serving(tmp_path, registry.load(), stall_seconds=1.5) as path, Client(path) as client:
        client.send(line * 60)
        for _ in range(60):
            pause = threading.Event()
            pause.wait(0.05)
            assert "result" in client.receive()


# -- many clients --------------------------------------------------------------------------------------------


def test_more_clients_than_may_be(tmp_path: Path) -> None:
    """A connection beyond the limit is told so and closed; when others leave there is room again."""
    with serving(tmp_path, registry.load(), clients=10) as path:
        connected = [Client(path) for _ in range(30)]
        welcome = [client for client in connected if is_served(client)]
        assert len(welcome) == 10
        for client in connected:
            client.close()

        def has_room() -> bool:
            with Client(path) as client:
                return is_served(client)

        eventually(has_room, 30, "there is room again")


def is_served(client: Client) -> bool:
    try:
        client.begin("rpc.discover")
        answer = client.receive()
    except (ConnectionError, EOFError):
        return False
    if "error" in answer:
        assert answer["error"]["code"] == -32008
        assert client.has_ended()
        return False
    return True


def test_a_thousand_clients_at_once(daemon: Daemon) -> None:
    """A thousand clients connect at once, each makes 20 calls, none fails, and no file stays open."""
    before = daemon.open_files()
    failures: list[BaseException] = []

    def converse(clients: list[Client]) -> None:
        try:
            for number in range(20):
                for client in clients:
                    client.begin("daemon.ping")
                for client in clients:
                    answer = client.receive()
                    assert answer["result"]["pid"] == daemon.pid
                    assert answer["id"] == number + 1
        except BaseException as error:  # noqa: BLE001 (told below)
            failures.append(error)

    clients = [daemon.client() for _ in range(1000)]
    try:
        threads = [threading.Thread(target=converse, args=(clients[start::10],)) for start in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        for client in clients:
            client.close()
    assert failures == []
    wait_for_files(daemon, before)


# -- order ---------------------------------------------------------------------------------------------------


def test_answers_come_when_they_are_ready(daemon: Daemon, asleep: str) -> None:
    """On one connection a call that waits does not hold up the next ones."""
    with daemon.client() as client:
        wait = client.begin("run.wait", run_id=asleep)
        pings = [client.begin("daemon.ping") for _ in range(3)]
        assert [client.receive()["id"] for _ in pings] == pings
        cancel = client.begin("run.cancel", run_id=asleep)
        answers = {answer["id"]: answer for answer in (client.receive(), client.receive())}
        assert answers[wait]["result"]["state"] == "cancelled"
        assert "result" in answers[cancel]
