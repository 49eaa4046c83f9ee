"""Where tensors come from and go to: between steps by identity, through source lines by the names that they read."""

from .build import graph
from .identity import consumers, producer
from .parts import Edge, Graph, Group, Node

__all__ = ["Edge", "Graph", "Group", "Node", "consumers", "graph", "producer"]
