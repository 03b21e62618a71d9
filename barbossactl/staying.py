"""Stay with a run that was just started, to its end, or leave it."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from barbossactl import ending, output, report
from barbossactl.client import LOST, Client
from barbossactl.exits import RUN_EXITS, CommandError, DaemonError, Exit, StrangerError, UnreachableError
from barbossactl.follow import Follower, RunView, Wanted
from barbossactl.interrupts import Interrupts
from barbossactl.pieces import Tails
from barbossactl.plain import PlainView, QuietView
from barbossactl.records import Run

_MAY_START: Final = "the run may start all the same"
_LOOK: Final = "barbossactl ps --all shows it then"


def begin(client: Client, method: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a call that starts a run. Raise ``CommandError`` on Ctrl-C, since the run may start yet.

    With an idempotency key it is made again after a restart of the daemon, without a second run.
    """
    try:
        if "idempotency_key" not in asked:
            answer: dict[str, Any] = client.call(method, asked)
            return answer
        return client.call_patiently(  # type: ignore[no-any-return]
            method, asked, on_loss=lambda: output.talk(LOST)
        )
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            output.talk("")  # after the ^C
        raise CommandError(
            f"left before the daemon answered: {_MAY_START}", hint=_LOOK, exit_code=Exit.INTERRUPTED
        ) from None
    except StrangerError:
        raise
    except UnreachableError as error:
        raise UnreachableError(f"{error}: {_MAY_START}", hint=_LOOK, exit_code=error.exit_code) from error


def leave(answer: dict[str, Any], *, as_json: bool) -> int:
    """Print the id of a run that was started, or all of it. Return the exit code."""
    if as_json:
        output.as_json(answer)
    else:
        output.line(output.plain(answer["id"]))
    return Exit.SUCCEEDED


def stay(client: Client, run_id: str, *, is_quiet: bool, as_json: bool) -> int:
    """Follow the run to its end and say how it ended. Return the exit code, which is the run's once its end is known.

    Raise ``UnreachableError`` with the id of the run where the daemon is lost before.
    """
    view: RunView = QuietView() if is_quiet else _view()
    try:
        with Interrupts() as interrupts:
            keyboard = _Keyboard(client, run_id, view, interrupts)
            follower = Follower(
                client,
                run_id,
                view,
                wanted=Wanted(output=not is_quiet),
                interrupts=interrupts,
                on_interrupt=keyboard.ask,
            )
            run = _end_of(follower, view, run_id)
    except KeyboardInterrupt:
        view.suspend()
        output.talk(f"\nrun {run_id} goes on; look at it: barbossactl run get {run_id}, barbossactl logs {run_id} -f")
        return Exit.INTERRUPTED
    except BaseException:
        view.suspend()  # an error is told on a clean line, with the cursor back
        raise
    view.finish(run)
    if as_json:
        _print(client, run)
    elif run.state != "succeeded":
        _explain(client, run, None if is_quiet else follower.tails)
    return RUN_EXITS[run.state]


def _end_of(follower: Follower, view: RunView, run_id: str) -> Run:
    """Return the run as it ended, also where the daemon is lost after that, with some of the output perhaps."""
    try:
        return follower.follow()
    except UnreachableError as error:
        if follower.run is not None and follower.run.is_ended:
            view.note(f"not all of the output of run {run_id} could be read: {error}")
            return follower.run
        raise ending.out_of_sight(run_id, error) from error


def _print(client: Client, run: Run) -> None:
    """Print a run that has ended as JSON, or say that it cannot be read any more."""
    try:
        output.as_json(client.call_patiently("run.get", {"run_id": run.id}, on_loss=lambda: output.talk(LOST)))
    except CommandError as error:
        output.error(
            f"run {run.id} {report.ended(run.state)}, and cannot be read: {error}",
            f"barbossactl run get {run.id} --json does, once the daemon runs again",
        )


def _explain(client: Client, run: Run, tails: Tails | None) -> None:
    if tails is None:
        ending.tell(client, run)
        return
    for line in report.explain(run, tails):
        output.talk(line)


def _view() -> RunView:
    if not output.is_terminal() or os.environ.get("TERM") == "dumb":
        return PlainView()
    from barbossactl.live import LiveView

    return LiveView()


class _Keyboard:
    """What Ctrl-C means: first a question, and once that is answered or cannot be asked, leaving."""

    def __init__(self, client: Client, run_id: str, view: RunView, interrupts: Interrupts) -> None:
        self._client = client
        self._run_id = run_id
        self._view = view
        self._interrupts = interrupts
        self._is_cancelling = False

    def ask(self) -> None:
        """Ask whether to cancel the run, and do so on yes. Raise ``KeyboardInterrupt`` to leave it running."""
        if self._is_cancelling or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise KeyboardInterrupt
        self._view.suspend()
        if self._is_wanted():
            self._is_cancelling = True
            self._cancel()
        self._view.resume()

    def _is_wanted(self) -> bool:
        click.echo(err=True)
        while True:
            click.echo(f"Cancel run {self._run_id}? (Ctrl-C again leaves it running) [y/N]: ", nl=False, err=True)
            line = self._interrupts.read_line()
            if not line:  # Ctrl-D
                raise KeyboardInterrupt
            answer = line.strip().lower()
            if answer in {"y", "yes"}:
                return True
            if answer in {"", "n", "no"}:
                return False
            click.echo("Error: y or n", err=True)

    def _cancel(self) -> None:
        try:
            self._client.call("run.cancel", {"run_id": self._run_id, "reason": "at the keyboard"})
        except DaemonError as error:
            if error.kind != "conflict":  # it has ended while the question stood
                raise
