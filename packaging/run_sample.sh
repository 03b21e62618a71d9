#!/bin/sh
# `make run` and `make stop`: a daemon of the user's own, and a sample workflow run on it before their eyes.
#
# Everything it writes lies in the state folder of that daemon, the sample's results in a folder of their own there.
set -eu

cd -- "$(dirname -- "$0")/.."
repository=$(pwd)
bin=$repository/.venv/bin
state=${XDG_STATE_HOME:-$HOME/.local/state}/barbossa
log=$state/barbossad.log
results=$state/samples/host-report
BARBOSSA_SOCKET=$("$bin/python" -c 'from barbossad import wire; print(wire.user_socket_path())')
export BARBOSSA_SOCKET

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
is_up() { "$bin/barbossactl" daemon ping >/dev/null 2>&1; }
# Whoever holds the lock of the state folder is the daemon, also when nobody can reach its socket any more.
is_owned() { [ -e "$state/barbossad.lock" ] && ! flock --nonblock "$state/barbossad.lock" true; }
process_id() { cat "$state/barbossad.lock"; }
# The lock is written when its daemon starts; what Python reads later is mostly what was there then.
is_outdated() { [ -n "$(find barbossad -newer "$state/barbossad.lock" \( -name '*.py' -o -name barbossa-reaper \) -print -quit)" ]; }

# In a session of its own, so that it outlives this terminal and is not hit by a Ctrl-C meant for the sample.
start_daemon() {
    mkdir -p "$state"
    chmod 0700 "$state"
    setsid "$bin/barbossad" --user >>"$log" 2>&1 </dev/null &
    daemon=$!
    tries=0
    until is_up; do
        tries=$((tries + 1))
        if [ "$tries" -gt 150 ] || ! kill -0 "$daemon" 2>/dev/null; then
            tail -n 20 "$log" >&2
            die "barbossad did not start; its log is $log"
        fi
        sleep 0.1
    done
    say "Started a daemon of your own (pid $(process_id)); its log is $log"
}

start_sample() {
    if is_up; then
        say "Your daemon is running already (pid $(process_id))."
        if is_outdated; then
            say 'It was started before its code last changed: `make stop`, then `make run`, goes over to the new one.'
        fi
    elif is_owned; then
        die "Your daemon (pid $(process_id)) runs and cannot be reached at $BARBOSSA_SOCKET: was that folder removed? \`make stop\` ends it."
    else
        start_daemon
    fi
    "$bin/barbossactl" apply workflow_templates/host-report.yaml
    "$bin/barbossactl" start host-report -p "folder=$results" -p "source=$repository/docs"
    cat <<END

The results are in $results: report.md, report.json, archive.tar.gz.
The daemon goes on running. What to try next:

  export PATH="$bin:\$PATH" BARBOSSA_SOCKET="$BARBOSSA_SOCKET"
  barbossactl ps                        the runs so far
  barbossactl logs last verify          what a task of the last one printed
  barbossactl workflow get host-report  the workflow; its file is workflow_templates/host-report.yaml
  barbossactl --help                    everything else

  make stop                             stop the daemon
  make run                              run the sample again
END
}

stop_daemon() {
    if ! is_owned; then
        say 'No daemon of yours is running.'
        return
    fi
    daemon=$(process_id)
    kill "$daemon"
    while kill -0 "$daemon" 2>/dev/null; do
        sleep 0.1
    done
    say "Stopped your daemon (pid $daemon)."
}

case ${1:-} in
    start) start_sample ;;
    stop) stop_daemon ;;
    *) die 'usage: run_sample.sh start|stop' ;;
esac
