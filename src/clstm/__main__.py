"""``python -m clstm`` prints what computes here."""

from .info import show_config

show_config()
