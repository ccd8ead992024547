# Converts a configuration to the core's structs, and lists its tensors. Inline.

from .arrays cimport Geometry
from ..clstm_c cimport *
from .status cimport raise_status


cdef inline clstm_activation make_activation(activation) except *:
    """Convert a `cell.Activation`."""
    functions = {
        "sigmoid": CLSTM_SIGMOID,
        "tanh": CLSTM_TANH,
        "relu": CLSTM_RELU,
        "hard_sigmoid": CLSTM_HARD_SIGMOID,
        "affine": CLSTM_AFFINE,
        "leaky_relu": CLSTM_LEAKY_RELU,
        "thresholded_relu": CLSTM_THRESHOLDED_RELU,
        "scaled_tanh": CLSTM_SCALED_TANH,
        "elu": CLSTM_ELU,
        "softsign": CLSTM_SOFTSIGN,
        "softplus": CLSTM_SOFTPLUS,
    }
    return clstm_activation(functions[activation.name], activation.alpha or 0, activation.beta or 0)


cdef inline clstm_cell make_cell(cell) except *:
    """Convert a `cell.Cell`; the bound 0 means none."""
    return clstm_cell(cell.peephole, cell.coupled, cell.clip or 0, cell.cell_clip or 0, make_activation(cell.gate),
                      make_activation(cell.cell), make_activation(cell.hidden))


cdef inline clstm_config make_config(model) except *:
    """Convert a `configuration.Configuration`."""
    cdef clstm_config config = CLSTM_CONFIG_INIT
    try:
        config.input_size = model.input_size
        config.hidden_size = model.hidden_size
        config.num_layers = model.num_layers
        config.output_size = model.output_size or 0
        config.proj_size = model.proj_size
    except OverflowError:
        raise ValueError(
            f"too large: input_size={model.input_size}, hidden_size={model.hidden_size}, "
            f"num_layers={model.num_layers}, output_size={model.output_size}") from None
    config.no_bias = not model.bias
    if model.bidirectional:
        config.direction = CLSTM_BIDIRECTIONAL
    elif model.direction == "reverse":
        config.direction = CLSTM_REVERSE
    config.learn_state = model.learn_state
    config.cell = make_cell(model.cell)
    if model.activations == "fast":
        config.activations = CLSTM_FAST
    return config


cdef inline Geometry make_geometry(model, int typenum) except *:
    """Return the sizes of a model's arrays, which the core has checked for overflow."""
    return Geometry(model.input_size, model.hidden_size, model.num_parts, model.state_size, model.width,
                    model.output_width, model.batch_first, typenum)


cdef inline tuple tensors_of(const clstm_config *config):
    """Return ``[(name, shape, offset), ...]`` of the parameters in the flat array, and its length."""
    cdef clstm_parameter parameter
    cdef size_t tensors, elements, index
    raise_status(clstm_config_count(config, &tensors, &elements), "LSTM")
    cdef tuple shape
    table = []
    for index in range(tensors):
        clstm_config_parameter(config, index, &parameter)
        shape = (parameter.rows,)
        if parameter.columns:
            shape += (parameter.columns,)
        table.append((parameter.name.decode(), shape, parameter.offset))
    return table, elements
