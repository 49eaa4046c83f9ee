"""Flow diagrams: the graph of a forward pass as Mermaid, DOT or SVG, the last with a layered layout of our own."""
