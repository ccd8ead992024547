/* Dispatch: one table of kernels for each instruction set, chosen once. */
#pragma once

#include "memory.h"
#include "range.h"
#include "tuning.h"

#include <stddef.h>

#pragma GCC visibility push(hidden)

enum { CLSTM_I_GEMM_BYTES = 1216 << 10 }; /* scratch memory of a gemm kernel */

#include "real_f32.h"
#include "kernels/table.h"
#include "real_f64.h"
#include "kernels/table.h"
#include "real_undefine.h"

typedef struct clstm_i_isa {
    const char *name;
    const clstm_i_kernels_f32 *f32;
    const clstm_i_kernels_f64 *f64;
} clstm_i_isa;

/* The table that a kernel file ends with; dispatch.c declares it, and knows which CPUs run it. */
#define CLSTM_I_ISA(isa) \
    __attribute__((visibility("hidden"))) const clstm_i_isa clstm_i_isa_##isa = {#isa, &kernels_f32, &kernels_f64}

/* The table in use; NULL if CLSTM_ISA names none that this CPU and build have. */
const clstm_i_isa *clstm_i_dispatch(void);

/* The table, and whether the engine of a context is the packed one; an error if the context or the environment names an
   unknown ISA or engine. */
clstm_status clstm_i_chosen(const clstm_context *context, const clstm_i_isa **isa, int *packed);

#pragma GCC visibility pop
