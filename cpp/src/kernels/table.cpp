// The table of kernels of one instruction set, and the kernels whose bits must be the same on all.
//
// The files of this folder are compiled once for each instruction set: CMake sets the flags,
// VAEXPRS_ISA, the namespace, and VAEXPRS_ISA_NAME, its name for people.

#include "check.hpp"
#include "elementwise.hpp"
#include "fill.hpp"
#include "gaussian.hpp"
#include "kernels_of_isa.hpp"
#include "product.hpp"
#include "softmax.hpp"
#include "zigamma.hpp"

namespace vaexprs::VAEXPRS_ISA {

#define VAEXPRS_KERNEL(name, ...) sample_##name,
const Kernels kKernels = {VAEXPRS_ISA_NAME, {VAEXPRS_LIKELIHOODS(VAEXPRS_KERNEL)},
                          fill_normal,      all_within,
                          softmax,          kPanel,
                          product,          apply_function,
                          apply_operation};
#undef VAEXPRS_KERNEL

}  // namespace vaexprs::VAEXPRS_ISA
