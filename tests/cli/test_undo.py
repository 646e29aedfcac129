"""`roadworthy undo` and `roadworthy ledger explain`, over a ledger and an office that other processes have used."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from roadworthy import Contract, Gate, Ledger
from roadworthy.cli.app import main
from roadworthy.contract.keys import SigningKey
from roadworthy.core.errors import UsageError

Capture = pytest.CaptureFixture[str]
GATE_TESTS = Path(__file__).parents[1] / "gate"

TOOLS = """
from pathlib import Path
from board import Office

OFFICE = Office(Path("office.db"))
TOOLS = OFFICE.tools


def later(tool):
    async def work(**args):
        return tool(**args)

    return work


LATER = {name: later(tool) for name, tool in TOOLS.items()}
"""


class Place:
    """A folder with a contract, its tools and a ledger, and commands that are run there."""

    def __init__(self, folder: Path, capsys: Capture) -> None:
        self.folder = folder
        self.capsys = capsys
        self.office: Any = import_module("office_tools").OFFICE
        self.more: list[str] = []

    def run(self, *calls: tuple[str, dict[str, Any]], id: str = "r1") -> list[str]:
        """A run that makes some calls; the ids of its actions."""
        with Ledger.open("runs.db") as ledger:
            run = Gate(Contract.load("contract.yaml"), ledger, tools=self.office.tools).run(id=id, capability="office")
            run.heard("Please")
            for tool, args in calls:
                run.call(tool, args, self.office.tools[tool])
            actions = [e.body for e in ledger.entries(run=id, kind="action")]
            return [a["id"] for a in actions if "by" not in a]

    def do(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main(list(words))
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def undo(self, *words: str) -> tuple[int, str, str]:
        return self.do(
            "undo", *(words or ("r1",)), "--by", "ada", "--because", "Wrong day", "--ledger", "runs.db",
            "--tools", "office_tools:TOOLS", *self.more,
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Place]:
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(GATE_TESTS / "board.py", folder / "board.py")
    shutil.copy(GATE_TESTS / "board.yaml", folder / "board.yaml")
    shutil.copy(GATE_TESTS / "board.yaml", folder / "contract.yaml")
    (folder / "office_tools.py").write_text(TOOLS)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name in ("board", "office_tools"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield Place(folder, capsys)
    for name in ("board", "office_tools"):
        sys.modules.pop(name, None)


CLOSED = ("board.write", {"place": "door", "text": "Closed"})
RENT = ("books.book", {"account": "rent", "amount": "12.50"})


def test_a_run_is_undone_and_every_call_told(place: Place) -> None:
    before = place.office.world()
    first, second = place.run(CLOSED, RENT)
    code, out, _ = place.undo()
    assert code == 0
    assert place.office.world() == before
    lines = out.splitlines()
    assert lines[1].startswith(f"taken back  {second}")
    assert lines[2].startswith(f"taken back  {first}")
    assert "books.book was taken back by ada: Wrong day." in lines[1]
    code, out, _ = place.undo()
    assert (code, out) == (0, "There is nothing to take back in run r1.\n")


def test_what_is_left_is_told_and_makes_it_1(place: Place) -> None:
    place.run(CLOSED, ("post.send", {"body": "\x1b[2J\u202eevil"}))
    code, out, _ = place.undo()
    assert code == 1
    assert "LEFT" in out
    assert "1 call is left: a person must see to it." in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "<U+202E>" in out
    assert place.office.world()["board"] == []


def test_a_dry_run_does_nothing(place: Place) -> None:
    first, second = place.run(CLOSED, ("post.send", {"body": "x"}))
    before, size = place.office.world(), (place.folder / "runs.db").stat().st_size
    code, out, _ = place.undo("r1", "--dry-run")
    assert code == 1
    assert place.office.world() == before
    assert (place.folder / "runs.db").stat().st_size == size
    assert [line.split()[0] for line in out.splitlines()[1:]] == [second, first]
    assert "nothing takes it back" in out
    code, out, _ = place.undo("r1", "--dry-run", "--json")
    (line,) = out.splitlines()
    assert [(u["action"], u["by"], u["in_doubt"]) for u in json.loads(line)["undoable"]] == [
        (second, None, False),
        (first, "board.write", False),
    ]


def test_as_json_it_is_one_line(place: Place) -> None:
    (first,) = place.run(CLOSED)
    code, out, _ = place.undo("r1", "--json")
    assert code == 0
    (line,) = out.splitlines()
    told = json.loads(line)
    assert (told["run"], told["by"], told["because"]) == ("r1", "ada", "Wrong day")
    assert [(r["action"], r["came"], r["code"]) for r in told["reversals"]] == [(first, "undone", "undone")]


def test_tools_may_be_async(place: Place) -> None:
    before = place.office.world()
    place.run(CLOSED, RENT)
    place.more = ["--tools", "office_tools:LATER"]
    code, out, _ = place.undo()
    assert code == 0, out
    assert place.office.world() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("r10",), "holds no run 'r10'; do you mean 'r1'?"),
        (("what",), "holds no run 'what'; `roadworthy ledger show` lists the runs"),
        (("r1", "--by", "rule:large-amounts-ask"), "names no person"),
        (("r1", "--because", " "), "by and because must not be empty"),
        (("r1", "--by", "board-bot"), "runs the agent"),
        (("r1", "--ledger", "none.db"), "there is no ledger at none.db"),
        (("r1", "--tools", "office_tools:NONE"), "has no 'NONE'"),
        (("r1", "--contract", "other.yaml"), "another contract (version 1"),
    ],
)
def test_wrong_input_undoes_nothing(place: Place, words: tuple[str, ...], said: str) -> None:
    place.run(CLOSED)
    text = (place.folder / "board.yaml").read_text().replace('version: "1"', 'version: "2"')
    (place.folder / "other.yaml").write_text(text)
    before = place.office.world()
    place.more = list(words[1:])
    code, _, err = place.undo(words[0])
    assert code == 2
    assert said in err
    assert place.office.world() == before


def test_without_tools_nothing_is_begun(place: Place) -> None:
    place.run(CLOSED)
    code, _, err = place.do("undo", "r1", "--by", "ada", "--because", "x", "--ledger", "runs.db")
    assert code == 2
    assert "the function of board.write" in err
    assert place.office.world()["board"] == [("door", "Closed")]


def test_where_people_are_named_the_command_signs(place: Place, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    key = SigningKey.new()
    key.save(keys / "ada.pem")
    (place.folder / "people.yaml").write_text(
        f"people: 1\nroles: [office-lead]\nmembers:\n  ada: {{roles: [office-lead], keys: [{key.public}]}}\n"
    )
    with (place.folder / "contract.yaml").open("a") as file:
        file.write("people: people.yaml\n")
    place.run(CLOSED)
    code, _, err = place.undo()
    assert code == 2
    assert "--keys DIR" in err
    place.more = ["--keys", str(keys)]
    assert place.undo()[0] == 0
    assert place.office.world()["board"] == []
    people = Contract.load("contract.yaml").members
    assert people is not None
    with Ledger.open("runs.db", read_only=True) as ledger:
        asked = next(ledger.entries(kind="undo"))
    assert people.sealed("undo", asked.body)


# -- explain -----------------------------------------------------------------------------------------------------------


def test_an_action_is_explained_in_words(place: Place) -> None:
    (first,) = place.run(("board.write", {"place": "door", "text": "a\x1b[2J\u202eb\nsecond line"}))
    place.undo()
    code, out, _ = place.do("ledger", "explain", "runs.db", first)
    assert code == 0
    for line in (
        "state     done, and taken back",
        "who       board-bot, run by board-bot, for nobody known",
        "user      had said: Please",
        "allow     capability office, level autonomous",
        'gate      before: board.read(place="door")',
        '          before it there was {"text":null}',
        "board.write was taken back by ada: Wrong day.",
        'board.write(place="door", text=null), ok: written',
    ):
        assert line in out, out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "<U+202E>" in out


def test_an_action_is_explained_as_json(place: Place) -> None:
    (first,) = place.run(RENT)
    code, out, _ = place.do("ledger", "explain", "runs.db", "r1#1", "--json")
    assert code == 0
    (line,) = out.splitlines()
    told = json.loads(line)
    assert (told["action"], told["state"], told["who"]["capability"]) == (first, "ok", "office")
    assert told["outcomes"][0]["value"] == {"entry_no": "1"}
    assert told["law"]["version"] == "1"


def test_an_unknown_action_names_the_nearest_and_is_broken_input(place: Place) -> None:
    (first,) = place.run(RENT)
    code, out, err = place.do("ledger", "explain", "runs.db", first[:-1] + "z", "--json")
    assert code == 2
    assert f"do you mean {first}?" in err
    assert json.loads(out)["error"]["code"] == UsageError.code


def test_the_story_of_a_run_tells_its_undo(place: Place) -> None:
    place.run(CLOSED)
    place.undo()
    _, out, _ = place.do("ledger", "show", "runs.db", "r1")
    assert "person    ada undoes the run: Wrong day" in out
    assert "board.write was taken back by ada: Wrong day." in out
    assert "undo for #1" in out
