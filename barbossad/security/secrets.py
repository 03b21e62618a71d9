"""Where the values of secrets come from: the daemon's systemd credentials, and files that only their owner may read.

A value is read anew for each attempt, goes to that attempt's environment and nowhere else, and is in no sentence here.
"""

from __future__ import annotations

from pathlib import Path

from barbossad.errors import BarbossaError
from barbossad.model.names import SecretName
from barbossad.security.forms import LEAST_CHARACTERS
from barbossad.trusted import UntrustedFileError, read_trusted


class MissingSecretError(BarbossaError):
    """A secret is in none of the places where it could be."""

    kind = "not_found"

    def __init__(self, name: SecretName, places: list[Path]) -> None:
        looked = " and ".join(f"as {place}" for place in places)
        super().__init__(
            f"there is no secret {name!r}; it was looked for {looked}. "
            f"Put its value into {places[-1]}, for its owner alone (mode 0600)"
        )
        self.name = name


class UnusableSecretError(BarbossaError):
    """A secret is there and cannot be used; the sentence says why, never what it is."""

    def __init__(self, name: SecretName, place: Path, reason: str, hint: str = "") -> None:
        super().__init__(f"the secret {name!r} in {place} cannot be used: {reason}" + (f" ({hint})" if hint else ""))
        self.name = name


class SecretSource:
    """Reads secrets by their names.

    ``folder`` has a file for each. ``credentials`` is where systemd put those of the daemon's unit, if it did
    (``$CREDENTIALS_DIRECTORY`` when it was started); one that is there wins.
    """

    def __init__(self, folder: Path, credentials: Path | None) -> None:
        self._folder = folder
        self._credentials = credentials

    def get(self, name: SecretName) -> str:
        """Return the value of a secret, without the newline at its end; blocks while a small file is read.

        Raise MissingSecretError, or UnusableSecretError if others may read or write it, it is too short to be masked,
        or it is no text.
        """
        places = [folder / name for folder in (self._credentials, self._folder) if folder is not None]
        for place in places:
            try:
                # systemd lets nobody else into the folder of credentials, whatever the modes in it.
                value = read_trusted(place, is_private=place.parent != self._credentials)
            except FileNotFoundError:
                continue
            except UntrustedFileError as error:
                raise UnusableSecretError(name, place, str(error), error.hint) from error
            return _usable(name, place, value.removesuffix("\n"))
        raise MissingSecretError(name, places)


def _usable(name: SecretName, place: Path, value: str) -> str:
    if len("".join(value.split("\n")).strip()) < LEAST_CHARACTERS:
        reason = f"it has fewer than {LEAST_CHARACTERS} characters, too few to be told from other output and masked"
        raise UnusableSecretError(name, place, reason, "choose a longer one")
    return value
