/* The version, a message for each status, and failed assertions. */
#include "clstm.h"

#include "asserts.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *clstm_version(void) {
    return TEXT(CLSTM_VERSION_MAJOR) "." TEXT(CLSTM_VERSION_MINOR) "." TEXT(CLSTM_VERSION_PATCH);
}

const char *clstm_strerror(clstm_status status) {
    switch (status) {
    case CLSTM_OK: return "success";
    case CLSTM_INVALID_ARGUMENT: return "a required pointer is NULL, a struct's size unknown or an index out of range";
    case CLSTM_INVALID_CONFIG: return "a size is zero, proj_size not below hidden_size, or direction or cell invalid";
    case CLSTM_OVERFLOW: return "the sizes multiply to more than memory can address";
    case CLSTM_OUT_OF_MEMORY: return "out of memory";
    case CLSTM_WRONG_DTYPE: return "the model or tape has the other floating-point type";
    case CLSTM_CANCELLED: return "cancelled by the host";
    case CLSTM_TAPE_CONSUMED: return "the tape was already used by a backward pass";
    case CLSTM_MODEL_CHANGED: return "the model's parameters changed after the tape was recorded";
    case CLSTM_NOT_CAUSAL: return "a stream cannot go back in time: the model has a reverse direction";
    case CLSTM_NO_GRADIENT: return "the cell has a function that is for inference only";
    case CLSTM_UNKNOWN_ENGINE: return "the context or CLSTM_ENGINE names no engine";
    case CLSTM_INVALID_FILE: return "the file is malformed, or none that LSTM.save writes";
    case CLSTM_FILE_ERROR: return "the file cannot be opened or read";
    case CLSTM_STREAM_ONLY: return "the model has gains or a skip around it, which only streams play";
    case CLSTM_UNKNOWN_ISA: return "CLSTM_ISA names no instruction set that this CPU and build have";
    }
    return "unknown status";
}

#if CLSTM_ASSERT
_Noreturn void clstm_i_assert_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: clstm: assertion failed: %s\n", file, line, condition);
    abort();
}
#endif
