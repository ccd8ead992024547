# `cimport clstm`: the C library that is inside the extension, from Cython and with nothing to link. Functions are those of
# clstm.h without the prefix clstm_, types and constants have their names there; compile with clstm.get_include().

from clstm.clstm_c cimport (
    clstm_status, clstm_gemm, clstm_gemm_f64, clstm_team, clstm_context, clstm_direction, clstm_function,
    clstm_activation, clstm_cell, clstm_config, clstm_parameter, clstm_model, clstm_keep, clstm_sequence,
    clstm_sequence_f64, clstm_tape, clstm_tape_field, clstm_gradients, clstm_gradients_f64, clstm_adam, clstm_sgd,
    clstm_stream, CLSTM_OK, CLSTM_INVALID_ARGUMENT, CLSTM_INVALID_CONFIG, CLSTM_OVERFLOW, CLSTM_OUT_OF_MEMORY,
    CLSTM_WRONG_DTYPE, CLSTM_CANCELLED, CLSTM_TAPE_CONSUMED, CLSTM_MODEL_CHANGED, CLSTM_NOT_CAUSAL,
    CLSTM_NO_GRADIENT, CLSTM_UNKNOWN_ISA, CLSTM_UNKNOWN_ENGINE, CLSTM_INVALID_FILE, CLSTM_FILE_ERROR, CLSTM_FORWARD,
    CLSTM_REVERSE, CLSTM_BIDIRECTIONAL, CLSTM_DEFAULT, CLSTM_SIGMOID, CLSTM_TANH, CLSTM_HARD_SIGMOID, CLSTM_RELU,
    CLSTM_AFFINE, CLSTM_LEAKY_RELU, CLSTM_THRESHOLDED_RELU, CLSTM_SCALED_TANH, CLSTM_ELU, CLSTM_SOFTSIGN,
    CLSTM_SOFTPLUS, CLSTM_KEEP_GATES, CLSTM_KEEP_STATES, CLSTM_INPUT_GATE, CLSTM_FORGET_GATE, CLSTM_CELL_GATE,
    CLSTM_OUTPUT_GATE, CLSTM_CELL_STATE, CLSTM_HIDDEN_STATE, CLSTM_CONTEXT_INIT, CLSTM_CONFIG_INIT,
    CLSTM_SEQUENCE_INIT, CLSTM_SEQUENCE_F64_INIT, CLSTM_GRADIENTS_INIT, CLSTM_GRADIENTS_F64_INIT, CLSTM_ADAM_INIT,
    CLSTM_SGD_INIT)

from clstm._core cimport model_of
from clstm._core cimport (
    c_version as version, c_strerror as strerror, c_openmp_team as openmp_team,
    c_default_threads as default_threads, c_has_openmp as has_openmp, c_isa as isa, c_isa_list as isa_list,
    c_engine as engine, c_engine_list as engine_list, c_config_count as config_count,
    c_config_parameter as config_parameter, c_model_create as model_create, c_model_create_f64 as model_create_f64,
    c_model_update as model_update, c_model_update_f64 as model_update_f64, c_model_parameters as model_parameters,
    c_model_parameters_f64 as model_parameters_f64, c_model_free as model_free,
    c_model_from_bytes as model_from_bytes, c_model_from_file as model_from_file, c_model_is_f64 as model_is_f64,
    c_model_config as model_config, c_forward as forward, c_forward_f64 as forward_f64, c_record as record,
    c_record_f64 as record_f64, c_tape_read as tape_read, c_tape_read_f64 as tape_read_f64,
    c_tape_free as tape_free, c_backward as backward, c_backward_f64 as backward_f64, c_adam_step as adam_step,
    c_adam_step_f64 as adam_step_f64, c_sgd_step as sgd_step, c_sgd_step_f64 as sgd_step_f64,
    c_clip_global_norm as clip_global_norm, c_clip_global_norm_f64 as clip_global_norm_f64,
    c_stream_size as stream_size, c_stream_init as stream_init, c_stream_fork as stream_fork,
    c_stream_refresh as stream_refresh, c_stream_release as stream_release, c_stream_step as stream_step,
    c_stream_step_f64 as stream_step_f64, c_stream_process as stream_process,
    c_stream_process_f64 as stream_process_f64, c_stream_reset as stream_reset,
    c_stream_get_state as stream_get_state, c_stream_get_state_f64 as stream_get_state_f64,
    c_stream_set_state as stream_set_state, c_stream_set_state_f64 as stream_set_state_f64,
    c_stream_rows as stream_rows, c_stream_join as stream_join, c_stream_leave as stream_leave, c_tanh as tanh,
    c_tanh_f64 as tanh_f64, c_sigmoid as sigmoid, c_sigmoid_f64 as sigmoid_f64)
