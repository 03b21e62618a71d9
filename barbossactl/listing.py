"""Read listings page by page and print them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from barbossactl import output
from barbossactl.client import Client

PAGE_SIZE: Final = 100


def items(client: Client, method: str, params: Mapping[str, Any], *, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield the items of a listing, at most ``limit`` (None: all), asking for a page when it is needed."""
    return islice(_all_items(client, method, params, limit), limit)


def show(
    found: Iterator[dict[str, Any]],
    columns: Sequence[output.Column],
    row: Callable[[dict[str, Any]], Sequence[object]],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Print a listing: ``row`` makes the cells of ``columns`` from an item."""
    if as_json:
        output.listing_as_json(found)
    else:
        output.table(columns, map(row, found), empty=empty)


def _all_items(client: Client, method: str, params: Mapping[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {**params, "limit": PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)}
    while True:
        page = client.call(method, asked)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        asked["cursor"] = page["next_cursor"]
