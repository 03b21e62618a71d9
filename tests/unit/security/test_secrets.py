"""Where secrets are looked for, which are refused, and that no sentence tells one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barbossad.model.names import SecretName
from barbossad.security.secrets import MissingSecretError, SecretSource, UnusableSecretError

NAME = SecretName("shop-db")
VALUE = "correct horse"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir(mode=0o700)
    return made


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = folder / NAME
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (VALUE, VALUE),
        (f"{VALUE}\n", VALUE),
        (f"{VALUE}\n\n", f"{VALUE}\n"),
        (f" {VALUE} ", f" {VALUE} "),
        ("first line\nsecond line\n", "first line\nsecond line"),
        ("hunter", "hunter"),
        ("ü§é€ß☠", "ü§é€ß☠"),
    ],
)
def test_file(folder: Path, text: str, value: str) -> None:
    """A secret is what stands in its file, without one newline at the end."""
    write(folder, text)
    assert SecretSource(folder, None).get(NAME) == value


def test_value_is_read_anew(folder: Path) -> None:
    """A secret that was changed is the new one for who asks next."""
    source = SecretSource(folder, None)
    write(folder, "first value")
    assert source.get(NAME) == "first value"
    write(folder, "second value")
    assert source.get(NAME) == "second value"


def test_credentials_come_first(folder: Path, tmp_path: Path) -> None:
    """What systemd gave the daemon wins over a file; what it did not give is looked for there."""
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    source = SecretSource(folder, credentials)
    write(folder, "from the file")
    assert source.get(NAME) == "from the file"
    write(credentials, "from systemd", 0o440)
    assert source.get(NAME) == "from systemd"


def test_missing(folder: Path, tmp_path: Path) -> None:
    """The sentence tells the name, every place, and how to make it."""
    with pytest.raises(MissingSecretError) as caught:
        SecretSource(folder, tmp_path / "credentials").get(NAME)
    assert str(caught.value) == (
        f"there is no secret 'shop-db'; it was looked for as {tmp_path}/credentials/shop-db and as {folder}/shop-db. "
        f"Put its value into {folder}/shop-db, for its owner alone (mode 0600)"
    )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o610])
def test_file_that_others_may_use(folder: Path, mode: int) -> None:
    """A file that anybody but its owner may read or write is refused, with the remedy."""
    file = write(folder, VALUE, mode)
    with pytest.raises(UnusableSecretError) as caught:
        SecretSource(folder, None).get(NAME)
    assert f"in {file} cannot be used: it may be" in str(caught.value)
    assert "chmod" in str(caught.value)
    assert VALUE not in str(caught.value)


def test_folder_that_others_may_write(folder: Path) -> None:
    """A file that somebody else could replace is refused."""
    write(folder, VALUE)
    folder.chmod(0o777)
    with pytest.raises(UnusableSecretError, match=r"its folder .* may be written by others"):
        SecretSource(folder, None).get(NAME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_file_of_somebody_else(folder: Path) -> None:
    """A file of another user is refused."""
    os.chown(write(folder, VALUE), 65534, -1)
    with pytest.raises(UnusableSecretError, match="belongs to user 65534"):
        SecretSource(folder, None).get(NAME)


@pytest.mark.parametrize("text", ["", "\n", "short", "short\n", "      \n", "  short  ", "ab\n\n\n\ncd\n"])
def test_too_short(folder: Path, text: str) -> None:
    """What could not be masked is refused."""
    write(folder, text)
    with pytest.raises(UnusableSecretError, match="fewer than 6 characters"):
        SecretSource(folder, None).get(NAME)


def test_no_text(folder: Path) -> None:
    """Bytes that are no text are refused, untold."""
    write(folder, b"secret\xff\xfe")
    with pytest.raises(UnusableSecretError, match="not UTF-8") as caught:
        SecretSource(folder, None).get(NAME)
    assert "secret\\" not in str(caught.value)


def test_no_file(folder: Path) -> None:
    """A folder in place of the file is refused."""
    (folder / NAME).mkdir()
    with pytest.raises(UnusableSecretError, match="cannot be used: it is not a regular file"):
        SecretSource(folder, None).get(NAME)
