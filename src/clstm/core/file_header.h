/* The header of a model's file, for file_safetensors.c and file_config.c. */
#pragma once

#include "file_json.h"

#pragma GCC visibility push(hidden)

typedef struct clstm_i_header {
    const char *text;
    size_t size;
    clstm_i_names tensors, metadata;
    size_t ours, known; /* number of keys clstm.*, and of those that were read */
    char prefix[16];    /* of the LSTM's keys and tensors: empty, or in a chain of layers 0., 1.0. and the like */
} clstm_i_header;

/* Reads the configuration, and what stands around the LSTM, from the metadata (file_config.c); 0 if it is invalid. */
int clstm_i_file_config(clstm_i_header *header, clstm_config *config, clstm_around *around, int *is_f64);

#pragma GCC visibility pop
