"""Data flow: which step made a tensor, which steps took it, and the graph of a forward pass.

Between steps a tensor is followed by its number, through source lines by the names that they read."""

from .build import graph
from .links import makers, takers
from .made_from import MadeFrom
from .parts import Cluster, Edge, Graph, Node
from .producers import consumers, producer

__all__ = ["Cluster", "Edge", "Graph", "MadeFrom", "Node", "consumers", "graph", "makers", "producer", "takers"]
