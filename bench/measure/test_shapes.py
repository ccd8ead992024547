"""Names and costs of shapes."""

from bench.measure.shapes import (
    BIDIRECTIONAL,
    FEW_ROWS,
    GRID,
    HALF_FULL,
    OTHER_CELLS,
    PROJECTED,
    RAGGED,
    Shape,
    parse_shape,
)


def test_options_are_part_of_name_and_cost():
    for shape in GRID + BIDIRECTIONAL + PROJECTED + RAGGED + HALF_FULL + FEW_ROWS + OTHER_CELLS:
        assert parse_shape(str(shape)) == shape
    plain = Shape(100, 8, 64, 64, 1)
    assert plain._replace(directions=2).flop("training") == 2 * plain.flop("training")
    assert plain._replace(lengths="half").flop("training") == plain.flop("training") / 2
    projected = Shape(1, 1, 3, 8, 1, proj_size=2)
    assert projected.flop("forward") == 2 * (4 * 8 * (3 + 2) + 2 * 8)
