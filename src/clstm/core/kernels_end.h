/* Second half of a kernel file: activations, then the kernels of both types. */
#include "activations_f32.h"
#include "activations_f64.h"
#include "real_f32.h"
#include "kernels.h"
#include "real_f64.h"
#include "kernels.h"
