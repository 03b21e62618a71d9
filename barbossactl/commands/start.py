"""``start``: start a workflow and stay with the run to its end."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from barbossactl import output
from barbossactl.client import Client
from barbossactl.commands._common import connect, example, json_option, params_option, workflow_argument
from barbossactl.exits import RUN_EXITS, CommandError, DaemonError, Exit
from barbossactl.follow import Follower, RunView, Wanted
from barbossactl.interrupts import Interrupts
from barbossactl.plain import PlainView, QuietView


@click.command(
    epilog=example(
        'barbossactl start nightly-backup -p keep_days=3 -p \'hosts:=["a", "b"]\'',
        "id=$(barbossactl start nightly-backup --detach)",
    )
)
@workflow_argument()
@params_option
@click.option("--params-file", metavar="FILE", help="Parameters as a JSON object; - reads stdin. -p goes over them.")
@click.option("--detach", is_flag=True, help="Print the id of the run and leave.")
@click.option("--wait", is_flag=True, help="Wait quietly; say only how a run that did not succeed has ended.")
@click.option("--plan", "plan_hash", metavar="HASH", help="Refuse if the plan is another one now (barbossactl plan).")
@click.option(
    "--idempotency-key", metavar="KEY", help="Start nothing if a run with this key exists; take that one instead."
)
@json_option
@click.pass_context
def start(
    context: click.Context,
    *,
    name: str,
    pairs: tuple[str, ...],
    params_file: str | None,
    detach: bool,
    wait: bool,
    plan_hash: str | None,
    idempotency_key: str | None,
    as_json: bool,
) -> int:
    """Start a workflow and follow the run.

    States and output are shown as they come: live on a terminal; in a pipe as lines, the output on stdout
    and the states on stderr.

    The exit code tells how the run ended: 0 succeeded, 1 failed, 2 wrong usage or parameters, 3 no daemon,
    4 refused, 5 cancelled, 6 timed out, 130 left with Ctrl-C. Ctrl-C asks whether to cancel the run.
    A secret does not belong on a command line, which others can see: use --params-file.
    With --json the run is printed as JSON, with --detach as it started, else as it ended.
    """
    from barbossactl import params

    if detach and wait:
        raise CommandError("--detach and --wait exclude each other", exit_code=Exit.USAGE)
    asked: dict[str, Any] = {
        "workflow": name,
        "params": params.gather(pairs, params_file),
        # with a key the call can be made again after a restart of the daemon, without a second run
        "idempotency_key": idempotency_key or os.urandom(16).hex(),
    }
    if plan_hash is not None:
        asked["plan"] = plan_hash
    with connect(context) as client:
        answer: dict[str, Any] = client.call_patiently(
            "run.start", asked, on_loss=lambda: output.talk("the daemon has gone; waiting for it to come back")
        )
        if not detach:
            return _stay(client, answer["id"], is_quiet=wait or as_json, as_json=as_json)
    if as_json:
        output.as_json(answer)
    else:
        output.line(output.plain(answer["id"]))
    return Exit.SUCCEEDED


def _stay(client: Client, run_id: str, *, is_quiet: bool, as_json: bool) -> int:
    """Follow the run to its end and say how it ended. Return the exit code."""
    from barbossactl import ending, report

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
            run = follower.follow()
    except KeyboardInterrupt:
        view.suspend()
        output.talk(f"\nrun {run_id} goes on; look at it: barbossactl run get {run_id}, barbossactl logs {run_id} -f")
        return Exit.INTERRUPTED
    except BaseException:
        view.suspend()  # an error is told on a clean line, with the cursor back
        raise
    view.finish(run)
    if as_json:
        output.as_json(client.call("run.get", {"run_id": run_id}))
    elif is_quiet and run.state != "succeeded":
        ending.tell(client, client.call("run.get", {"run_id": run_id}))
    elif run.state != "succeeded":
        for line in report.explain(run, follower.tails):
            output.talk(line)
    return RUN_EXITS[run.state]


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
        try:
            with self._interrupts.as_usual():
                is_wanted = click.confirm(
                    f"\nCancel run {self._run_id}? (Ctrl-C again leaves it running)", default=False, err=True
                )
        except click.Abort:
            raise KeyboardInterrupt from None
        if is_wanted:
            self._is_cancelling = True
            self._cancel()
        self._view.resume()

    def _cancel(self) -> None:
        try:
            self._client.call("run.cancel", {"run_id": self._run_id, "reason": "at the keyboard"})
        except DaemonError as error:
            if error.kind != "conflict":  # it has ended while the question stood
                raise
