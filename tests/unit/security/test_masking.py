"""No form of a secret passes, however the output is cut up, and nothing else is touched or kept back."""

from __future__ import annotations

import base64
import json
import random
import shlex
import shutil
import subprocess
from urllib.parse import quote, quote_plus

import pytest

from barbossad.security.forms import MANY_LINES, forms_of
from barbossad.security.masking import LEAST_BEGINNING, STARS, Masking, make_mask_of

SECRET = "p4ss w'rd/\"$x%&+~é§ü:<tag>"
CREDENTIALS = """\
{
  "type": "service_account",
  "password": "hunter2's  super-secret-XYZ"
}
"""
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nAoIBAQC7VJTUt9Us8cKB\nxyz\n-----END KEY-----\n"


def in_pieces(masking: Masking, pieces: list[bytes]) -> bytes:
    mask = masking.mask()
    return b"".join([*(mask.feed(piece) for piece in pieces), mask.feed(b"", is_last=True)])


def reference(data: bytes, forms: frozenset[bytes]) -> bytes:
    """Mask the slow way: mark every byte of every form, wherever it stands, and what may be the beginning of one."""
    marked = bytearray(len(data))
    starts = set()
    beginnings = {form[:size] for form in forms for size in range(1, len(form))}
    tail = next((start for start in range(len(data)) if data[start:] in beginnings), len(data))
    beginning = data[tail:].rstrip(b"\r\n")
    for start in range(len(data)):
        is_end = start == tail and len(beginning) >= LEAST_BEGINNING
        for form in (*forms, beginning) if is_end else forms:
            if data.startswith(form, start):
                if not marked[start]:
                    starts.add(start)
                marked[start : start + len(form)] = b"\1" * len(form)
    given = bytearray()
    for position, byte in enumerate(data):
        if position in starts:
            given += STARS
        if not marked[position]:
            given.append(byte)
    return bytes(given)


def written(secret: str) -> dict[str, bytes]:
    raw = secret.encode()
    return {
        "raw": raw,
        "base64": base64.b64encode(raw),
        "base64 without padding": base64.b64encode(raw).rstrip(b"="),
        "base64 of a line": base64.b64encode(raw + b"\n"),
        "url-safe base64": base64.urlsafe_b64encode(raw),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "url": quote(raw, safe="").encode(),
        "url path": quote(raw).encode(),
        "url small": quote(raw, safe="").lower().encode() if secret.islower() else quote(raw, safe="").encode(),
        "form": quote_plus(raw).encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "json as UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        "json of PHP": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        "json for HTML": "".join(f"\\u{ord(c):04x}" if c in "<>&'" else c for c in json.dumps(secret)[1:-1]).encode(),
        "shell": shlex.quote(secret)[1:-1].encode() if shlex.quote(secret) != secret else raw,
        "shell of bash": secret.replace("'", "'\\''").encode(),
        "double quotes": "".join("\\" + c if c in '"$`\\' else c for c in secret).encode(),
        "python": repr(secret)[1:-1].encode(),
        "python in ASCII": ascii(secret)[1:-1].encode(),
        "python beside other quotes": repr(f"'\"{secret}")[4:-1].encode(),
        "base32": base64.b32encode(raw),
        "base32 without padding": base64.b32encode(raw).rstrip(b"="),
        "base32 of a line": base64.b32encode(raw + b"\n"),
        "hex of od": raw.hex(" ").encode(),
        "hex of openssl": raw.hex(":").upper().encode(),
    }  # fmt: skip


@pytest.mark.parametrize("secret", [SECRET, "hunter", "correct horse battery staple", "s3cr3t-t0ken_with.dots~"])
@pytest.mark.parametrize("form", list(written(SECRET)))
def test_forms(form: str, secret: str) -> None:
    """Each form is replaced by stars, whole and byte by byte, and what stands around it stays."""
    masking = Masking([secret])
    said = b"<<" + written(secret)[form] + b">>\n"
    assert masking.whole(said) == b"<<***>>\n"
    assert in_pieces(masking, [said[i : i + 1] for i in range(len(said))]) == b"<<***>>\n"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:", b"user:x"])
@pytest.mark.parametrize("after", [b"", b"\n", b"@host", b"xy"])
def test_base64_of_text_around(encode: object, before: bytes, after: bytes) -> None:
    """Within base64 of a longer text at most the characters that neighbours have part in remain."""
    raw = SECRET.encode()
    told = encode(before + raw + after)  # type: ignore[operator]
    masked = Masking([SECRET]).whole(told)
    head, stars, tail = masked.partition(STARS)
    assert stars
    assert len(head) <= (len(before) * 8 + 5) // 6
    assert len(tail) <= (len(after) * 8 + 7) // 6 + 3
    if not after:
        assert tail == b""


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"use", b"user", b"user:", b"user:x"])
@pytest.mark.parametrize("after", [b"", b"\n", b"@host", b"xy"])
def test_base32_of_text_around(before: bytes, after: bytes) -> None:
    """Within base32 of a longer text at most the characters that neighbours have part in remain, however it is cut."""
    told = base64.b32encode(before + SECRET.encode() + after)
    masked = Masking([SECRET]).whole(told)
    head, stars, tail = masked.partition(STARS)
    assert stars
    assert len(head) <= (len(before) * 8 + 4) // 5
    assert len(tail) <= (len(after) * 8 + 4) // 5 + 7
    if not after:
        assert tail == b""
    assert STARS in Masking([SECRET]).whole(in_lines(told, 20))


def in_lines(data: bytes, width: int, end: bytes = b"\n", indent: bytes = b"") -> bytes:
    return b"".join(indent + data[start : start + width] + end for start in range(0, len(data), width))


def test_base64_in_lines() -> None:
    """A long secret in base64 is masked too where base64(1) breaks the line, and in hex where xxd(1) does."""
    secret = "".join(random.Random(4).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200))
    masking = Masking([secret])
    digits = secret.encode().hex().encode()
    whole = base64.b64encode(secret.encode())
    for encoded, width in ((whole, 76), (whole, 64), (digits, 60)):
        assert masking.whole(in_lines(encoded, width)) == b"***\n"
        count = -(-len(encoded) // width)
        assert masking.whole(in_lines(encoded, width, indent=b"  ")) == b"  ***\n" * count


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("width", [76, 64, 60, 20])
@pytest.mark.parametrize("secret", ["g7x!Qz", "kV9-wT2.mB5_rY8", "g7x!QzkV9-wT2.mB5_rY8~hD4;" * 4])
def test_encoded_text_in_lines(width: int, end: bytes, secret: str) -> None:
    """Where a secret stands in a text says nothing of where base64 or hexadecimal of it is broken into lines."""
    masking = Masking([secret])
    raw = secret.encode()
    rng = random.Random(width)
    for before in range(width):
        text = b"\xfe" * before + raw + b"\xfe" * 40
        first, last = before * 4 // 3 + 4, (before + len(raw)) * 4 // 3 - 4
        for encoded, said in (
            (base64.b64encode(text), base64.b64encode(text)[first:last]),
            (text.hex().encode(), raw.hex().encode()[3:]),
            (text.hex(" ").encode(), raw.hex(" ").encode()[3:]),
        ):
            data = in_lines(encoded, width, end)
            masked = masking.whole(data)
            assert STARS in masked
            left = masked.replace(end, b"")
            assert not any(said[at : at + 5] in left for at in range(len(said) - 4)), (encoded, masked)
            cuts = sorted(rng.randrange(len(data)) for _ in range(4))
            pieces = [data[at:to] for at, to in zip([0, *cuts], [*cuts, len(data)], strict=True)]
            assert in_pieces(masking, pieces) == masked


def test_lines_of_a_secret() -> None:
    """Each line of a secret that has several is one, if it is long enough; so is the whole."""
    masking = Masking([KEY])
    assert masking.whole(b"key: " + KEY.encode() + b"end") == b"key: ***end"
    assert masking.whole(b"AoIBAQC7VJTUt9Us8cKB\r\nxyz\r\n") == b"***\r\nxyz\r\n"
    assert masking.whole(base64.b64encode(b"AoIBAQC7VJTUt9Us8cKB")) == STARS


def test_lines_of_a_very_long_secret() -> None:
    """Of one with very many lines each is masked as text of any kind, and the whole also where it is encoded."""
    lines = [f"{number:05d}+{number * 7919 % 100_003:06d}" for number in range(MANY_LINES + 1)]
    masking = Masking(["\n".join(lines)])
    for said in (lines[7], quote(lines[7], safe=""), " ".join(lines), "\n".join(lines)):
        assert masking.whole(f"<{said}>\n".encode()) == b"<***>\n"
    for whole in (base64.encodebytes("\n".join(lines).encode()), "\n".join(lines).encode().hex().encode()):
        assert masking.whole(whole).strip() == STARS
    assert masking.whole(base64.b64encode(lines[7].encode())) != STARS
    assert Masking(["\n".join(lines[:-1])]).whole(base64.b64encode(lines[7].encode())) == STARS


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("echo $T", "***\n"),
        ("echo $(echo \"$T\" | grep pass)", "***\n"),
        ("printf '%q\\n' \"$T\"", "$'***'\n"),
        ("declare -p T", "declare -x T=$'***'\n"),
        ("set -x; : \"$T\"", "+ : '***'\n"),
    ],
)  # fmt: skip
def test_what_a_shell_makes_of_a_secret(command: str, left: str) -> None:
    """Words that a shell joins, and what bash quotes: nothing of a secret of several lines remains."""
    bash = shutil.which("bash")
    assert bash is not None
    said = subprocess.run(
        [bash, "-c", command], env={"T": CREDENTIALS}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    ).stdout
    assert Masking([CREDENTIALS]).whole(said).decode() == left


@pytest.mark.parametrize("secret", ["pässwörd & söhne", "two\nlines of it's ü"])
@pytest.mark.parametrize("command", ["printf '%q\\n' \"$T\"", "declare -p T", "set", "export -p"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_bash_quotes(secret: str, command: str, locale: str) -> None:
    """Where bash does not know the characters of a secret, it writes their bytes."""
    bash = shutil.which("bash")
    assert bash is not None
    run = [bash, "-c", command]
    said = subprocess.run(run, env={"T": secret, "LC_ALL": locale}, stdout=subprocess.PIPE, check=True).stdout
    masked = Masking([secret]).whole(said)
    assert STARS in masked
    assert b"rd" not in masked
    assert b"lines" not in masked


def test_overlapping_secrets() -> None:
    """Where the end of one secret is the beginning of another nothing of either remains."""
    masking = Masking(["abcdefgh", "efghijkl", "abcdefghXYZ1"])
    assert masking.whole(b"-abcdefghijkl-") == b"-***-"
    assert in_pieces(masking, [b"-abcdefgh", b"ijkl-"]) == b"-***-"
    assert in_pieces(masking, [b"-abcdefgh", b"XY", b"Z1-"]) == b"-***-"
    assert in_pieces(masking, [b"-abcdefgh", b"XY", b"-"]) == b"-***XY-"


@pytest.mark.parametrize("seed", range(40))
def test_any_cut(seed: int) -> None:
    """However output is cut, it is masked as if every byte of every form had been looked for in the whole."""
    rng = random.Random(seed)
    letters = rng.choice(["ab", "abc", "abcdefgh"])
    secrets = ["".join(rng.choices(letters, k=rng.randint(6, 20))) for _ in range(rng.randint(1, 3))]
    forms = forms_of(secrets)
    masking = Masking(secrets)
    parts = [rng.choice([*forms, *(rng.choice(secrets)[:5].encode(), b"\n", b"a", b"ab")]) for _ in range(30)]
    parts += ["".join(rng.choices(letters, k=30)).encode()]
    rng.shuffle(parts)
    data = b"".join(parts)
    pieces = []
    position = 0
    while position < len(data):
        size = rng.choice([1, 2, 3, 7, 40])
        pieces.append(data[position : position + size])
        position += size
    wanted = reference(data, forms)
    assert masking.whole(data) == wanted
    assert in_pieces(masking, pieces) == wanted


def test_nothing_is_held_back_for_nothing() -> None:
    """Output is passed on at once, but for an end that may be the beginning of a secret."""
    mask = Masking(["correct horse battery"]).mask()
    assert mask.feed(b"a line\n") == b"a line\n"
    assert mask.feed(b"no newline") == b"no newline"
    assert mask.feed(b"is it correct ho") == b"is it "
    assert mask.feed(b"p\n") == b"correct hop\n"
    assert mask.feed(b"cor") == b""
    assert mask.feed(b"", is_last=True) == b"cor"


def test_line_breaks_hold_nothing_back() -> None:
    """A line is passed on at once, also where its last letters begin a form that may go on in the next line."""
    secret = "correct horse battery"
    encoded = base64.b64encode(secret.encode())
    mask = Masking([secret]).mask()
    assert mask.feed(b"one\n" + encoded[:3] + b"\n") == b"one\n" + encoded[:3] + b"\n"
    assert mask.feed(encoded[3:] + b"\n-") == b"***\n-"
    assert mask.feed(encoded[:4] + b"\n") == b""
    assert mask.feed(b"\n" * 100) == encoded[:4] + b"\n" * 101


def test_a_beginning_at_the_end() -> None:
    """A task that is ended may be in the middle of printing a secret: what has come of it is masked, too."""
    masking = Masking(["correct horse battery"])
    assert masking.whole(b"it is correct hor") == b"it is ***"
    assert masking.whole(b"it is cor") == b"it is cor"
    assert in_pieces(masking, [b"it is corr", b"ect"]) == b"it is ***"
    assert masking.whole(base64.b64encode(b"correct horse")[:-3] + b"\n") == b"***\n"


def test_a_mask_goes_on_where_another_stood() -> None:
    """What was held back is known as a beginning, and as a part of what has been masked."""
    masking = Masking(["abcdefgh", "efghijkl"])
    first = masking.mask()
    assert first.feed(b"-abcdefgh") == b"-***"
    second = masking.mask()
    assert second.resume(first.held, first.starred) == b""
    assert second.feed(b"ijkl-efg") == b"-"
    third = masking.mask()
    assert third.resume(second.held, second.starred) == b""
    assert third.feed(b"x") == b"efgx"
    assert Masking(["trombone"]).mask().resume(b"abc", 0) == b"abc"


def test_what_is_held_is_bounded() -> None:
    """No more than a secret's longest form is ever held, whatever comes."""
    masking = Masking(["aaaaaaaaaaaa"])
    mask = masking.mask()
    longest = max(map(len, forms_of(["aaaaaaaaaaaa"])))
    given = bytearray()
    for _ in range(200):
        given += mask.feed(b"a" * 100)
        assert len(mask._held) < longest
    given += mask.feed(b"-", is_last=True)
    assert bytes(given) == b"***-"


def test_binary() -> None:
    """Bytes of any value are passed through as they are."""
    data = bytes(range(256)) * 40
    assert in_pieces(Masking(["correct horse"]), [data[i : i + 33] for i in range(0, len(data), 33)]) == data


def test_no_secrets() -> None:
    """Where there is no secret there is no mask; one that is too short is none."""
    assert make_mask_of([]) is None
    with pytest.raises(ValueError, match="long enough"):
        Masking(["short"])


def test_masks_are_apart() -> None:
    """What one stream holds back is no beginning for another."""
    make = make_mask_of(["abcdefgh"])
    assert make is not None
    first, second = make(), make()
    assert first.feed(b"abcd") == b""
    assert second.feed(b"efgh\n") == b"efgh\n"
