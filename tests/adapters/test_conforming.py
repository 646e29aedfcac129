"""Plain Python conforms."""

from __future__ import annotations

from plain_adapters import Dispatching, Gated

from roadworthy.adapters.conformance import Conformance


class TestDispatching(Conformance):
    adapter = Dispatching


class TestGated(Conformance):
    adapter = Gated

    # A gated function returns what the tool returned, which has no room for words beside it.
    test_an_edited_action_is_done_as_the_person_wrote_it__blocking = None
    test_an_edited_action_is_done_as_the_person_wrote_it__async = None
