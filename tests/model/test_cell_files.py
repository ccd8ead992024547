"""A cell's entries in the metadata of a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clstm
from clstm import Activation, Cell
from clstm.configuration import Configuration
from tests.support.cells import PARAMETERS


def entries(cell):
    """The entries of a cell in a file's metadata."""
    metadata = Configuration(input_size=3, hidden_size=4, cell=cell).to_metadata()
    return {name: value for name, value in metadata.items() if name.startswith("cell")}


def read(changes):
    """The cell of a file with these entries."""
    metadata = Configuration(input_size=3, hidden_size=4).to_metadata()
    return Configuration.from_metadata(metadata | changes).cell


def test_the_file_describes_the_cell():
    assert entries(Cell()) == {}
    cell = Cell(peephole=True, cell_clip=0.1, hidden=Activation("scaled_tanh", 1.5, -0.5))
    assert entries(cell) == {
        "cell.peephole": "True",
        "cell.coupled": "False",
        "cell.clip": "0x0.0p+0",
        "cell.cell_clip": "0x1.999999999999ap-4",
        "cell.gate": "sigmoid",
        "cell.cell": "tanh",
        "cell.hidden": "scaled_tanh",
        "cell.hidden.alpha": "0x1.8000000000000p+0",
        "cell.hidden.beta": "-0x1.0000000000000p-1",
    }


def test_entries_that_are_absent_are_default():
    assert read({}) == Cell()
    assert read({"cell.coupled": "True"}) == Cell(coupled=True)
    assert read({"cell.clip": "0x0.0p+0"}) == Cell()
    assert read({"cell.gate": "hard_sigmoid"}) == Cell(gate="hard_sigmoid")
    one = read({"cell.gate": "hard_sigmoid", "cell.gate.beta": "0x0.0p+0"})
    assert one == Cell(gate=Activation("hard_sigmoid", beta=0))


bounds = st.none() | st.floats(0, exclude_min=True, allow_infinity=False)
finite = st.floats(allow_nan=False, allow_infinity=False)
functions = st.sampled_from(sorted(PARAMETERS)).flatmap(
    lambda name: st.builds(
        Activation, st.just(name), *(st.none() if p is None else finite for p in PARAMETERS[name])
    )
)


@given(
    st.builds(
        Cell,
        peephole=st.booleans(),
        coupled=st.booleans(),
        clip=bounds,
        cell_clip=bounds,
        gate=functions,
        cell=functions,
        hidden=functions,
    )
)
def test_round_trip_is_exact(cell):
    assert repr(read(entries(cell))) == repr(cell)  # a negative zero included
    assert eval(repr(cell), {"Cell": Cell, "Activation": Activation}) == cell


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cell": "Cell()"}, "clstm.cell is unknown to this version"),
        ({"cell.peepholes": "True"}, "clstm.cell.peepholes is unknown"),
        ({"cell.gate.gamma": "0x1.0000000000000p+0"}, "clstm.cell.gate.gamma is unknown"),
        ({"cell.coupled": "1"}, "clstm.cell.coupled is '1', expected True or False"),
        ({"cell.coupled": ""}, "clstm.cell.coupled is '', expected True or False"),
        ({"cell.clip": "1.5"}, r"clstm.cell.clip is '1.5', expected a number as float.hex\(\)"),
        ({"cell.clip": " 0x1.8000000000000p+0"}, "clstm.cell.clip is ' 0x1.8"),
        ({"cell.clip": "0x1.8p+9999"}, "clstm.cell.clip is '0x1.8p.9999'"),
        ({"cell.clip": "nan"}, "clip must be a positive finite number or None, got nan"),
        ({"cell.clip": ""}, "clstm.cell.clip is '', expected a number"),
        ({"cell.cell_clip": "-0x1.0000000000000p+0"}, "cell_clip must be a positive .* got -1.0"),
        ({"cell.cell_clip": "inf"}, "cell_clip must be a positive .* got inf"),
        ({"cell.gate": "gelu"}, "clstm.cell.gate: unknown activation 'gelu'"),
        ({"cell.cell": ""}, "clstm.cell.cell: unknown activation ''"),
        ({"cell.hidden": "affine"}, "clstm.cell.hidden: 'affine' needs alpha"),
        ({"cell.gate.alpha": "0x1.0000000000000p+0"}, "clstm.cell.gate: 'sigmoid' has no alpha"),
        ({"cell.gate": "elu", "cell.gate.alpha": "two"}, "clstm.cell.gate.alpha is 'two'"),
        ({"cell.gate": "elu", "cell.gate.alpha": "inf"}, "clstm.cell.gate: alpha of 'elu' must be"),
        ({"cell.peephole": "True"}, "missing from the state dict: weight_peephole_l0"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(changes, words, tmp_path):
    from safetensors.numpy import save_file

    model = clstm.LSTM(3, 4)
    metadata = Configuration(input_size=3, hidden_size=4).to_metadata() | changes
    metadata = {f"clstm.{name}": value for name, value in metadata.items()}
    save_file(model.state_dict(), tmp_path / "m", metadata | {"clstm.format": "1"})
    with pytest.raises(ValueError, match=f"m holds no valid model: {words}"):
        clstm.LSTM.load(tmp_path / "m")
