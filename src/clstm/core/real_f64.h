/* The type that typed sources are written with: float64. The twin of real_f32.h. */
#undef real
#undef vreal
#undef vint
#undef lane_int
#undef REAL_IS_F64
#undef REAL_MAX
#undef TYPED
#undef PUBLIC
#undef REAL_GEMM
#undef KERNELS
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
