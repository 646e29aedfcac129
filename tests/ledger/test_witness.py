"""A witness signs one history of each log, whatever comes to it and whenever it dies."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from roadworthy.core.clock import VirtualClock
from roadworthy.core.errors import LedgerError, UsageError
from roadworthy.ledger.checkpoint import Checkpoint, LogKey, Note, Signature, Verifier, WitnessKey
from roadworthy.ledger.merkle import EMPTY, consistency
from roadworthy.ledger.witness import Answer, Witness
from roadworthy.ledger.witness_memory import Memory, place_of, read_key

from .logs import Log, request

LOG = Log()
GROWN = LOG.grow(200)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def witness(tmp_path: Path, clock: VirtualClock) -> Iterator[Witness]:
    with Witness(tmp_path / "state", [LOG.key.vkey], name="example.com/w", clock=clock) as opened:
        yield opened


def signed(witness: Witness, log: Log, answer: Answer, size: int | None = None) -> int:
    """The time of the cosignature in an answer, which must be right over the log's checkpoint."""
    assert answer.status == 200, answer.body
    line = Signature.parse(answer.body)
    ((found),) = Note(text=log.text(size), signatures=(line,)).checked([Verifier.parse(witness.vkey)])
    assert found.at is not None
    return found.at


def size_of(witness: Witness) -> int:
    """What the witness says that it has seen."""
    answer = witness.add_checkpoint(request(0, [], GROWN.note(1)))
    if answer.status == 200:
        return 0
    assert (answer.status, answer.media) == (409, "text/x.tlog.size")
    assert answer.body.endswith("\n")
    return int(answer.body)


def test_a_log_that_grows_is_signed_step_by_step(witness: Witness, clock: VirtualClock) -> None:
    before = 0
    for size in (1, 2, 3, 7, 8, 100, 200):
        clock.advance(10)
        answer = witness.add_checkpoint(GROWN.request(before, size))
        assert signed(witness, GROWN, answer, size) == int(clock.now().timestamp())
        before = size
    assert size_of(witness) == 200


def test_what_is_known_is_signed_again_with_a_later_time(witness: Witness, clock: VirtualClock) -> None:
    first = signed(witness, GROWN, witness.add_checkpoint(GROWN.request(0)))
    clock.advance(60)
    assert signed(witness, GROWN, witness.add_checkpoint(GROWN.request(200))) == first + 60


def test_a_log_may_begin_with_nothing(witness: Witness) -> None:
    signed(witness, LOG, witness.add_checkpoint(LOG.request(0)))
    signed(witness, LOG, witness.add_checkpoint(LOG.request(0)))
    signed(witness, GROWN, witness.add_checkpoint(GROWN.request(0, 5)), 5)
    assert size_of(witness) == 5


def test_the_root_of_nothing_is_known(witness: Witness) -> None:
    text = Checkpoint(origin=LOG.key.name, size=0, root=bytes(32)).text()
    assert witness.add_checkpoint(request(0, [], f"{text}\n{LOG.key.sign(text)}")).status == 422
    assert bytes(32) != EMPTY


def test_the_size_that_was_seen_is_told(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    for old in (0, 1, 99, 101, 200):
        answer = witness.add_checkpoint(GROWN.request(old))
        assert (answer.status, answer.body, answer.media) == (409, "100\n", "text/x.tlog.size")


def test_nothing_is_signed_that_goes_back(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    assert witness.add_checkpoint(request(100, [], GROWN.note(99))).status == 400
    assert witness.add_checkpoint(GROWN.request(0, 99)).status == 409
    assert size_of(witness) == 100


@pytest.mark.parametrize("at", [1, 50, 99, 100])
def test_no_second_history_is_signed(witness: Witness, at: int) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    other = GROWN.grow(at - 1).grow(200, "other ")
    for size in (100, 101, 128, 200):
        answer = witness.add_checkpoint(other.request(100, size))
        assert answer.status == 422, size
    signed(witness, GROWN, witness.add_checkpoint(GROWN.request(100)))


def test_two_roots_of_one_size_are_kept_as_evidence_against_the_log(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    other = GROWN.grow(99).grow(120, "other ")
    for _ in range(3):
        witness.add_checkpoint(other.request(100, 100))
        witness.add_checkpoint(other.request(100, 120))
    certain, unproven = witness.memory.disputes(LOG.key.name)
    assert (certain.certain, unproven.certain) == (True, False)
    keys = [LOG.key.verifier]
    given, known = Note.parse(certain.given), Note.parse(certain.known or "")
    assert given.checked(keys)
    assert known.checked(keys)
    one, two = Checkpoint.parse(given.text), Checkpoint.parse(known.text)
    assert (one.origin, one.size) == (two.origin, two.size)
    assert one.root != two.root


def test_a_stranger_cannot_make_a_log_look_guilty(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    assert witness.add_checkpoint(request(100, [bytes(32)], GROWN.note(120))).status == 422
    assert [one.certain for one in witness.memory.disputes(LOG.key.name)] == [False]


def test_disputes_do_not_fill_the_disk(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 1))
    for number in range(130):
        assert witness.add_checkpoint(LOG.grow(1, f"{number} ").request(1)).status == 422
    kept = witness.memory.disputes(LOG.key.name)
    assert len(kept) == 100
    assert kept[0].given == LOG.grow(1, "0 ").note()


def test_every_wrong_proof_is_refused(witness: Witness) -> None:
    witness.add_checkpoint(GROWN.request(0, 100))
    proof = consistency(100, 200, GROWN.node)
    wrong = [[], proof[1:], proof[:-1], proof[::-1], [*proof, bytes(32)]]
    wrong += [[*proof[:i], bytes(32), *proof[i + 1 :]] for i in range(len(proof))]
    for one in wrong:
        assert witness.add_checkpoint(request(100, one, GROWN.note())).status == 422
    assert witness.add_checkpoint(request(100, [bytes(32)], GROWN.note(100))).status == 422
    signed(witness, GROWN, witness.add_checkpoint(GROWN.request(100)))


def test_from_nothing_there_is_nothing_to_prove(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, [bytes(32)], GROWN.note())).status == 422
    assert size_of(witness) == 0


def test_only_logs_that_are_known_are_signed_for(witness: Witness) -> None:
    stranger = Log(key=LogKey.new("example.com/other")).grow(3)
    assert witness.add_checkpoint(stranger.request(0)).status == 404
    impostor = Log(key=LogKey.new(LOG.key.name)).grow(3)
    assert witness.add_checkpoint(impostor.request(0)).status == 403
    line = Signature.parse(LOG.key.sign(GROWN.text(2)))
    assert witness.add_checkpoint(request(0, [], str(Note(text=GROWN.text(3)).plus(line)))).status == 403
    assert size_of(witness) == 0


def test_signatures_of_strangers_do_no_harm_and_are_not_kept(witness: Witness) -> None:
    stranger = Signature.parse(LogKey.new(LOG.key.name).sign(GROWN.text()))
    note = str(Note.parse(GROWN.note()).plus(stranger))
    signed(witness, GROWN, witness.add_checkpoint(request(0, [], note)))
    kept = Note.parse(witness.latest(place_of(LOG.key.name)).body)
    assert stranger not in kept.signatures


def test_more_signatures_than_a_log_needs_do_not_end_the_witness(tmp_path: Path) -> None:
    """As many as a note may have, all of them good: with the witness's own there would be one too many to read."""
    others = [LogKey.new(LOG.key.name) for _ in range(99)]
    keys = [LOG.key, *others]
    text = GROWN.text(100)
    note = f"{text}\n{''.join(key.sign(text) for key in keys)}"
    with Witness(tmp_path, [key.vkey for key in keys]) as witness:
        assert witness.add_checkpoint(request(0, [], note)).status == 200
        kept = Note.parse(witness.latest(place_of(LOG.key.name)).body)
        assert kept.checked([LOG.key.verifier, Verifier.parse(witness.vkey)])
        signed(witness, GROWN, witness.add_checkpoint(GROWN.request(100)))


def test_a_log_may_have_an_old_and_a_new_key(tmp_path: Path) -> None:
    after = Log(key=LogKey.new(LOG.key.name), leaves=GROWN.leaves)
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0, 100))
        assert witness.add_checkpoint(after.request(100)).status == 403
    with Witness(tmp_path, [LOG.key.vkey, after.key.vkey]) as witness:
        signed(witness, after, witness.add_checkpoint(after.request(100, 150)), 150)
        signed(witness, GROWN, witness.add_checkpoint(GROWN.request(150)))
    with Witness(tmp_path, [after.key.vkey]) as witness:
        assert witness.add_checkpoint(GROWN.request(200)).status == 403
        signed(witness, after, witness.add_checkpoint(after.request(200)))


GOOD = GROWN.note(3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"old 0",
        b"old 0\n" + GOOD.encode(),
        request("", [], GOOD),
        request("-1", [], GOOD),
        request("+0", [], GOOD),
        request("00", [], GOOD),
        request("01", [], GOOD),
        request(" 0", [], GOOD),
        request("0 ", [], GOOD),
        request("0x1", [], GOOD),
        request("\u0661", [], GOOD),
        request("9" * 5000, [], GOOD),
        request(4, [], GOOD),
        request(0, [], GROWN.text(3)),
        request(0, [], GOOD[:-1]),
        request(0, [], GOOD.replace("example.com/log\n3\n", "example.com/log\n03\n")),
        request(0, [], "what is this\n\n" + LOG.key.sign("what is this\n")),
        request(1, [bytes(32)] * 64, GOOD),
        request(1, [bytes(31)], GOOD),
        request(1, [bytes(33)], GOOD),
        b"old 1\n?\n\n" + GOOD.encode(),
        b"old 1\n \n\n" + GOOD.encode(),
        b"old 0\r\n\r\n" + GOOD.encode(),
        b"OLD 0\n\n" + GOOD.encode(),
        b"old 0\n\n\n" + GOOD.encode(),
        b"old 0\n\n" + GOOD.encode() + b"\xff",
        b"old 0\n\n" + GOOD.encode().replace(b"3", b"3\x00", 1),
    ],
)
def test_what_is_no_request_is_refused(witness: Witness, body: bytes) -> None:
    answer = witness.add_checkpoint(body)
    assert answer.status == 400
    assert answer.body.endswith("\n")
    assert size_of(witness) == 0


def test_the_latest_is_there_for_whoever_asks(witness: Witness) -> None:
    assert witness.latest(place_of(LOG.key.name)).status == 404
    assert witness.latest("x").status == 404
    answer = witness.add_checkpoint(GROWN.request(0, 100))
    shown = Note.parse(witness.latest(place_of(LOG.key.name)).body)
    assert shown.text == GROWN.text(100)
    assert len(shown.checked([LOG.key.verifier, Verifier.parse(witness.vkey)])) == 2
    assert answer.body in str(shown)


def test_its_time_never_goes_back(tmp_path: Path) -> None:
    later, earlier = VirtualClock(), VirtualClock()
    later.advance(1000)
    with Witness(tmp_path, [LOG.key.vkey], clock=later) as witness:
        at = signed(witness, GROWN, witness.add_checkpoint(GROWN.request(0, 5)), 5)
    with Witness(tmp_path, [LOG.key.vkey], clock=earlier) as witness:
        assert signed(witness, GROWN, witness.add_checkpoint(GROWN.request(5))) == at


def test_two_at_once_get_one_history(tmp_path: Path) -> None:
    forks = [GROWN.grow(10).grow(20, f"fork {number} ") for number in range(8)]
    with Witness(tmp_path, [LOG.key.vkey]) as witness, ThreadPoolExecutor(len(forks)) as pool:
        witness.add_checkpoint(GROWN.request(0, 10))
        gate = Barrier(len(forks))

        def submit(log: Log) -> int:
            gate.wait()
            return witness.add_checkpoint(log.request(10)).status

        assert sorted(pool.map(submit, forks)) == [200, *[409] * 7]


# Its folder -----------------------------------------------------------------------------------------------------------


def test_it_is_itself_again_after_a_restart(tmp_path: Path) -> None:
    with Witness(tmp_path, [LOG.key.vkey], name="example.com/w") as witness:
        key = witness.vkey
        witness.add_checkpoint(GROWN.request(0, 100))
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        assert witness.vkey == key == read_key(tmp_path).vkey
        assert size_of(witness) == 100
        assert witness.add_checkpoint(LOG.grow(150, "other ").request(100)).status == 422
        signed(witness, GROWN, witness.add_checkpoint(GROWN.request(100)))


def test_its_key_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    Witness(folder, []).close()
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(folder / "key").st_mode) == 0o600
    (folder / "key").chmod(0o640)
    with pytest.raises(UsageError, match="others may read"):
        Witness(folder, [])


def test_a_name_stays(tmp_path: Path) -> None:
    Witness(tmp_path, [], name="example.com/w").close()
    Witness(tmp_path, [], name="example.com/w").close()
    with pytest.raises(UsageError, match="a name stays"):
        Witness(tmp_path, [], name="example.com/v")


def test_one_process_at_a_time_is_the_witness(tmp_path: Path) -> None:
    with Witness(tmp_path, []), pytest.raises(UsageError, match="another process"):
        Witness(tmp_path, [])
    Witness(tmp_path, []).close()


def test_it_does_not_go_on_without_its_memory(tmp_path: Path) -> None:
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0))
    for file in tmp_path.glob("seen.db*"):
        file.unlink()
    with pytest.raises(UsageError, match="no memory"):
        Witness(tmp_path, [LOG.key.vkey])


def test_it_does_not_go_on_with_another_key(tmp_path: Path) -> None:
    with Witness(tmp_path / "a", [LOG.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0))
    Witness(tmp_path / "b", []).close()
    os.replace(tmp_path / "b" / "key", tmp_path / "a" / "key")
    with pytest.raises(UsageError, match="not the one"):
        Witness(tmp_path / "a", [])
    (tmp_path / "a" / "key").unlink()
    with pytest.raises(UsageError, match="lost its key"):
        Witness(tmp_path / "a", [])


@pytest.mark.parametrize("written", ["", "PRIVATE+KEY+x", "x\n", "PRIVATE+KEY+w+00000000+BAAA\n", "\x00\xff"])
def test_a_key_that_was_changed_is_refused(tmp_path: Path, written: str) -> None:
    Witness(tmp_path, []).close()
    (tmp_path / "key").write_text(written, encoding="utf-8")
    with pytest.raises(UsageError, match="was it changed"):
        Witness(tmp_path, [])


def test_it_signs_nothing_over_a_memory_that_was_changed(tmp_path: Path) -> None:
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0, 100))
    with closing(sqlite3.connect(tmp_path / "seen.db")) as database, database:
        (note,) = database.execute("SELECT note FROM seen").fetchone()
        database.execute("UPDATE seen SET note = ?", (note.replace("\n100\n", "\n10\n"),))
    with Witness(tmp_path, [LOG.key.vkey]) as witness, pytest.raises(LedgerError, match="damaged"):
        witness.add_checkpoint(GROWN.request(10))


def test_what_was_signed_for_one_log_is_not_taken_for_another(tmp_path: Path) -> None:
    second = Log(key=LogKey.new("example.com/second")).grow(10)
    with Witness(tmp_path, [LOG.key.vkey, second.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0, 100))
        witness.add_checkpoint(second.request(0, 5))
    with closing(sqlite3.connect(tmp_path / "seen.db")) as database, database:
        places = [place_of(log.key.name) for log in (LOG, second)]
        database.execute("DELETE FROM seen WHERE place = ?", places[:1])
        database.execute("UPDATE seen SET place = ? WHERE place = ?", places)
    with Witness(tmp_path, [LOG.key.vkey, second.key.vkey]) as witness, pytest.raises(LedgerError, match="damaged"):
        witness.add_checkpoint(GROWN.request(5, 100))


def test_a_memory_can_be_looked_at_while_the_witness_runs(tmp_path: Path) -> None:
    with Witness(tmp_path, [LOG.key.vkey]) as witness:
        witness.add_checkpoint(GROWN.request(0, 100))
        with Memory(tmp_path, looking=True) as memory:
            assert [(seen.checkpoint.origin, seen.checkpoint.size) for seen in memory.all_seen()] == [
                (LOG.key.name, 100)
            ]
    with pytest.raises(UsageError, match="no witness has signed anything in"):
        Memory(tmp_path / "nowhere", looking=True)


def test_it_signs_nothing_on_a_disk_that_is_full(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from roadworthy.core.errors import LedgerError
from roadworthy.ledger.witness import Witness

folder, vkey, *requests = sys.argv[1:]
first, second = (Path(name).read_bytes() for name in requests)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Witness(Path(folder), [vkey]) as witness:
    assert witness.add_checkpoint(first).status == 200
    size = max(file.stat().st_size for file in Path(folder).iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        witness.add_checkpoint(second)
    except LedgerError as error:
        print(error)
    else:
        sys.exit("it signed")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert witness.add_checkpoint(second).status == 200
"""
    for name, body in (("first", GROWN.request(0, 100)), ("second", GROWN.request(100))):
        (tmp_path / name).write_bytes(body)
    words = [str(tmp_path / "state"), LOG.key.vkey, str(tmp_path / "first"), str(tmp_path / "second")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nothing was signed" in done.stdout


def test_a_closed_one_signs_nothing(witness: Witness) -> None:
    witness.close()
    witness.close()
    with pytest.raises(LedgerError):
        witness.add_checkpoint(GROWN.request(0))


def test_only_keys_of_logs_are_taken(tmp_path: Path) -> None:
    for vkey in (WitnessKey.new("example.com/w").vkey, "nonsense", ""):
        with pytest.raises(UsageError):
            Witness(tmp_path, [vkey])


# Killed ---------------------------------------------------------------------------------------------------------------


def test_it_may_be_killed_at_any_line(tmp_path: Path) -> None:
    """What it has answered it knows afterwards; what it knows is the one or the other; it signs one history."""
    script = Path(__file__).with_name("dying_witness.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["killed"] > 100
    assert told["forgotten"] == []
    assert told["broken"] == []
    assert told["before"] > 10
    assert told["after"] > 5
