#!/bin/sh
# Install Barbossa on this host, upgrade it, or take it off again (docs/systemd.md). Run as root by `make install`
# and `make uninstall`.
#
# Each install builds a release of its own beside the one in use, puts the other new files beside the old ones, and then
# renames them all: one that fails or is interrupted before that leaves everything as it was and takes away what it has
# made. A daemon that is running keeps its files until it is restarted.
set -eu
umask 022

source_dir=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
prefix=/opt/barbossa
units='barbossad.socket barbossad.service'
release='' staged=''

say() { printf '%s\n' "$*" 2>/dev/null || true; }  # nobody may be listening any more
complain() { printf '%s\n' "$*" >&2 || true; }
die() { complain "$*"; exit 1; }
systemd_runs() { [ -d /run/systemd/system ]; }

# The interpreter of a service must be one that every user can read and that stays: the system's own comes first,
# and one from somebody's home folder (pyenv, conda) last.
find_python() {
    for candidate in ${PYTHON:-/usr/bin/python3 python3}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die 'Python 3.11 or newer with its venv module is needed (on Debian: apt-get install python3-venv).'
}

# One at a time: what is half-built is in nobody's use, and would be taken away.
take_turn() {
    umask 077  # nobody else may hold it
    exec 9>/run/barbossa-install.lock
    umask 022
    if ! flock --nonblock 9; then
        say 'Another installation is under way; this one waits for it.'
        flock 9
    fi
}

# The build works in its folder and would pack what an older build left there: it gets a clean copy. All that it needs
# meanwhile lies in the release, so that one that is killed leaves nothing but that, for the next one to take away.
build_release() {
    work=$release/build
    install -d -m 0700 "$work" "$work/source" "$work/tmp"
    for part in pyproject.toml setup.cfg setup.py README.md LICENSE barbossad barbossactl workflow_templates packaging; do
        cp -R "$source_dir/$part" "$work/source/"
    done
    if "$python" -m venv "$release" && TMPDIR=$work/tmp "$release/bin/python" -m pip install \
        --quiet --disable-pip-version-check --use-pep517 "$work/source" >"$work/log" 2>&1 \
        && "$release/bin/barbossad" --version >>"$work/log" 2>&1; then
        rm -rf "$work"
        return
    fi
    cat "$work/log" >&2
    return 1
}

# Put a file beside its place, from where it will be renamed.
stage() {
    staged="$staged $2"
    install -m 0644 "$1" "$2.new"
}

stage_units() {
    install -d -m 0755 /etc/systemd/system /etc/sysusers.d /etc/tmpfiles.d
    for unit in $units; do
        stage "$source_dir/packaging/systemd/$unit" "/etc/systemd/system/$unit"
    done
    stage "$source_dir/packaging/systemd/sysusers.conf" /etc/sysusers.d/barbossa.conf
    stage "$source_dir/packaging/systemd/tmpfiles.conf" /etc/tmpfiles.d/barbossa.conf
    systemd-sysusers "$source_dir/packaging/systemd/sysusers.conf"
    systemd-tmpfiles --create "$source_dir/packaging/systemd/tmpfiles.conf"
}

stage_config() {
    config=/etc/barbossa/barbossad.yaml
    install -d -m 0755 /etc/barbossa /etc/barbossa/workflows /etc/barbossa/templates
    install -d -m 0700 /etc/barbossa/secrets
    if [ -e "$config" ] || [ -L "$config" ]; then
        stage "$source_dir/packaging/barbossad.yaml" "$config.example"
        say "kept      $config (the current defaults are in barbossad.yaml.example beside it)"
        [ -e "$config" ] || complain "$config is a link that leads nowhere: with it the daemon will not start."
    else
        stage "$source_dir/packaging/barbossad.yaml" "$config"
    fi
}

put_in_force() {
    for file in $staged; do
        mv -T "$file.new" "$file"
    done
    ln -sfn "$release" "$prefix/current.new"
    mv -T "$prefix/current.new" "$prefix/current"
    for program in barbossad barbossactl; do
        ln -sfn "$prefix/current/bin/$program" "/usr/local/bin/$program"
    done
}

# What an installation that ends before it is in force has made so far.
take_away() {
    status=$?
    trap '' HUP INT TERM
    for file in $staged; do
        rm -f "$file.new"
    done
    [ -z "$release" ] || rm -rf "$release"
    complain 'The installation failed or was interrupted; whatever was installed before is untouched.'
    exit "$status"
}

# From which releases processes run: a daemon that was not restarted, and its tasks, need theirs. A process is known by
# its arguments and by the libraries that it has loaded.
releases_in_use() {
    cat /proc/[0-9]*/cmdline /proc/[0-9]*/maps 2>/dev/null | tr '\0' '\n' \
        | grep --text --only-matching "$prefix/releases/[^/[:space:]]*" | sort -u
}

# The new one, the one before it and those in use stay.
drop_old_releases() {
    kept=$(printf '%s\n' "$release" "$1"; releases_in_use)
    for old in "$prefix"/releases/*; do
        if ! printf '%s\n' "$kept" | grep --quiet --line-regexp --fixed-strings "$old"; then
            rm -rf "$old"
        fi
    done
}

do_install() {
    python=$(find_python)
    take_turn
    trap take_away EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    previous=$(readlink -f "$prefix/current" 2>/dev/null || true)
    install -d -m 0755 "$prefix" "$prefix/releases" /usr/local/bin
    release=$(mktemp -d "$prefix/releases/$(date +%Y%m%dT%H%M%S)-XXXX")
    chmod 0755 "$release"
    say "building  $release"
    build_release
    stage_config
    stage_units
    trap '' HUP INT TERM
    put_in_force
    trap - EXIT HUP INT TERM
    drop_old_releases "$previous"
    say "installed $("$prefix/current/bin/barbossad" --version)"
    if ! systemd_runs; then
        say 'systemd does not run here: nothing was started.'
        return
    fi
    systemctl daemon-reload || die 'It is installed, but systemd has not read the new units: systemctl daemon-reload'
    if systemctl --quiet is-active barbossad.service; then
        say 'The daemon still runs the release before this one. Go over to the new one: systemctl restart barbossad'
    else
        say 'Start it, now and at every boot: systemctl enable --now barbossad'
    fi
    say 'Let somebody run workflows:      usermod -a -G barbossa NAME'
}

# Tasks that go on without the daemon. One may end between the listing and its turn, which systemctl calls a failure.
stop_tasks() {
    systemctl stop 'barbossa-*.service' barbossa.slice 2>/dev/null || true
    left=$(systemctl list-units --plain --no-legend --state=active,activating,deactivating 'barbossa-*.service')
    [ -z "$left" ] || complain "These tasks could not be stopped: $left"
}

do_uninstall() {
    take_turn
    if systemd_runs && [ -e /etc/systemd/system/barbossad.service ]; then
        # shellcheck disable=SC2086  # two names, not one
        systemctl disable --now --quiet $units
        stop_tasks
    fi
    for unit in $units; do
        rm -f "/etc/systemd/system/$unit"
    done
    rm -f /etc/sysusers.d/barbossa.conf /etc/tmpfiles.d/barbossa.conf /etc/barbossa/barbossad.yaml.example
    if systemd_runs; then
        systemctl daemon-reload
        # shellcheck disable=SC2086
        systemctl reset-failed $units 'barbossa-*.service' 2>/dev/null || true
    fi
    for program in barbossad barbossactl; do
        case $(readlink "/usr/local/bin/$program" || true) in
            "$prefix"/*) rm -f "/usr/local/bin/$program" ;;
        esac
    done
    rm -rf "$prefix" /run/barbossa /run/barbossa-tasks
    say 'Barbossa is off this host. Left as they are, because they are yours:'
    say '  /var/lib/barbossa   runs, logs and workflows'
    say '  /etc/barbossa       configuration'
    say '  the group barbossa  (groupdel barbossa)'
}

trap '' PIPE  # an installation goes on where nobody reads what it says
[ "$(id -u)" = 0 ] || die "This changes /opt, /etc and systemd: run it as root (sudo make ${1:-install})."
case ${1:-} in
    install) do_install ;;
    uninstall) do_uninstall ;;
    *) die 'usage: install.sh install|uninstall' ;;
esac
