"""The frozen job in other gates, as near as each can say it. What a gate has no words for, its host computes first.

Each function makes a decider of `(tool, args) -> allow | ask | deny` and says what it leaves to its host; `peers` tries
them all. Those that are not installed are left out: `make bench-peers` runs them in an environment of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from _decide_job import USER, as_text, history

Decider = Callable[[str, dict[str, Any]], str]
_CARD = re.compile(r"(?:[0-9][ -]?){13,16}")
_CUSTOMER = re.compile(r"C[0-9]{6}")
_KNOWN = frozenset({"ann@example.com"})
_READS = ("get_customer", "get_order", "search_kb", "read_web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One gate with the job loaded."""

    decide: Decider
    note: str
    """What its host does for it, and what is missing."""
    says: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rulings that it has no word for, and what it says instead."""


def agt() -> dict[str, Peer]:
    """Microsoft agent-governance-toolkit: YAML rules with an expression each; and the same with its audit log."""
    logging.disable(logging.CRITICAL)
    from agentmesh.governance import AuditLog, PolicyEngine

    engine = PolicyEngine()
    engine.load_yaml(_AGT_RULES)

    def decide(tool: str, args: dict[str, Any]) -> str:
        derived: dict[str, Any] = {}
        if tool == "refund":
            derived["bad_id"] = _CUSTOMER.fullmatch(args["customer_id"]) is None
        elif tool == "send_email":
            derived = {"stranger": args["to"] not in _KNOWN, "has_card": _CARD.search(args["body"]) is not None}
        asked = {"tool": tool, "params": args, "derived": derived, "session": {"sensitivity": "confidential"}}
        action = engine.evaluate("did:mesh:a", asked).action
        return {"allow": "allow", "require_approval": "ask"}.get(action, "deny")

    log = AuditLog()

    def logged(tool: str, args: dict[str, Any]) -> str:
        ruling = decide(tool, args)
        log.log("policy_decision", "did:mesh:a", tool, data={"args": args}, outcome=ruling)
        return ruling

    note = "the host computes id check, allow-list, card and label; no origins"
    return {
        "agent-governance-toolkit 5": Peer(decide=decide, note=note),
        "agent-governance-toolkit 5 + audit log": Peer(decide=logged, note=note + "; log in memory"),
    }


_AGT_RULES = """
apiVersion: governance.toolkit/v1
name: job
agents: ['*']
default_action: deny
rules:
  - {name: delete, condition: "tool in ['delete_customer']", action: deny, priority: 100}
  - {name: refund-max, condition: "tool == 'refund' and params.amount > 500", action: deny, priority: 90}
  - {name: refund-bad-id, condition: "tool == 'refund' and derived.bad_id", action: deny, priority: 89}
  - {name: refund-asks, condition: "tool == 'refund' and params.amount > 100", action: require_approval, approvers: [ops], priority: 80}
  - {name: mail-stranger, condition: "tool == 'send_email' and derived.stranger", action: deny, priority: 70}
  - {name: mail-card, condition: "tool == 'send_email' and derived.has_card", action: deny, priority: 60}
  - {name: flow, condition: "tool == 'send_email' and session.sensitivity == 'confidential' and derived.stranger", action: deny, priority: 55}
  - {name: refund-ok, condition: "tool == 'refund'", action: allow, priority: 20}
  - {name: mail-ok, condition: "tool == 'send_email'", action: allow, priority: 20}
  - {name: reads, condition: "tool in ['get_customer', 'get_order', 'search_kb', 'read_web']", action: allow, priority: 10}
"""  # noqa: E501


def cedar() -> dict[str, Peer]:
    """Cedar, policies and entities parsed once."""
    import cedarpy

    policies = cedarpy.PolicySet.from_str(_CEDAR_RULES)
    role = {"uid": {"type": "Role", "id": "support"}, "attrs": {}, "parents": []}
    agent = {"uid": {"type": "Agent", "id": "a"}, "attrs": {}, "parents": [{"type": "Role", "id": "support"}]}
    entities = cedarpy.Entities.from_json_str(json.dumps([agent, role]))

    def decide(tool: str, args: dict[str, Any]) -> str:
        context: dict[str, Any] = {"approved": False, "labels": ["personal"]}
        if tool == "refund":
            context |= {"amount": args["amount"], "customer_id": args["customer_id"]}
        elif tool == "send_email":
            context |= {"to": args["to"], "has_card": _CARD.search(args["body"]) is not None}
        request = {
            "principal": 'Agent::"a"',
            "action": f'Action::"{tool}"',
            "resource": 'Crm::"main"',
            "context": context,
        }
        return "allow" if cedarpy.is_authorized(request, policies, entities).allowed else "deny"

    note = "the host computes card and labels; no regex, no origins; approval is a second request"
    return {"cedarpy 4": Peer(decide=decide, note=note, says={"ask": "deny"})}


_CEDAR_RULES = r"""
permit(principal, action in [Action::"get_customer", Action::"get_order", Action::"search_kb", Action::"read_web"], resource);
permit(principal in Role::"support", action == Action::"refund", resource) when { context.amount <= 100 };
permit(principal in Role::"support", action == Action::"refund", resource) when { context.amount <= 500 && context.approved };
forbid(principal, action == Action::"refund", resource) when { context.amount > 500 };
forbid(principal, action == Action::"refund", resource) unless { context.customer_id like "C*" };
permit(principal, action == Action::"send_email", resource) when { ["ann@example.com"].contains(context.to) };
forbid(principal, action == Action::"send_email", resource) when { context.has_card };
forbid(principal, action == Action::"send_email", resource)
  when { context.labels.contains("personal") && !["ann@example.com"].contains(context.to) };
forbid(principal, action == Action::"delete_customer", resource);
"""  # noqa: E501


def rego() -> dict[str, Peer]:
    """Rego (rego-cpp), a flow rule over the trace."""
    from regopy import Interpreter

    interpreter: Any = Interpreter()
    interpreter.add_module("agent", _REGO_RULES)
    trace = [{"tool": tool} for tool, _, _ in history(20)]

    def decide(tool: str, args: dict[str, Any]) -> str:
        interpreter.set_input({"tool": tool, "args": args, "trace": trace})
        answer = str(interpreter.query("data.agent.verdict"))
        return "allow" if "allow" in answer else "ask" if '"ask"' in answer else "deny"

    return {"regopy 1": Peer(decide=decide, note="flow by the tools called before; no origins")}


_REGO_RULES = r"""
package agent
import rego.v1
default verdict := "deny"
known := {"ann@example.com"}
deny contains "delete" if input.tool == "delete_customer"
deny contains "refund-max" if { input.tool == "refund"; input.args.amount > 500 }
deny contains "bad-id" if { input.tool == "refund"; not regex.match(`^C[0-9]{6}$`, input.args.customer_id) }
deny contains "stranger" if { input.tool == "send_email"; not input.args.to in known }
deny contains "card" if { input.tool == "send_email"; regex.match(`[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}`, input.args.body) }
deny contains "flow" if { input.tool == "send_email"; some e in input.trace; e.tool == "get_customer"; not input.args.to in known }
ask contains "refund-asks" if { input.tool == "refund"; input.args.amount > 100 }
open if input.tool in {"refund", "send_email", "get_customer", "get_order", "search_kb", "read_web"}
verdict := "deny" if count(deny) > 0
else := "ask" if count(ask) > 0
else := "allow" if open
"""  # noqa: E501


def invariant() -> dict[str, Peer]:
    """Invariant's local policies over the whole trace; its default limit of cycles does not bear this job."""
    os.environ["LOCAL_POLICY"] = "1"
    os.environ["INVARIANT_MAX_ITERATIONS"] = "1000000"
    from invariant.analyzer import LocalPolicy

    policy = LocalPolicy.from_string(_INVARIANT_RULES)
    loop = asyncio.new_event_loop()

    def made(events: int) -> Decider:
        past: list[dict[str, Any]] = [{"role": "user", "content": USER}]
        for n, (tool, args, result) in enumerate(history(events)):
            call = {"id": f"c{n}", "type": "function", "function": {"name": tool, "arguments": args}}
            past.append({"role": "assistant", "content": "", "tool_calls": [call]})
            past.append({"role": "tool", "tool_call_id": f"c{n}", "content": as_text(result)})

        def decide(tool: str, args: dict[str, Any]) -> str:
            call = {"id": "next", "type": "function", "function": {"name": tool, "arguments": args}}
            pending = [{"role": "assistant", "content": "", "tool_calls": [call]}]
            errors = loop.run_until_complete(policy.a_analyze_pending(past, pending)).errors
            if not errors:
                return "allow"
            return "ask" if all("refund asks" in str(e.args) for e in errors) else "deny"

        return decide

    note = "the whole trace is looked at again at each call; no origins"
    return {
        "invariant 0.3, 20 events": Peer(decide=made(20), note=note),
        "invariant 0.3, 100 events": Peer(decide=made(100), note=note),
    }


_INVARIANT_RULES = r"""
raise "delete" if:
    (call: ToolCall)
    call is tool:delete_customer
raise "refund max" if:
    (call: ToolCall)
    call is tool:refund
    call.function.arguments.amount > 500
raise "refund asks" if:
    (call: ToolCall)
    call is tool:refund
    call.function.arguments.amount > 100
raise "bad id" if:
    (call: ToolCall)
    call is tool:refund
    not match("^C[0-9]{6}$", call.function.arguments.customer_id)
raise "stranger" if:
    (call: ToolCall)
    call is tool:send_email
    not (call.function.arguments.to in ["ann@example.com"])
raise "card" if:
    (call: ToolCall)
    call is tool:send_email
    len(find("[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}", call.function.arguments.body)) > 0
raise "unknown" if:
    (call: ToolCall)
    not (call.function.name in ["refund", "send_email", "get_customer", "get_order", "search_kb", "read_web", "delete_customer"])
raise "customer data to a stranger" if:
    (out: ToolOutput) -> (call: ToolCall)
    out is tool:get_customer
    call is tool:send_email
    not (call.function.arguments.to in ["ann@example.com"])
"""  # noqa: E501


def taintgate() -> dict[str, Peer]:
    """taintgate: argument rules, and where a value was seen, by strings over the trace."""
    from taintgate import Policy, Session

    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(_TAINTGATE_RULES)
        file.flush()
        session = Session(Policy.from_yaml(file.name), user_messages=[USER])
    for tool, _, result in history(20):
        session.observe(tool, as_text(result))
    note = "provenance by string match; no entities, no labels, no budgets"
    return {"taintgate 0.1": Peer(decide=lambda tool, args: session.check(tool, args).action, note=note)}


_TAINTGATE_RULES = r"""
default: deny
untrusted_sources: [read_web]
rules:
  - {tool: get_customer, action: allow}
  - {tool: get_order, action: allow}
  - {tool: search_kb, action: allow}
  - {tool: read_web, action: allow}
  - {tool: refund, action: allow}
  - {tool: refund, when: {amount: {min: 500.01}}, action: deny}
  - {tool: refund, when: {amount: {min: 100.01}}, action: ask}
  - {tool: refund, when: {customer_id: {not_regex: ['^C[0-9]{6}$']}}, action: deny}
  - {tool: send_email, action: allow}
  - {tool: send_email, when: {to: {not_regex: ['^ann@example\.com$']}}, action: deny}
  - {tool: send_email, when: {body: {regex: ['(?:[0-9][ -]?){13,16}']}}, action: deny}
  - {tool: send_email, when: {to: {untrusted: true}}, action: deny}
  - {tool: "delete_*", action: deny}
"""


def trifectaguard() -> dict[str, Peer]:
    """trifectaguard: flow labels and provenance of destinations."""
    from trifectaguard import Guard

    writes = {"writes": "external"}
    tools: dict[str, Any] = {
        "read_web": {"reads": ["untrusted"]},
        "get_customer": {"reads": ["private"]},
        "get_order": {"reads": ["private"]},
        "search_kb": {"reads": []},
        "send_email": {**writes, "destination": ["to"]},
        "refund": {**writes, "destination": ["customer_id"]},
        "delete_customer": {**writes, "destination": ["customer_id"]},
    }
    guard: Any = Guard({"tools": tools})
    guard.user_message(USER)
    for tool, args, result in history(20):
        guard.engine.observe("app", tool, args, as_text(result))
    words = {"block": "deny", "allow": "allow", "ask": "ask"}

    def decide(tool: str, args: dict[str, Any]) -> str:
        return words.get(guard.engine.check("app", tool, args).action, "deny")

    return {
        "trifectaguard 0.1": Peer(decide=decide, note="labels and destinations only: no argument rules, no deny-list")
    }


MAKERS: tuple[Callable[[], dict[str, Peer]], ...] = (agt, cedar, rego, invariant, taintgate, trifectaguard)


def peers() -> tuple[dict[str, Peer], dict[str, str]]:
    """The gates that are installed, and why the others are not there."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    warnings.simplefilter("ignore")
    for make in MAKERS:
        try:
            found |= make()
        except ImportError as error:
            missing[make.__name__] = f"not installed ({error.name})"
    return found, missing
