/* The end of a kernel file, after its vector operations: activations, then the kernels of either type. */
#include "activations_f32.h"
#include "activations_f64.h"

#include "../real_f32.h"
#include "kernels_of_type.h"
#include "../real_f64.h"
#include "kernels_of_type.h"
#include "../real_undefine.h"
