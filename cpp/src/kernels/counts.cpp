// The kernels of counts of one instruction set. Unlike the other file of this folder it may be
// compiled with fused multiply-adds: what float32 computes here need not be the same bits
// everywhere, only within the tolerance of counts.hpp. (Measured: 6 % less time.)

#include "bernoulli.hpp"
#include "count_laws.hpp"
