"""Makes what all adapters must do importable by name, here and where the frameworks are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("conformance", "crowd")
