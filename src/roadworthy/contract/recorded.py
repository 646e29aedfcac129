"""Contracts as a ledger holds them, read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from roadworthy.contract.model import Contract
from roadworthy.contract.people import People
from roadworthy.core.errors import ContractError
from roadworthy.core.order import in_order


def read_again(body: Mapping[str, Any] | None, people: People | None = None) -> Contract | None:
    """The contract that the body of a `contract` entry holds; None unless it has the digest that stands there.

    Its keys stand where they were written, which reasons and questions follow. `people` stand in where the entry holds
    none.
    """
    if body is None:
        return None
    try:
        held = in_order({key: body.get(key) for key in ("contract", "people")}, body.get("order"))
        contract = Contract.model_validate(held["contract"])
        if contract.people is not None:
            written = cast("object", held["people"])
            named = People.model_validate(written) if written is not None else people
            contract = contract if named is None else contract.with_people(named)
    except (ValueError, TypeError, RecursionError, ContractError):
        return None
    return contract if contract.digest == body.get("digest") else None
