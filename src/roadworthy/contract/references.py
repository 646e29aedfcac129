"""Does a contract hold together: does everything that it names exist, and can everything that it asks for happen?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo, available_timezones

from roadworthy.contract.model import (
    Capability,
    Contract,
    Criterion,
    Example,
    Need,
    Rule,
    Tool,
    ToolSet,
    TypeSpec,
    Undo,
)
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.people import People
from roadworthy.contract.resolve import misfit, pattern_fault
from roadworthy.contract.shapes import Shape, Shapes
from roadworthy.core.errors import Finding
from roadworthy.core.types import LEVELS

Path = tuple[str | int, ...]

SINKS = ("reply", "ask_user", "escalate")
"""What every agent can do beside its tools: each carries text out."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IN_CONDITIONS = {
    "args", "facts", "heard", "now", "today", "count", "sum", "result", "calls", "item", "given",
    "add", "sub", "mul", "total", "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for",
    "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
}  # fmt: skip
_CHANGING = ("write", "send")
_ONLY_IN_ARGS = ("origin", "destination", "else_", "pick", "of", "wire")
_ONLY_IN_RESULTS = ("trust", "labels")


def tools_of(rule: Rule, contract: Contract) -> tuple[str, ...]:
    """The tools that a rule is about, as far as they exist."""
    if isinstance(rule.tools, ToolSet):
        return tuple(name for name, tool in contract.tools.items() if tool.effect == rule.tools.effect)
    return tuple(name for name in rule.tools if name in contract.tools)


def refer(
    contract: Contract, shapes: Shapes, *, ghosts: frozenset[str] = frozenset(), torn: frozenset[str] = frozenset()
) -> list[Finding]:
    """Everything that does not hold together.

    `ghosts` are names that were left out for another finding, `torn` are tools of whose types that is true.
    """
    referrer = _Referrer(contract=contract, shapes=shapes, ghosts=ghosts, torn=torn)
    referrer.everything()
    return referrer.findings


@dataclass(kw_only=True)
class _Referrer:
    contract: Contract
    shapes: Shapes
    ghosts: frozenset[str]
    torn: frozenset[str]
    findings: list[Finding] = field(default_factory=list[Finding])

    def wrong(self, path: Path, text: str, code: str = "meaning") -> None:
        self.findings.append(Finding(text=text, path=path, code=code))

    def known(self, name: str, names: Iterable[str], kind: str, path: Path, *, where: str = "") -> bool:
        """True when a name exists; else a finding, unless the name was left out for another one."""
        names = list(names)
        if name in names:
            return True
        if name not in self.ghosts:
            cure = did_you_mean(name, names, none=where or f"this contract has no {kind}")
            article = "an" if kind[0] in "aeiou" else "a"
            self.wrong(path, f"{name!r} is not {article} {kind} here; {cure}", "unknown_name")
        return False

    def tool(self, name: str, path: Path) -> Tool | None:
        known = self.known(name, self.contract.tools, "tool", path, where="declare it under tools")
        return self.contract.tools[name] if known else None

    def reader(self, name: str, path: Path, what: str) -> Tool | None:
        tool = self.tool(name, path)
        if tool is not None and tool.effect in _CHANGING:
            self.wrong(path, f"{name} is a {tool.effect}, and {what} must not change anything; name a read")
        return tool

    def entity(self, name: str, path: Path) -> bool:
        return self.known(name, self.contract.entities, "entity", path, where="declare it under entities")

    def once(self, names: Sequence[str], path: Path, what: str) -> None:
        for i, name in enumerate(names):
            if name in names[:i]:
                self.wrong((*path, i), f"{name} stands here twice; keep one {what}", "duplicate")

    def returns(self, tool: str, test: Callable[[Shape], bool]) -> bool:
        shape = self.shapes.returns.get(tool)
        return tool in self.torn or (shape is not None and any(test(inner) for _, inner in shape.walk()))

    def everything(self) -> None:
        self.head()
        self.names()
        self.subject()
        self.bridges()
        self.directories()
        for name, tool in self.contract.tools.items():
            self.one_tool(name, tool)
        self.places()
        self.common()
        for name, capability in self.contract.capabilities.items():
            self.capability(name, capability)
        self.rules()
        self.flow()
        self.budgets()
        self.people()

    # head --------------------------------------------------------------------------------------------------------

    def head(self) -> None:
        contract = self.contract
        for key, text in (("agent", contract.agent), ("version", contract.version), ("goal", contract.goal)):
            if not text.strip():
                self.wrong((key,), f"{key} is empty; write it")
        for key, text in (("team", contract.owner.team), ("accountable", contract.owner.accountable)):
            if not text.strip():
                self.wrong(("owner", key), f"{key} is empty; somebody must answer for this agent")
        try:
            ZoneInfo(contract.zone)
        except (KeyError, ValueError, OSError):
            cure = did_you_mean(contract.zone, available_timezones())
            self.wrong(("zone",), f"there is no time zone {contract.zone!r}; {cure}", "unknown_name")
        for level, roles in contract.signatures.items():
            if not roles:
                self.wrong(("signatures", level), "nobody is named to sign; name a role or leave the line out")
            self.once(roles, ("signatures", level), "of them")
        if not contract.capabilities and "capabilities" not in self.ghosts:
            self.wrong(("capabilities",), "there is no capability, so that nothing may be called; add one")

    def names(self) -> None:
        contract = self.contract
        for section, names in (
            ("capabilities", contract.capabilities),
            ("labels", contract.labels),
            ("directories", contract.directories),
            ("principals", contract.principals),
        ):
            for name in names:
                if not _ID.fullmatch(name):
                    self.wrong((section, name), f"{name!r} is no name; write letters, digits, _ and -")
        for section, names in (("facts", contract.facts), ("types", contract.types)):
            for name in names:
                if not _IDENTIFIER.fullmatch(name):
                    text = f"{name!r} is no name for conditions; write letters, digits and _, no digit in front"
                    self.wrong((section, name), text)
        taken: dict[str, str] = {}
        for name, tool in contract.tools.items():
            for shown in dict.fromkeys((name, name.replace(".", "_"), tool.name or name)):
                other = taken.setdefault(shown, name)
                if other != name:
                    renamed = [t for t in (name, other) if contract.tools[t].name == shown]
                    at: Path = ("tools", renamed[0], "name") if renamed else ("tools", name)
                    text = f"a call of {shown} could mean {other} or {name}; change `name:` of one of them"
                    self.wrong(at, text, "ambiguous_name")
                if shown in SINKS:
                    self.wrong(("tools", name), f"{shown} is built in, every agent has it; choose another name")
            if tool.name is not None and not _MODEL_NAME.fullmatch(tool.name):
                text = f"models take no tool called {tool.name!r}; write at most 64 letters, digits, _ and -"
                self.wrong(("tools", name, "name"), text)
            for other in contract.tools:
                if other.startswith(f"{name}."):
                    text = f"{other} begins with the name of the tool {name}; in conditions they cannot be told apart"
                    self.wrong(("tools", other), f"{text}, rename one", "ambiguous_name")
        for name, entity in contract.entities.items():
            fault = pattern_fault(entity.pattern) if entity.pattern is not None else None
            if fault is not None:
                self.wrong(("entities", name, "pattern"), fault)

    # whom a run acts for -----------------------------------------------------------------------------------------

    def subject(self) -> None:
        subject = self.contract.subject
        if subject is None:
            return
        known = self.entity(subject.entity, ("subject", "entity"))
        self.once(subject.established_by, ("subject", "established_by"), "of them")
        for i, name in enumerate(subject.established_by):
            path: Path = ("subject", "established_by", i)
            if (
                self.reader(name, path, "establishing a subject") is not None
                and known
                and not self.returns(name, lambda shape: shape.entity == subject.entity)
            ):
                text = f"{name} returns no {subject.entity}; mark the field with its key as one, or name another tool"
                self.wrong(path, text)

    def bridges(self) -> None:
        for i, bridge in enumerate(self.contract.same_as):
            path: Path = ("same_as", i)
            known_from = self.entity(bridge.from_, (*path, "from"))
            known_to = self.entity(bridge.to, (*path, "to"))
            if bridge.from_ == bridge.to:
                self.wrong(path, "a bridge leads from one entity to another; these are the same")
            if self.reader(bridge.by, (*path, "by"), "a look-up") is None:
                continue
            takes = any(
                inner.entity == bridge.from_
                for shape in self.shapes.args[bridge.by].values()
                for _, inner in shape.walk()
            )
            if known_from and not takes and bridge.by not in self.torn:
                text = f"{bridge.by} takes no {bridge.from_}; mark its argument as one, or name another tool"
                self.wrong((*path, "by"), text)
            to = bridge.to
            if known_to and not self.returns(bridge.by, lambda shape, to=to: shape.entity == to):
                text = f"{bridge.by} returns no {bridge.to}; mark the field as one, or name another tool"
                self.wrong((*path, "by"), text)

    def directories(self) -> None:
        for name, directory in self.contract.directories.items():
            path: Path = ("directories", name)
            of = directory.of
            known = of is not None and self.entity(of, (*path, "of"))
            if not directory.from_:
                self.wrong((*path, "from"), "no tool fills this directory; name one")
            for i, tool in enumerate(directory.from_):
                if self.reader(tool, (*path, "from", i), "filling a directory") is None:
                    continue
                fields = self.field_names(tool)
                if directory.field not in fields and tool not in self.torn and directory.field not in self.ghosts:
                    cure = did_you_mean(directory.field, fields, none=f"declare what {tool} returns")
                    text = f"{tool} returns no field {directory.field!r}; {cure}"
                    self.wrong((*path, "field"), text, "unknown_name")
                if known and not self.returns(tool, lambda shape, of=of: shape.entity == of):
                    text = f"{tool} does not return whose entry it is: no {of}; mark that field, or leave `of` out"
                    self.wrong((*path, "from", i), text)
            if directory.verify is not None:
                at: Path = (*path, "verify")
                if self.reader(directory.verify.tool, (*at, "tool"), "verifying") is not None:
                    self.passed(directory.verify.tool, directory.verify.args, (*at, "args"))
                for arg, value in directory.verify.args.items():
                    if value != "value":
                        text = f"{value!r} means nothing here; write `value`, the destination in question"
                        self.wrong((*at, "args", arg), text)

    def field_names(self, tool: str) -> set[str]:
        shape = self.shapes.returns.get(tool)
        return set() if shape is None else {name for _, inner in shape.walk() for name in inner.fields}

    def passed(self, tool: str, args: Iterable[str], path: Path) -> None:
        """The arguments exist, and all that are required are there."""
        given = list(args)
        shapes = self.shapes.args[tool]
        for arg in given:
            self.argument(tool, arg, (*path, arg))
        for arg, shape in shapes.items():
            if arg not in given and not shape.optional and tool not in self.torn:
                self.wrong(path, f"{tool} needs {arg} as well; add `{arg}:`")

    def argument(self, tool: str, arg: str, path: Path) -> Shape | None:
        if tool not in self.contract.tools:
            return None
        shapes = self.shapes.args[tool]
        if arg in shapes:
            return shapes[arg]
        if arg not in self.ghosts and tool not in self.torn:
            cure = did_you_mean(arg, shapes, none="it takes none")
            self.wrong(path, f"{tool} has no argument {arg!r}; {cure}", "unknown_name")
        return None

    # tools -------------------------------------------------------------------------------------------------------

    def one_tool(self, name: str, tool: Tool) -> None:
        path: Path = ("tools", name)
        changing = tool.effect in _CHANGING
        if tool.retries and changing and tool.idempotent is None and "idempotent" not in self.ghosts:
            text = "a write that is tried again may happen twice; declare `idempotent`, or leave retries out"
            self.wrong((*path, "retries"), text, "no_effect")
        for key in ("idempotent", "lookup", "undo", "confirm"):
            if getattr(tool, key) is not None and not changing:
                self.wrong((*path, key), f"{key} has no effect on a {tool.effect}; leave it out", "no_effect")
        if tool.only == "undo" and not changing:
            self.wrong((*path, "only"), f"a {tool.effect} undoes nothing; leave `only` out")
        if tool.timeout is not None and tool.timeout <= 0:
            self.wrong((*path, "timeout"), "a timeout of nothing stops every call; write a time, such as 10s")
        for i, need in enumerate(tool.needs):
            self.need(name, need, (*path, "needs", i))
        if tool.confirm is not None:
            if not tool.confirm.read_out:
                self.wrong((*path, "confirm", "read_out"), "nothing is read out to the user; name arguments")
            for i, arg in enumerate(tool.confirm.read_out):
                self.argument(name, arg, (*path, "confirm", "read_out", i))
        if tool.idempotent is not None:
            if not tool.idempotent.key:
                self.wrong((*path, "idempotent", "key"), "an empty key makes all calls the same; name arguments")
            for i, arg in enumerate(tool.idempotent.key):
                self.argument(name, arg, (*path, "idempotent", "key", i))
            if tool.idempotent.passed_as in tool.args:
                text = f"{tool.idempotent.passed_as} is an argument that the model fills; take it out of args"
                self.wrong((*path, "idempotent", "passed_as"), text)
        if tool.lookup is not None:
            at: Path = (*path, "lookup")
            if self.reader(tool.lookup.tool, (*at, "tool"), "a look-up") is not None:
                if tool.lookup.args is None:
                    self.by_same_name(name, tool.lookup.tool, (*at, "tool"))
                else:
                    self.passed(tool.lookup.tool, tool.lookup.args, (*at, "args"))
                    self.expressions(name, tool.lookup.args, tool.lookup.tool, None, (*at, "args"))
        if tool.undo is not None:
            self.undo(name, tool.undo, (*path, "undo"))

    def need(self, name: str, need: Need, path: Path) -> None:
        if self.tool(need.call, (*path, "call")) is not None:
            for i, arg in enumerate(need.same):
                self.argument(name, arg, (*path, "same", i))
                self.argument(need.call, arg, (*path, "same", i))
        for i, since in enumerate(need.since):
            self.tool(since, (*path, "since", i))

    def by_same_name(self, name: str, other: str, path: Path) -> None:
        for arg, shape in self.shapes.args[other].items():
            if not shape.optional and arg not in self.shapes.args[name] and not {name, other} & self.torn:
                text = f"{other} needs {arg}, which {name} does not have; say where it comes from under `args:`"
                self.wrong(path, text)

    def undo(self, name: str, undo: Undo, path: Path) -> None:
        before: Tool | None = None
        if undo.before is not None:
            before = self.reader(undo.before, (*path, "before"), "what is read before")
            if before is not None:
                self.by_same_name(name, undo.before, (*path, "before"))
        target = self.tool(undo.tool, (*path, "tool"))
        if target is None:
            return
        if target.effect not in _CHANGING:
            self.wrong((*path, "tool"), f"{undo.tool} is a {target.effect} and undoes nothing; name a write")
        self.passed(undo.tool, undo.args, (*path, "args"))
        self.expressions(name, undo.args, undo.tool, undo.before, (*path, "args"))

    def expressions(self, name: str, args: Mapping[str, str], target: str, before: str | None, path: Path) -> None:
        """`args.X`, `result.X` and `before.X` lead to fields that exist and are of the type that is wanted."""
        for arg, text in args.items():
            root, *steps = text.split(".")
            at: Path = (*path, arg)
            found: Shape | None
            if root == "args" and steps:
                found = self.argument(name, steps[0], at)
                steps = steps[1:]
            elif root == "result":
                found = self.shapes.returns[name]
                if found is None:
                    self.wrong(at, f"{name} does not say what it returns; add `returns:`")
            elif root == "before" and before is not None:
                found = self.shapes.returns.get(before)
                if found is None and before in self.contract.tools:
                    self.wrong(at, f"{before} does not say what it returns; add `returns:`")
            elif root == "before":
                self.wrong(at, "nothing is read before; name the look-up under `before:`")
                continue
            else:
                self.wrong(at, f"{text!r} leads nowhere; write args.NAME, result.FIELD or before.FIELD")
                continue
            for step in steps:
                if found is None or found.type == "any":
                    break
                inner = found.fields.get(step, found.extra)
                if inner is None and step not in self.ghosts:
                    cure = did_you_mean(step, found.fields, none="it has no fields")
                    self.wrong(at, f"there is no field {step!r} in {text}; {cure}", "unknown_name")
                found = inner
            wanted = self.shapes.args[target].get(arg)
            if (
                found is not None
                and wanted is not None
                and "any" not in (found.type, wanted.type)
                and found.type != wanted.type
            ):
                self.wrong(at, f"{text} is a {found.type}, and {target} takes a {wanted.type} as {arg}; name another")

    def places(self) -> None:
        """Keywords that have an effect only in arguments, or only in results."""
        for name, tool in self.contract.tools.items():
            for arg, spec in tool.args.items():
                self.misplaced(spec, _ONLY_IN_RESULTS, "an argument", ("tools", name, "args", arg))
            if tool.returns is not None:
                self.misplaced(tool.returns, _ONLY_IN_ARGS, "a result", ("tools", name, "returns"))
        for fact, spec in self.contract.facts.items():
            self.misplaced(spec, (*_ONLY_IN_ARGS, *_ONLY_IN_RESULTS), "a fact", ("facts", fact))

    def misplaced(self, spec: TypeSpec, keywords: tuple[str, ...], what: str, path: Path) -> None:
        for keyword in keywords:
            if getattr(spec, keyword) is not None:
                written = TypeSpec.model_fields[keyword].alias or keyword
                self.wrong((*path, written), f"{written} has no effect in {what}; leave it out", "no_effect")
        for field_name, inner in (spec.properties or {}).items():
            self.misplaced(inner, keywords, what, (*path, "properties", field_name))
        if spec.items is not None:
            self.misplaced(spec.items, keywords, what, (*path, "items"))
        if isinstance(spec.additional_properties, TypeSpec):
            self.misplaced(spec.additional_properties, keywords, what, (*path, "additionalProperties"))

    # capabilities ------------------------------------------------------------------------------------------------

    def offered(self, names: Sequence[str], path: Path) -> None:
        self.once(names, path, "of them")
        for i, name in enumerate(names):
            tool = self.tool(name, (*path, i))
            if tool is not None and tool.only == "undo":
                text = f"{name} is `only: undo`, the gate alone calls it; take it out here or leave `only` out there"
                self.wrong((*path, i), text)

    def common(self) -> None:
        self.offered(self.contract.common, ("common",))

    def capability(self, name: str, capability: Capability) -> None:
        path: Path = ("capabilities", name)
        self.offered(capability.tools, (*path, "tools"))
        if not capability.means.strip():
            self.wrong((*path, "means"), "means is empty; write one sentence about what the user wants")
        autonomy = capability.autonomy
        if LEVELS.index(autonomy.start) > LEVELS.index(autonomy.ceiling):
            text = f"it starts at {autonomy.start}, above its ceiling {autonomy.ceiling}; lower start or raise ceiling"
            self.wrong((*path, "autonomy"), text)
        why = self.may_ask(capability)
        if autonomy.approver is None and why is not None and "approver" not in self.ghosts:
            text = f"nobody is named who answers when {why}; add `approver:` with a role"
            self.wrong((*path, "autonomy", "approver"), text, "missing_approver")
        if capability.evidence is not None:
            for key in ("pass_rate", "confidence"):
                rate = Decimal(getattr(capability.evidence, key))
                if not 0 < rate < 1:
                    text = (
                        f'{rate} is no share between 0 and 1; write one, such as "0.95" (no number of trials proves 1)'
                    )
                    self.wrong((*path, "evidence", key), text)
        self.once_ids([c.id for c in capability.success], (*path, "success"))
        for i, criterion in enumerate(capability.success):
            self.criterion(criterion, (*path, "success", i))

    def criterion(self, criterion: Criterion, path: Path) -> None:
        if not _ID.fullmatch(criterion.id):
            self.wrong((*path, "id"), f"{criterion.id!r} is no id; write letters, digits, _ and -")
        for key in ("within", "expect"):
            if getattr(criterion, key) is not None and criterion.signal is None:
                self.wrong((*path, key), f"{key} has no effect without `signal`; leave it out", "no_effect")

    def may_ask(self, capability: Capability) -> str | None:
        """When somebody of this capability's approver's role would have to answer; None where never."""
        tools = {name for name in (*capability.tools, *self.contract.common) if name in self.contract.tools}
        autonomy = capability.autonomy
        changing = [name for name in sorted(tools) if self.contract.tools[name].effect in _CHANGING]
        if changing and autonomy.ceiling != "shadow" and autonomy.start != "autonomous":
            return f"{changing[0]} waits for approval"
        if autonomy.ceiling == "shadow":
            return None
        for rule in self.contract.rules:
            if rule.then == "ask" and rule.ask is None and tools & set(tools_of(rule, self.contract)):
                return f"the rule {rule.id} asks"
        for name in sorted(tools):
            for arg, shape in self.shapes.args[name].items():
                if shape.destination is not None and shape.destination_else == "ask":
                    return f"{name} is called with an unknown {arg}"
                if shape.origins is not None:
                    return f"the {arg} of {name} comes from a wrong place"
        return None

    def once_ids(self, ids: Sequence[str], path: Path) -> None:
        for i, identity in enumerate(ids):
            if identity in ids[:i]:
                self.wrong((*path, i, "id"), f"the id {identity} stands here twice; change one", "duplicate")

    # rules -------------------------------------------------------------------------------------------------------

    def rules(self) -> None:
        self.once_ids([rule.id for rule in self.contract.rules], ("rules",))
        for i, rule in enumerate(self.contract.rules):
            path: Path = ("rules", i)
            if not _ID.fullmatch(rule.id):
                self.wrong((*path, "id"), f"{rule.id!r} is no id; write letters, digits, _ and -")
            if not rule.because.strip():
                self.wrong((*path, "because"), "because is empty; the agent and the people it stops read this")
            self.rule_tools(rule, (*path, "tools"))
            self.rule_ask(rule, path)
            self.rule_with(rule, (*path, "with"))
            for kind, examples in (("caught", rule.examples.caught), ("passed", rule.examples.passed)):
                for j, example in enumerate(examples):
                    self.example(rule, example, (*path, "examples", kind, j))

    def rule_tools(self, rule: Rule, path: Path) -> None:
        if isinstance(rule.tools, ToolSet):
            if not tools_of(rule, self.contract) and not self.ghosts:
                text = f"no tool has the effect {rule.tools.effect}, so that this rule never fires; name tools"
                self.wrong(path, text)
            return
        if not rule.tools:
            self.wrong(path, "this rule is about no tool and never fires; name at least one")
        self.once(rule.tools, path, "of them")
        for i, name in enumerate(rule.tools):
            self.tool(name, (*path, i))

    def rule_ask(self, rule: Rule, path: Path) -> None:
        if rule.ask is None:
            return
        if rule.then != "ask":
            self.wrong(
                (*path, "ask"), f"`ask` has no effect where the rule says {rule.then}; write `then: ask`", "no_effect"
            )
        if rule.ask.role == "user" and rule.ask.approvals > 1:
            self.wrong((*path, "ask", "approvals"), "there is one user; write 1, or name a role with several people")
        if not rule.ask.role.strip():
            self.wrong((*path, "ask", "role"), "role is empty; name who answers")

    def rule_with(self, rule: Rule, path: Path) -> None:
        for name, binding in rule.with_.items():
            at: Path = (*path, name)
            if not _IDENTIFIER.fullmatch(name) or name in _IN_CONDITIONS:
                text = f"{name!r} cannot be used in a condition; write letters, digits and _, and none of its words"
                self.wrong(at, text)
            if self.tool(binding.call, (*at, "call")) is None:
                continue
            if self.shapes.returns[binding.call] is None:
                text = f"{binding.call} does not say what it returns, so that no condition can use it; add `returns:`"
                self.wrong((*at, "call"), text)
            for i, arg in enumerate(binding.same):
                self.argument(binding.call, arg, (*at, "same", i))
                for tool in tools_of(rule, self.contract):
                    self.argument(tool, arg, (*at, "same", i))

    def example(self, rule: Rule, example: Example, path: Path) -> None:
        tools = tools_of(rule, self.contract)
        for arg, value in example.args.items():
            shapes = [self.shapes.args[tool][arg] for tool in tools if arg in self.shapes.args[tool]]
            if not shapes:
                every = {name for tool in tools for name in self.shapes.args[tool]}
                self.known(arg, every, "argument of the rule's tools", (*path, "args", arg))
            elif all(misfit(value, shape) for shape in shapes):
                self.wrong((*path, "args", arg), str(misfit(value, shapes[0])))
        for name, value in example.given.items():
            if self.known(name, rule.with_, "name under `with`", (*path, "given", name)):
                shape = self.shapes.returns.get(rule.with_[name].call)
                fault = misfit(value, shape) if shape is not None else None
                if fault is not None:
                    self.wrong((*path, "given", name), fault)
        for name, value in example.facts.items():
            if self.known(name, self.contract.facts, "fact", (*path, "facts", name)):
                fault = misfit(value, self.shapes.facts[name])
                if fault is not None:
                    self.wrong((*path, "facts", name), fault)
        for name, count in example.count.items():
            self.tool(name, (*path, "count", name))
            if count < 0:
                self.wrong((*path, "count", name), f"{count} calls cannot have been made; write 0 or more")
        for name in example.sum:
            tool, _, arg = name.rpartition(".")
            if self.tool(tool, (*path, "sum", name)) is not None:
                self.summed(tool, arg, (*path, "sum", name))
        if example.now is not None:
            try:
                datetime.fromisoformat(example.now)
            except ValueError:
                self.wrong((*path, "now"), f'{example.now!r} is no time; write one, such as "2026-01-05T09:00:00"')

    def summed(self, tool: str, arg: str, path: Path) -> None:
        shape = self.argument(tool, arg, path)
        if shape is not None and shape.type not in ("decimal", "integer"):
            text = f"{arg} of {tool} is a {shape.type}, which cannot be summed exactly; name a decimal or an integer"
            self.wrong(path, text)

    # flow, claims, budgets ---------------------------------------------------------------------------------------

    def flow(self) -> None:
        contract = self.contract
        ids = [rule.id for rule in contract.flow]
        self.once_ids(ids, ("flow",))
        for i, rule in enumerate(contract.flow):
            path: Path = ("flow", i)
            if rule.id in [r.id for r in contract.rules]:
                self.wrong((*path, "id"), f"a rule is called {rule.id} already; change one", "duplicate")
            self.known(rule.label, contract.labels, "label", (*path, "label"), where="declare it under labels")
            if not rule.into:
                self.wrong((*path, "into"), "no sink is named, so that this never fires; name tools or reply")
            self.once(rule.into, (*path, "into"), "of them")
            for j, sink in enumerate(rule.into):
                if sink in SINKS or not self.known(sink, [*contract.tools, *SINKS], "tool", (*path, "into", j)):
                    continue
                addressed = any(s.destination for arg in self.shapes.args[sink].values() for _, s in arg.walk())
                if rule.only_to is not None and not addressed:
                    text = f"{sink} has no argument with a `destination`, so that only_to cannot be checked; add one"
                    self.wrong((*path, "into", j), text)
            if rule.only_to is not None:
                where = "declare it under directories"
                self.known(rule.only_to, contract.directories, "directory", (*path, "only_to"), where=where)
        for i, claim in enumerate(contract.claims):
            self.tool(claim.needs, ("claims", i, "needs"))
            if not claim.says or any(not text.strip() for text in claim.says):
                self.wrong(("claims", i, "says"), "a claim without words never fires; write what may not be told")

    def budgets(self) -> None:
        run = self.contract.budgets.run
        if run.wall is not None and run.wall <= 0:
            self.wrong(("budgets", "run", "wall"), "no time at all stops every run; write one, such as 120s")
        if run.tool_calls is not None and run.writes is not None and run.writes > run.tool_calls:
            text = f"{run.writes} writes cannot happen in {run.tool_calls} calls; lower one or raise the other"
            self.wrong(("budgets", "run", "writes"), text)
        if run.model_cost is not None and Decimal(run.model_cost) < 0:
            self.wrong(("budgets", "run", "model_cost"), "a negative budget stops everything; write 0 or more")
        for i, budget in enumerate(self.contract.budgets.day):
            path: Path = ("budgets", "day", i)
            if (budget.sum is None) == (budget.count is None):
                self.wrong(path, "a budget is about a `sum` or a `count`; write exactly one of them")
                continue
            if budget.sum is not None:
                if self.tool(budget.sum.tool, (*path, "sum", "tool")) is not None:
                    self.summed(budget.sum.tool, budget.sum.arg, (*path, "sum", "arg"))
                if isinstance(budget.max, int):
                    self.wrong((*path, "max"), f'the most of a sum is an amount; quote it: "{budget.max}"')
                elif Decimal(budget.max) < 0:
                    self.wrong((*path, "max"), "a negative budget stops everything; write 0 or more")
            if budget.count is not None:
                if (budget.count.tool is None) == (budget.count.effect is None):
                    self.wrong((*path, "count"), "calls are counted by `tool` or by `effect`; write exactly one")
                elif budget.count.tool is not None:
                    self.tool(budget.count.tool, (*path, "count", "tool"))
                if isinstance(budget.max, str):
                    self.wrong((*path, "max"), "the most of a count is a whole number; write it without quotes")
            if budget.per == "subject" and self.contract.subject is None and "subject" not in self.ghosts:
                self.wrong((*path, "per"), "no `subject` is declared; declare one, or count per run or agent")

    def people(self) -> None:
        contract = self.contract
        if contract.members is not None:
            self.roles(contract.members)
        for name, principal in contract.principals.items():
            path: Path = ("principals", name, "capabilities")
            self.once(principal.capabilities, path, "of them")
            for i, capability in enumerate(principal.capabilities):
                self.known(capability, contract.capabilities, "capability", (*path, i))
            if not principal.capabilities:
                self.wrong(path, f"{name} may do nothing; name capabilities, or leave it out")
        if contract.escalate is not None and contract.escalate.tool is not None:
            tool = self.tool(contract.escalate.tool, ("escalate", "tool"))
            if tool is not None and tool.only == "undo":
                self.wrong(("escalate", "tool"), f"{contract.escalate.tool} is `only: undo`; name another tool")

    def roles(self, people: People) -> None:
        """Every role that the contract names is one of its people's: a misspelt one would be held by nobody."""
        contract = self.contract

        def role(name: str, *path: str | int, more: Iterable[str] = ()) -> None:
            self.known(name, (*people.roles, *more), "role", path, where=f"declare it under roles in {people.file}")

        for level, roles in contract.signatures.items():
            for i, name in enumerate(roles):
                role(name, "signatures", level, i)
        for key, label in contract.labels.items():
            if isinstance(label.readers, tuple):
                for i, name in enumerate(label.readers):
                    role(name, "labels", key, "readers", i)
        for key, capability in contract.capabilities.items():
            if capability.autonomy.approver is not None:
                role(capability.autonomy.approver, "capabilities", key, "autonomy", "approver")
        for i, rule in enumerate(contract.rules):
            if rule.ask is not None:
                role(rule.ask.role, "rules", i, "ask", "role", more=("user",))
                for j, name in enumerate(rule.ask.not_):
                    role(name, "rules", i, "ask", "not", j, more=("requester", *people.members))
        if contract.escalate is not None:
            role(contract.escalate.to, "escalate", "to")
