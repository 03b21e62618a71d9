"""Names that no param may have, because as an environment variable each steers programs rather than feeds them.

Whoever may run a workflow but not define it chooses the values of its params. Under one of these names such a
value would choose which programs run, what code they load, where they write or whom they trust. The authors of
workflows may still set them in ``env``, where the value is theirs. This is the one published list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "is set by Barbossa": ("BARBOSSA_*",),
    "chooses which programs run": ("PATH", "CDPATH", "SHELL", "EDITOR", "VISUAL", "PAGER", "BROWSER", "*_PAGER"),
    "steers the shell": (
        *("ENV", "IFS", "BASH_*", "BASHOPTS", "SHELLOPTS", "FPATH", "ZDOTDIR", "PS0", "PS1", "PS2", "PS4"),
        *("PROMPT_COMMAND", "POSIXLY_CORRECT", "GLOBIGNORE", "EXECIGNORE", "FUNCNEST", "OPTIND", "UID", "EUID"),
        *("PPID", "PWD", "OLDPWD", "SHLVL", "_"),
    ),
    "makes every program load other code": (
        *("LD_*", "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "MALLOC_*", "LOCPATH", "NLSPATH", "NIS_PATH"),
        *("HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_*", "TZDIR"),
    ),
    "makes an interpreter load other code": (
        *("PYTHON*", "PERL*", "RUBY*", "GEM_*", "BUNDLE_*", "NODE_*", "NPM_*", "PHP*", "LUA_*", "AWKPATH"),
        *("AWKLIBPATH", "JAVA_*", "JDK_*", "_JAVA_*", "CLASSPATH", "CORECLR_*", "DOTNET_*", "GO*", "CARGO_*"),
        *("RUSTC_*", "R_*"),
    ),
    "steers git": ("GIT_*",),
    "steers who the task is": ("HOME", "USER", "LOGNAME", "MAIL", "XDG_*", "TMPDIR", "TMP", "TEMP", "SUDO_*"),
    "steers how text is read": ("LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "TERMINFO*", "TERMCAP"),
    "chooses options or helpers of a common program": (
        *("SSH_*", "RSYNC_*", "TAR_*", "TAPE", "GZIP", "BZIP*", "XZ_*", "ZSTD_*", "LESS*", "MAN*", "GREP_*"),
        *("CURL_*", "WGETRC", "SYSTEM_WGETRC", "NETRC", "DOCKER_*", "KUBECONFIG", "ANSIBLE_*", "MAKEFLAGS"),
        *("MFLAGS", "MAKEFILES", "PSQLRC", "PGSERVICEFILE", "PGSYSCONFDIR", "MYSQL_HOME", "GNUPGHOME"),
        *("OPENSSL_*", "SSL_*", "REQUESTS_CA_BUNDLE", "KRB5*", "http_proxy", "https_proxy", "ftp_proxy"),
        *("all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    ),
    "belongs to systemd": (
        *("SYSTEMD_*", "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*", "CREDENTIALS_DIRECTORY", "INVOCATION_ID"),
        *("JOURNAL_STREAM", "MAINPID", "MANAGERPID", "MEMORY_PRESSURE_*", "DBUS_*", "STATE_DIRECTORY"),
        *("RUNTIME_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY"),
    ),
}
"""From the reason to the names; ``*`` stands for any text."""

_PATTERNS: Final = tuple(
    (reason, re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names)))
    for reason, names in RESERVED.items()
)


def reason_reserved(name: str) -> str | None:
    """Return why no param may have this name, or None if it may."""
    return next((reason for reason, pattern in _PATTERNS if pattern.fullmatch(name)), None)
