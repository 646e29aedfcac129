"""What a contract may say that this gate cannot keep yet. Such a contract is refused, never half obeyed."""

from __future__ import annotations

from collections.abc import Iterator

from roadworthy.contract.model import Contract, Tool, TypeSpec
from roadworthy.contract.resolve import shapes_of
from roadworthy.core.errors import Finding

_TEXT = "{what} has no effect in this version of the gate; take it out, or the contract would promise what nobody keeps"


def _finding(what: str, *path: str | int) -> Finding:
    return Finding(text=_TEXT.format(what=what), path=path, code="no_effect")


def _of_tool(name: str, tool: Tool) -> Iterator[Finding]:
    for key, given in (
        ("retries", tool.retries > 0),
        ("needs", bool(tool.needs)),
        ("confirm", tool.confirm is not None),
        ("idempotent", tool.idempotent is not None),
        ("lookup", tool.lookup is not None),
        ("breaker", tool.breaker is not None),
        ("concurrency", tool.concurrency is not None),
    ):
        if given:
            yield _finding(f"`{key}`", "tools", name, key)


def _picked(spec: TypeSpec, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if spec.pick is not None:
        yield _finding("`pick`", *path, "pick")
    for name, inner in (spec.properties or {}).items():
        yield from _picked(inner, (*path, "properties", name))
    if spec.items is not None:
        yield from _picked(spec.items, (*path, "items"))
    if isinstance(spec.additional_properties, TypeSpec):
        yield from _picked(spec.additional_properties, (*path, "additionalProperties"))


def _specs(contract: Contract) -> Iterator[tuple[TypeSpec, tuple[str | int, ...]]]:
    for where, specs in (("types", contract.types), ("facts", contract.facts)):
        for name, spec in specs.items():
            yield spec, (where, name)
    for name, tool in contract.tools.items():
        for arg, spec in tool.args.items():
            yield spec, ("tools", name, "args", arg)
        if tool.returns is not None:
            yield tool.returns, ("tools", name, "returns")


def without_effect(contract: Contract) -> Iterator[Finding]:
    """Every construct of a contract that the gate would have to ignore."""
    for key in ("people", "signatures", "labels", "directories", "flow", "claims"):
        if getattr(contract, key):
            yield _finding(f"`{key}`", key)
    if contract.hosted_tools != "refuse":
        yield _finding("accepting `hosted_tools`", "hosted_tools")
    if contract.ledger_down.reads != "deny":
        yield _finding("`ledger_down: {reads: allow}`", "ledger_down", "reads")
    if contract.budgets.day:
        yield _finding("`budgets.day`", "budgets", "day")
    if contract.budgets.run.model_tokens is not None:
        yield _finding("`model_tokens`", "budgets", "run", "model_tokens")
    if contract.escalate is not None and contract.escalate.on:
        yield _finding("`escalate.on`", "escalate", "on")
    for spec, path in _specs(contract):
        yield from _picked(spec, path)
    shapes = shapes_of(contract)
    for name, tool in contract.tools.items():
        yield from _of_tool(name, tool)
        for arg, shape in shapes.args[name].items():
            for path, inner in shape.walk((arg,)):
                if inner.origins is not None:
                    yield _finding("a checked `origin`", "tools", name, "args", *path)
                if inner.destination is not None:
                    yield _finding("a checked `destination`", "tools", name, "args", *path)
    for name, capability in contract.capabilities.items():
        for index, criterion in enumerate(capability.success):
            if criterion.check is None:
                kind = "signal" if criterion.signal is not None else "judge"
                yield _finding(f"success by `{kind}`", "capabilities", name, "success", index, kind)
    for index, rule in enumerate(contract.rules):
        ask = rule.ask
        if ask is None:
            continue
        for key, given in (
            ("approvals", ask.approvals > 1),
            ("not", bool(ask.not_)),
            ("within", ask.within is not None),
            ("meanwhile", ask.meanwhile == "suspend"),
        ):
            if given:
                yield _finding(f"`ask.{key}`", "rules", index, "ask", key)
        if ask.role == "user":
            yield _finding("asking the `user`", "rules", index, "ask", "role")
