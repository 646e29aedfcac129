"""What a cassette may not hold: labelled values and credentials. A replay gives them back to who has them."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.scripted_upstream import ask, chat, scripted_upstream, user

from roadworthy import Contract, Gate, Ledger
from roadworthy.adapters.model.endpoint import ModelEndpoint
from roadworthy.adapters.model.labelled import credentials_in
from roadworthy.adapters.model.pseudonyms import Pseudonyms, holds_names, laid_over, revealed
from roadworthy.adapters.model.upstream import Upstream

LAW = Contract.loads("""
roadworthy: 1
agent: desk
version: "1"
goal: Help.
owner: {team: Care, accountable: lead}
labels:
  personal: {readers: owner}
tools:
  crm.find:
    effect: read
    args: {email: {type: string, format: email}}
    returns:
      name: {type: string, labels: [personal]}
      email: {type: string, format: email, labels: [personal]}
      salary: {type: integer, labels: [personal]}
      vip: {type: boolean, labels: [personal]}
      order: string
  crm.history: {effect: read, args: {order: string}, returns: {type: string, labels: [personal]}}
capabilities:
  help:
    means: Somebody needs help.
    tools: [crm.find, crm.history]
    autonomy: {start: autonomous, ceiling: autonomous, approver: lead}
    success: [{id: one, check: count.crm.find <= 9}]
""")


def customer(name: str, email: str, salary: int, vip: bool, order: str = "O-7") -> dict[str, Any]:
    return {"name": name, "email": email, "salary": salary, "vip": vip, "order": order}


ADA = customer('Zoë "Ada" Byron', "ada@love.example", 5200, True)
BOB = customer("Bob", "bob.b@work.example", 815, False)


def model(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A model that looks its customer up by what the user wrote, and says the name that it was told."""
    said = body["messages"]
    email = re.findall(r"\S+@\S+[a-z]", said[0]["content"])[0]
    if len(said) == 1:
        return chat(None, ("t1", "crm_find", {"email": email}))
    found = json.loads(said[2]["content"])
    return chat(f"{found['name']} ({found['name'].upper()}) earns {found['salary']}.")


def talk(url: str, who: Mapping[str, Any], dumps: Any = json.dumps) -> tuple[list[Any], str]:
    """An agent: the arguments of its call, and what it says in the end."""
    messages: list[Any] = [user(f"I am {who['name']}, write to {who['email']} please. Order {who['order']}.")]
    status, answer = ask(url, {"model": "m", "messages": messages})
    assert status == 200, answer
    message = answer["choices"][0]["message"]
    (call,) = message["tool_calls"]
    result = {name: who[name] for name in ("name", "email", "salary", "vip", "order")}
    messages += [message, {"role": "tool", "tool_call_id": call["id"], "content": dumps(result)}]
    status, answer = ask(url, {"model": "m", "messages": messages})
    assert status == 200, answer
    return json.loads(call["function"]["arguments"]), answer["choices"][0]["message"]["content"]


def record(cassette: Path, *who: Mapping[str, Any], dumps: Any = json.dumps, **given: Any) -> list[Any]:
    with (
        scripted_upstream(model) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, contract=LAW, **given) as endpoint,
    ):
        return [talk(endpoint.url(trial=n), one, dumps) for n, one in enumerate(who)]


def private(who: Mapping[str, Any]) -> list[str]:
    return [who["name"], who["name"].upper(), json.dumps(who["name"])[1:-1], who["email"], str(who["salary"])]


def test_labelled_values_have_names_in_the_file_from_the_first_line_on(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    live = record(cassette, ADA, mode="record")
    text = cassette.read_text()
    assert live == [({"email": ADA["email"]}, 'Zoë "Ada" Byron (ZOË "ADA" BYRON) earns 5200.')]
    assert not [value for value in private(ADA) if value in text or value in json.dumps(text)]
    assert '\\"vip\\": true' not in text
    assert "O-7" in text, "what carries no label stands as it is"
    assert re.search(r"I am «personal-\d+», write to personal-\d+@pseudonym\.invalid please", text)
    assert stat.S_IMODE(cassette.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


@pytest.mark.parametrize("who", [ADA, BOB])
def test_a_replay_gives_everybody_their_own_values(tmp_path: Path, who: Mapping[str, Any]) -> None:
    record(tmp_path / "c", ADA, mode="record")
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        args, told = talk(endpoint.url(), who)
    assert args == {"email": who["email"]}
    assert told.startswith(f"{who['name']} (")
    assert told.endswith(f"earns {who['salary']}.")


def test_the_same_value_has_the_same_name_in_all_of_a_cassette_and_another_one_another(tmp_path: Path) -> None:
    record(tmp_path / "c", ADA, {**BOB, "salary": ADA["salary"]}, mode="record")
    record(tmp_path / "c", ADA, {**BOB, "salary": ADA["salary"]}, ADA, mode="extend")
    text = (tmp_path / "c").read_text()
    assert not [value for value in private(ADA) + private(BOB) if re.search(rf"\b{re.escape(value)}\b", text)]
    emails = set(re.findall(r"personal-\d+@pseudonym\.invalid", text))
    salaries = set(re.findall(r"salary\\\": («[^»]*»)", text))
    assert (len(emails), len(salaries)) == (2, 1)


def test_what_differs_in_more_than_labelled_values_is_not_the_same(tmp_path: Path) -> None:
    record(tmp_path / "c", ADA, mode="record")
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint, pytest.raises(AssertionError, match="not_recorded"):
        talk(endpoint.url(), {**BOB, "order": "O-8"})


def test_one_name_stands_for_one_value_in_a_conversation(tmp_path: Path) -> None:
    record(tmp_path / "c", BOB, mode="record")

    def another_name(result: dict[str, Any]) -> str:
        return json.dumps({**result, "name": "Eve"})

    with (
        ModelEndpoint(cassette=tmp_path / "c") as endpoint,
        pytest.raises(AssertionError, match="not_recorded"),
    ):
        talk(endpoint.url(), BOB, another_name)


def test_where_two_recordings_would_do_none_is_guessed(tmp_path: Path) -> None:
    with (
        scripted_upstream(model) as upstream,
        ModelEndpoint(
            upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", contract=LAW, mode="record"
        ) as endpoint,
    ):
        for one in (ADA, BOB):  # of the same trial
            talk(endpoint.url(), one)
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint, pytest.raises(AssertionError, match="trial"):
        talk(endpoint.url(), ADA)


def in_words(result: dict[str, Any]) -> str:
    return f"name: {result['name']}"


@pytest.mark.parametrize("dumps", [repr, in_words])
def test_results_in_other_words_are_hidden_too(tmp_path: Path, dumps: Any) -> None:
    with (
        scripted_upstream(lambda path, body: chat(None, ("t1", "crm_find", {"email": "x"}))) as upstream,
        ModelEndpoint(
            upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", contract=LAW, mode="record"
        ) as endpoint,
    ):
        talk(endpoint.url(), BOB, dumps)
    text = (tmp_path / "c").read_text().replace("Bob, write", "")
    assert "'name': 'Bob'" not in text
    assert "name: Bob" not in text


def test_an_answer_is_right_in_every_way_that_a_value_is_written(tmp_path: Path) -> None:
    def says(path: str, body: Mapping[str, Any]) -> Any:
        if len(body["messages"]) == 1:
            return chat(None, ("t1", "crm_find", {"email": "x"}))
        name = json.loads(body["messages"][2]["content"])["name"]
        return chat(name, ("t2", "crm_history", {"order": name.upper()}))

    def asks(url: str, name: str) -> Any:
        messages: list[Any] = [user("Who am I?")]
        messages.append(ask(url, {"model": "m", "messages": messages})[1]["choices"][0]["message"])
        messages.append({"role": "tool", "tool_call_id": "t1", "content": json.dumps({"name": name})})
        message = ask(url, {"model": "m", "messages": messages})[1]["choices"][0]["message"]
        return message["content"], json.loads(message["tool_calls"][0]["function"]["arguments"])["order"]

    with (
        scripted_upstream(says) as upstream,
        ModelEndpoint(
            upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", contract=LAW, mode="record"
        ) as endpoint,
    ):
        assert asks(endpoint.url(), "Zoë") == ("Zoë", "ZOË")
    assert not [one for one in ("Zoë", "ZOË", "zo\\u00eb") if one.lower() in (tmp_path / "c").read_text().lower()]
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert asks(endpoint.url(), 'Ünal "Ü" Öz') == ('Ünal "Ü" Öz', 'ÜNAL "Ü" ÖZ')


def found(email: str) -> Mapping[str, Any]:
    return {**BOB, "email": email}


def test_a_run_knows_what_is_labelled_in_whatever_words_the_model_was_told(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    with (
        Ledger.open(tmp_path / "runs.db") as ledger,
        scripted_upstream(lambda path, body: chat("Hello Bob, who writes from bob.b@work.example.")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=cassette, mode="record") as endpoint,
    ):
        run = Gate(LAW, ledger).run(capability="help")
        with endpoint.conversation(run) as url:
            ask(url, {"model": "m", "messages": [user("I am Bob.")]})
            run.call("crm.find", {"email": BOB["email"]}, found)
            assert "Bob" in cassette.read_text()
        text = cassette.read_text()
    assert "Bob" not in text
    assert "bob.b" not in text


SECRETS = [
    "sk-proj-abcdefghijklmnop1234",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlX29m",
    "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS, ids=[secret[:6] for secret in SECRETS])
def test_what_looks_like_a_credential_is_never_written(tmp_path: Path, secret: str) -> None:
    body = {"model": "m", "messages": [user(f"Use {secret} for it."), user(json.dumps({"key": secret}))]}
    with (
        scripted_upstream(lambda path, body: chat(f"I use {secret}.")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        ask(endpoint.url(), body)
    text = (tmp_path / "c").read_text()
    assert secret[6:20] not in text.replace("BEGIN PRIVATE", "")
    assert "«credential-1»" in text
    with ModelEndpoint(cassette=tmp_path / "c") as endpoint:
        assert ask(endpoint.url(), body)[1]["choices"][0]["message"]["content"] == f"I use {secret}."


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("password: hunter2hunter", "hunter2hunter"),
        ('{"api_key": "abc123def456"}', "abc123def456"),
        ("postgresql://me:geheim9@db/x", "me:geheim9"),
        ("Authorization: Bearer abcdef0123456789xyz", "abcdef0123456789xyz"),
    ],
)
def test_what_is_named_as_a_credential_is_one(tmp_path: Path, text: str, hidden: str) -> None:
    with (
        scripted_upstream(lambda path, body: chat("ok")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        ask(endpoint.url(), {"model": "m", "messages": [user(text)]})
    assert hidden not in (tmp_path / "c").read_text()


def test_an_escape_in_the_json_of_arguments_is_no_part_of_a_credential() -> None:
    arguments = json.dumps({"body": "Set a new password:\nhttps://shop.example/new-password/7", "secret": '"hunter2h'})
    hidden = [value for value, _ in credentials_in(arguments)]
    for value in hidden:
        json.loads(arguments.replace(value, "\u00abcredential-1\u00bb"))
    assert hidden == ["hunter2h"]


def test_words_about_credentials_are_none(tmp_path: Path) -> None:
    text = "Reset my password please: the secret is to ask for sk-learn and a bearer token."
    with (
        scripted_upstream(lambda path, body: chat("ok")) as upstream,
        ModelEndpoint(upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record") as endpoint,
    ):
        ask(endpoint.url(), {"model": "m", "messages": [user(text)]})
    assert text in (tmp_path / "c").read_text()


_VALUES = st.lists(st.text(min_size=3, max_size=12).filter(str.strip), min_size=1, max_size=4, unique=True)


@given(_VALUES, st.lists(st.text(alphabet="abc ,", min_size=1, max_size=6), min_size=5, max_size=5))
def test_what_was_hidden_lies_over_what_it_was(values: list[str], between: list[str]) -> None:
    names = Pseudonyms()
    names.learn((value, "personal") for value in values)
    asked = {"messages": ["|".join([between[0], *values, between[1]]), *between, values[0]]}
    hidden = names.hide(asked)
    assert not any(value in text for value in values for text in hidden["messages"])
    bound = {names.hide(value): value for value in values}
    assert laid_over(hidden, asked, bound) == bound
    assert revealed(hidden, bound) == asked


def test_laying_over_takes_no_longer_for_more_names() -> None:
    recorded = ",".join(f"«p-{n}»" for n in range(400))
    assert laid_over(recorded, "a," * 399 + "a;b", {}) is not None
    assert laid_over(recorded, "a," * 5000, {}) is None
    assert laid_over(recorded, "a" * 100_000, {}) is None
    assert laid_over("«p-1»«p-2»", "ab", {}) is None


LONG = ("-1", "deadbeef0", "a-1", "1", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaa-", "eyJaaaaaaaa.", "sk-", "://a:")


@pytest.mark.parametrize("text", LONG)
def test_a_long_text_of_a_stranger_is_looked_through_in_one_go(text: str) -> None:
    """Looking back from each of its letters would take hours."""
    long = text * (300_000 // len(text))
    names = Pseudonyms()
    names.known([long])
    assert holds_names(long) is False
    list(credentials_in(f"{long} password: hunter2hunter"))
    names.learn([("hunter2hunter", "credential " * 1000)])
    name = names.hide("hunter2hunter")
    assert holds_names(name)
    assert revealed(name, {name: "hunter2hunter"}) == "hunter2hunter"


def test_a_result_that_reads_like_python_and_is_none_is_hidden_whole(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "crm_find", "arguments": "{}"}}
    told = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "{[1]: 2345}"},
    ]
    with (
        scripted_upstream(lambda path, body: chat("ok")) as upstream,
        ModelEndpoint(
            upstream=Upstream.of(upstream.url), cassette=tmp_path / "c", mode="record", contract=LAW
        ) as endpoint,
    ):
        assert ask(endpoint.url(), {"model": "m", "messages": told})[0] == 200
    assert "2345" not in (tmp_path / "c").read_text()
