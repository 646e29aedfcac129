"""An OpenAI-compatible endpoint on loopback that records what a model answers, and replays it."""

from roadworthy.adapters.model.endpoint import Mode as Mode
from roadworthy.adapters.model.endpoint import ModelEndpoint as ModelEndpoint
from roadworthy.adapters.model.prices import Price as Price
from roadworthy.adapters.model.upstream import Upstream as Upstream

__all__ = ["Mode", "ModelEndpoint", "Price", "Upstream"]
