/* Binds `real` and the names of typed sources to float32, until the next of these headers. */
#include "real_undefine.h"
#define real float
#define vreal vf32
#define vint vi32
#define lane_int int32_t
#define REAL_IS_F64 0
#define REAL_MAX FLT_MAX
#define TYPED(name) name##_f32         /* internal functions, types and vector operations */
#define PUBLIC(name) clstm_##name      /* names of clstm.h */
#define REAL_GEMM sgemm              /* the member of clstm_context */
#define KERNELS f32                    /* the member of clstm_i_isa */
