// The table of kernels of one instruction set, and the kernels whose bits must be the same on all.
//
// The files of this folder are compiled once for each instruction set: CMake sets the flags,
// VAEXPRS_ISA, the namespace, and VAEXPRS_ISA_NAME, its name for people.

#include "check.hpp"
#include "fill.hpp"
#include "kernels_of_isa.hpp"
#include "softmax.hpp"
#include "zigamma.hpp"

namespace vaexprs::VAEXPRS_ISA {

const Kernels kKernels = {
    VAEXPRS_ISA_NAME, sample_bernoulli_row, sample_poisson_row, sample_nb_row, sample_zinb_row,
    sample_zigamma,   fill_uniform,         fill_normal,        all_within,    softmax};

}  // namespace vaexprs::VAEXPRS_ISA
