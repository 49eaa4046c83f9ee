"""Flow diagrams: the graph of a forward pass laid out in layers, and written as Mermaid, DOT or SVG."""
