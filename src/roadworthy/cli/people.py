"""`roadworthy people`: who may decide what, and their keys."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from roadworthy.cli.signing import KEYS_ENV, KEYS_HELP, find_key, key_file, new_passphrase
from roadworthy.cli.terminal import columns, json_line, out, shown
from roadworthy.contract.keys import SigningKey, project_of, wrong_with_key
from roadworthy.contract.names import did_you_mean
from roadworthy.contract.people import People, wrong_name
from roadworthy.contract.written import trap_of
from roadworthy.core.errors import UsageError, told_why

app = typer.Typer(add_completion=False)

_FILE: Final = Path("people.yaml")
_FIRST_MEMBER: Final = re.compile(r"^members:[^\n]*\n(?:[ ]*(?:#[^\n]*)?\n)*([ ]+)[^ #\n]", re.MULTILINE)
_INDENTED_LIST: Final = re.compile(r"^([ ]*)[^ #\n][^#\n]*:[ ]*(?:#[^\n]*)?\n\1[ ]+-[ ]", re.MULTILINE)
_NEW: Final = """\
# Who may decide what. Contracts name this file under `people`, and their digests cover it.
people: 1
roles: []
members: {}
"""

File = Annotated[Path, typer.Option("--file", help="The people file.")]
Keys = Annotated[Path | None, typer.Option("--keys", envvar=KEYS_ENV, help=KEYS_HELP)]
Json = Annotated[bool, typer.Option("--json", help="A line of JSON, and nothing else.")]


@app.callback()
def group() -> None:
    """Say who may decide what, and make the keys that prove it."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The person.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="What the person decides as; may be repeated.")
    ] = None,
    file: File = _FILE,
    keys: Keys = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            help="The person's own public key. Without it the key under --keys is taken, or one is made there."
        ),
    ] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Encrypt the private key; asks for it.")] = False,
    new_role: Annotated[bool, typer.Option("--new-role", help="Declare roles that the file has not yet.")] = False,
    json: Json = False,
) -> int:
    """Add a person to the people file, or roles and a key to one who stands there.

    The file is made where there is none; comments in it stay. The private key goes into a file that only its owner can
    read. Exit codes: 0 added, 2 broken input.
    """
    known = People.load(file) if file.exists() else None
    text = file.read_text(encoding="utf-8-sig") if known is not None else _NEW
    roles = list(dict.fromkeys(role or ()))
    member = known.members.get(name) if known is not None else None
    if not roles and member is None:
        raise UsageError(f"say what {name} decides as: --role ROLE")
    _assure(name, roles, public_key, known, new_role=new_role, file=file)
    folders = {"the project": project_of(file)}
    place: Path | None = None
    made: SigningKey | None = None
    if public_key is None and not (member and member.keys):
        place = key_file(name, keys, folders)
        if place.exists():
            public_key = find_key(name, keys, folders).public
        else:
            made = SigningKey.new()
            public_key = made.public
    changed = _added(text, name, roles, public_key)
    after = People.loads(changed, file=str(file))
    if known is not None and after == known:
        raise UsageError(f"{name} stands in {file} with all of that already; nothing was changed")
    if made is not None and place is not None:
        made.save(place, passphrase=new_passphrase() if passphrase else None)
    try:
        _write(file, changed)
    except OSError as error:
        if made is not None and place is not None:
            place.unlink()  # nobody knows its public half
        raise UsageError(f"{file} cannot be written: {told_why(error)}") from error
    if json:
        json_line({"person": name, "roles": after.members[name].roles, "public_key": public_key, "private_key": place})
        return 0
    console = out()
    console.print(shown(f"{file}: {name} decides as {', '.join(after.members[name].roles)}."))
    if made is not None:
        console.print(shown(f"The private key lies in {place}. Keep it; whoever has it can sign as {name}."))
    if known is not None:
        console.print("Every contract that names this file has another digest now, and must be signed anew.")
    return 0


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="The person: you.")],
    keys: Keys = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Encrypt the private key; asks for it.")] = False,
    json: Json = False,
) -> int:
    """Make a key pair for yourself, and print the public key for whoever keeps the people file.

    Exit codes: 0 made, 2 broken input; a key that is there already is never overwritten.
    """
    place = key_file(name, keys, {"the project": project_of(Path.cwd() / _FILE)})
    made = SigningKey.new()
    made.save(place, passphrase=new_passphrase() if passphrase else None)
    if json:
        json_line({"person": name, "public_key": made.public, "private_key": place})
    else:
        out().print(shown(made.public))
    return 0


@app.command("list")
def show(
    file: File = _FILE,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a person.")] = False,
) -> int:
    """List the people, what they decide as, and how many keys they have.

    Exit codes: 0 listed, 2 the file cannot be read.
    """
    people = People.load(file)
    if json:
        for name, member in people.members.items():
            json_line({"person": name, "roles": member.roles, "keys": member.keys})
        return 0
    rows = [(name, ", ".join(m.roles), str(len(m.keys))) for name, m in people.members.items()]
    for line in columns(("person", "roles", "keys"), rows):
        out().print(line)
    return 0


@app.command()
def check(
    file: File = _FILE,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", envvar=KEYS_ENV, help="Look, too, whether the private keys there fit the file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON a finding, and one of summary.")] = False,
) -> int:
    """Find what keeps people from deciding.

    Roles that nobody holds, people without a key, private keys that fit no public one.
    Exit codes: 0 nothing to act on, 1 findings, 2 the file cannot be loaded.
    """
    people = People.load(file)
    found = [f"nobody holds the role {role}" for role in people.roles if not people.holding(role)]
    found += [
        f"{name} has no key and can sign nothing; `roadworthy people key {name}` makes one"
        for name, member in people.members.items()
        if not member.keys
    ]
    if keys is not None:
        found += _private_keys(people, keys, file)
    if json:
        for text in found:
            json_line({"text": text, "file": str(file), "severity": "warning"})
        json_line({"summary": {"file": str(file), "people": len(people.members), "digest": people.digest}})
    else:
        for text in found:
            out().print(shown(f"warning: {file}: {text}", lines=False))
        out().print(shown(f"{file}: {len(people.members)} people, {len(people.roles)} roles, {len(found)} warnings."))
    return 1 if found else 0


def _private_keys(people: People, keys: Path, file: Path) -> Sequence[str]:
    """What is wrong with the private keys in a folder; those that are encrypted stay closed."""
    found: list[str] = []
    for name, member in people.members.items():
        try:
            place = key_file(name, keys, {"the project": project_of(file)})
            if not place.exists():
                continue
            public = SigningKey.public_of(place)
        except UsageError as error:
            found.append(error.text)
            continue
        if public is not None and public not in member.keys:
            found.append(f"the private key in {place} fits no public key of {name}")
    return list(dict.fromkeys(found))


def _assure(
    name: str, roles: Sequence[str], public_key: str | None, known: People | None, *, new_role: bool, file: Path
) -> None:
    """Raises UsageError for whatever would make a people file that cannot be loaded, or not what was meant."""
    for wrong in (wrong_name(name, "person"), *(wrong_name(role, "role") for role in roles)):
        if wrong:
            raise UsageError(wrong)
    bad = wrong_with_key(public_key) if public_key is not None else None
    if bad:
        raise UsageError(bad)
    for role in roles:
        if known is not None and role not in known.roles and not new_role:
            cure = did_you_mean(role, known.roles, none="it has none yet").removesuffix("?")
            raise UsageError(f"{file} has no role {role!r}; {cure}; --new-role declares a new one")


def _added(text: str, name: str, roles: Sequence[str], public_key: str | None) -> str:
    """The text of a people file with a person, or with more about one; comments, order and indentation stay."""
    yaml: Any = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    step = _FIRST_MEMBER.search(text)
    offset = 2 if _INDENTED_LIST.search(text) else 0
    yaml.indent(mapping=len(step[1]) if step else 2, sequence=2 + offset, offset=offset)
    document: Any = yaml.load(text)
    written_roles = [_plain(role) for role in roles]
    if not document["roles"]:
        document["roles"] = _on_one_line()
    document["roles"].extend(role for role in written_roles if role not in document["roles"])
    if not document["members"]:
        document["members"] = CommentedMap()  # one that is written over lines
    members: Any = document["members"]
    if name not in members:
        members[name] = CommentedMap(roles=_on_one_line())
    member: Any = members[name]
    member["roles"].extend(role for role in written_roles if role not in member["roles"])
    if public_key is not None and public_key not in member.get("keys", ()):
        if "keys" not in member:
            member["keys"] = _on_one_line()
        member["keys"].append(public_key)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _plain(word: str) -> str:
    """A word as it can be written in YAML, in quotes where some readers would take it for something else."""
    plain = trap_of(word) is None and word[0].isalpha() and word.lower() not in ("true", "false", "null")
    return word if plain else DoubleQuotedScalarString(word)


def _on_one_line() -> Any:
    empty: Any = CommentedSeq()
    empty.fa.set_flow_style()
    return empty


def _write(file: Path, text: str) -> None:
    """Put a new text in the place of a file, whole or not at all; its mode stays."""
    target = file.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    made = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            written.write(text)
            written.flush()
            os.fsync(handle)
        made.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        made.replace(target)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
