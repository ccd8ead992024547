/* What the two files that read a model's file share: its header. */
#pragma once

#include "file_json.h"

#pragma GCC visibility push(hidden)

typedef struct clstm_i_header {
    const char *text;
    size_t size;
    clstm_i_names tensors, metadata;
    size_t ours, known; /* keys clstm.*, and how many of them have been asked for */
} clstm_i_header;

/* The configuration that the metadata holds (file_config.c); 0 if it is not one. */
int clstm_i_file_config(clstm_i_header *header, clstm_config *config, int *is_f64);

#pragma GCC visibility pop
