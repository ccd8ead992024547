/* Binds `real` and the names of typed sources to float64, until the next of these headers. */
#include "real_undefine.h"
#define real double
#define vreal vf64
#define vint vi64
#define lane_int int64_t
#define REAL_IS_F64 1
#define REAL_MAX DBL_MAX
#define TYPED(name) name##_f64
#define PUBLIC(name) clstm_##name##_f64
#define REAL_GEMM dgemm
#define KERNELS f64
