"""Characters that people do not see, or take for others: what is written with them is read without."""

from __future__ import annotations

_FOREIGN = (  # Cyrillic, Greek, Armenian and a few signs, small letters
    "\u0430\u0431\u0432\u0433\u0435\u0451\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u044c\u0456"
    "\u0457\u0458\u0455\u0501\u051b\u051d\u04bb\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd"
    "\u03bf\u03c1\u03c3\u03c4\u03c5\u03c7\u03b3\u03c9\u2113\u0131\u01c0\u0578\u057d\u0581\u0585"
)
LOOKALIKES: dict[int, str] = {
    ord(foreign): latin
    for foreign, latin in zip(_FOREIGN, "abbreemhopctyxbiijsdqwhabezhikmvopotuxywlilnugo", strict=True)
}
"""By small letter of another alphabet the Latin one that it is taken for."""

INVISIBLE: dict[int, None] = dict.fromkeys(
    [0xAD, 0x34F, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF]
)
"""Characters without width, and those that turn the direction of writing."""
