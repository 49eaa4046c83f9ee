"""Where tensors come from and go to: between steps by identity, through source lines by the names that they read."""

from .identity import consumers, producer

__all__ = ["consumers", "producer"]
