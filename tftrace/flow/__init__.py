"""Where tensors come from and go to: between steps by identity, through source lines by the names that they read."""

from .build import graph
from .parts import Edge, Graph, Group, Node
from .producers import consumers, producer

__all__ = ["Edge", "Graph", "Group", "Node", "consumers", "graph", "producer"]
