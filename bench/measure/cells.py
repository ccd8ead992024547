"""Arguments of `clstm.Cell` for every cell, by the names that shapes use; "" is the plain one."""

CELLS: dict[str, dict] = {
    "": {},
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "clipped": {"clip": 1.0, "cell_clip": 0.5},  # low enough that both bounds are hit
    "hard": {"gate": "hard_sigmoid", "cell": "relu"},
    "soft": {"gate": "softplus", "cell": "elu", "hidden": "softsign"},
}
WITHOUT_GRADIENT = frozenset({"soft"})
