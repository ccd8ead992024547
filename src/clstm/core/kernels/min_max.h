/* min and max by comparison, for instruction sets whose own treat NaN differently. */

/* a where the comparison holds, else b: so b, too, if either is NaN. */
static inline vf32 select_f32(vi32 mask, vf32 a, vf32 b) { return (vf32)((mask & (vi32)a) | (~mask & (vi32)b)); }
static inline vf64 select_f64(vi64 mask, vf64 a, vf64 b) { return (vf64)((mask & (vi64)a) | (~mask & (vi64)b)); }
static inline vf32 min_f32(vf32 a, vf32 b) { return select_f32(a < b, a, b); }
static inline vf32 max_f32(vf32 a, vf32 b) { return select_f32(a > b, a, b); }
static inline vf64 min_f64(vf64 a, vf64 b) { return select_f64(a < b, a, b); }
static inline vf64 max_f64(vf64 a, vf64 b) { return select_f64(a > b, a, b); }
