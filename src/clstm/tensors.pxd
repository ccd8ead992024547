# A configuration as the core takes it, and the tensors that it means. Inline, for _core.pyx.

from .clstm_c cimport *
from .status cimport raise_status


cdef inline clstm_config make_config(input_size, hidden_size, num_layers, output_size, bias) except *:
    cdef clstm_config config = CLSTM_CONFIG_INIT
    try:
        config.input_size = input_size
        config.hidden_size = hidden_size
        config.num_layers = num_layers
        config.output_size = output_size or 0
    except OverflowError:
        raise ValueError(
            f"too large: input_size={input_size}, hidden_size={hidden_size}, num_layers={num_layers}, "
            f"output_size={output_size}") from None
    config.no_bias = not bias
    return config


cdef inline tuple tensors_of(const clstm_config *config):
    """``[(name, shape, offset), ...]`` of the flat parameter array, and its length."""
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
