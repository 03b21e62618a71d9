#!/bin/sh
# Install Barbossa on this host, upgrade it, or take it off again (docs/systemd.md). Run as root by `make install`
# and `make uninstall`.
#
# Each install builds a release of its own beside the one in use and becomes it by swapping one link, at the very end:
# one that fails half-way leaves the old one in force, and a daemon that is running keeps its files until it is restarted.
set -eu
umask 022

source_dir=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
prefix=/opt/barbossa
units='barbossad.socket barbossad.service'

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
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

# The build works in its folder and would pack what an older build left there: it gets a clean copy.
build_release() {
    release=$1 copy=$(mktemp -d) log=$(mktemp)
    for part in pyproject.toml setup.cfg setup.py README.md LICENSE barbossad barbossactl workflow_templates packaging; do
        cp -R "$source_dir/$part" "$copy/"
    done
    if "$python" -m venv "$release" \
        && "$release/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 "$copy" >"$log" 2>&1 \
        && "$release/bin/barbossad" --version >>"$log" 2>&1; then
        rm -rf "$copy" "$log"
        return
    fi
    cat "$log" >&2
    rm -rf "$copy" "$log" "$release"
    die 'The installation failed (see above); whatever was installed before is untouched.'
}

install_units() {
    install -d -m 0755 /etc/systemd/system /etc/sysusers.d /etc/tmpfiles.d
    for unit in $units; do
        install -m 0644 "$source_dir/packaging/systemd/$unit" "/etc/systemd/system/$unit"
    done
    install -m 0644 "$source_dir/packaging/systemd/sysusers.conf" /etc/sysusers.d/barbossa.conf
    install -m 0644 "$source_dir/packaging/systemd/tmpfiles.conf" /etc/tmpfiles.d/barbossa.conf
    systemd-sysusers barbossa.conf
    systemd-tmpfiles --create barbossa.conf
}

install_config() {
    install -d -m 0755 /etc/barbossa /etc/barbossa/workflows /etc/barbossa/templates
    install -d -m 0700 /etc/barbossa/secrets
    if [ -e /etc/barbossa/barbossad.yaml ]; then
        install -m 0644 "$source_dir/packaging/barbossad.yaml" /etc/barbossa/barbossad.yaml.example
        say 'kept      /etc/barbossa/barbossad.yaml (the current defaults are in barbossad.yaml.example beside it)'
    else
        install -m 0644 "$source_dir/packaging/barbossad.yaml" /etc/barbossa/barbossad.yaml
    fi
}

# The release in use and the one before it (a daemon that was not restarted yet runs from there) stay.
drop_old_releases() {
    for old in "$prefix"/releases/*; do
        if [ "$old" != "$1" ] && [ "$old" != "$2" ]; then
            rm -rf "$old"
        fi
    done
}

do_install() {
    python=$(find_python)
    previous=$(readlink -f "$prefix/current" 2>/dev/null || true)
    install -d -m 0755 "$prefix" "$prefix/releases" /usr/local/bin
    release=$(mktemp -d "$prefix/releases/$(date +%Y%m%dT%H%M%S)-XXXX")
    chmod 0755 "$release"
    say "building  $release"
    build_release "$release"
    install_config
    install_units
    ln -sfn "$release" "$prefix/current.new"
    mv -T "$prefix/current.new" "$prefix/current"
    for program in barbossad barbossactl; do
        ln -sfn "$prefix/current/bin/$program" "/usr/local/bin/$program"
    done
    drop_old_releases "$release" "$previous"
    say "installed $("$prefix/current/bin/barbossad" --version)"
    if ! systemd_runs; then
        say 'systemd does not run here: nothing was started.'
        return
    fi
    systemctl daemon-reload
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
    [ -z "$left" ] || say "These tasks could not be stopped: $left"
}

do_uninstall() {
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

[ "$(id -u)" = 0 ] || die "This changes /opt, /etc and systemd: run it as root (sudo make ${1:-install})."
case ${1:-} in
    install) do_install ;;
    uninstall) do_uninstall ;;
    *) die 'usage: install.sh install|uninstall' ;;
esac
