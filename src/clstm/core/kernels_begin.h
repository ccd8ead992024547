/* First half of a kernel file: the vector types, and what can be said of them in the compilers' own vector language. */
#include "real_f32.h"
#include "vectors.h"
#include "real_f64.h"
#include "vectors.h"
