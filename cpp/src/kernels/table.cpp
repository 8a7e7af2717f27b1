// The table of kernels of one instruction set. This file is compiled once for each: CMake sets the
// flags, VAEXPRS_ISA, the namespace, and VAEXPRS_ISA_NAME, its name for people.

#include "../kernel_tables.hpp"
#include "bernoulli.hpp"
#include "count_laws.hpp"
#include "fill.hpp"
#include "zigamma.hpp"

namespace vaexprs::VAEXPRS_ISA {

extern const Kernels kKernels;
const Kernels kKernels = {VAEXPRS_ISA_NAME,
                          sample_bernoulli,
                          sample_counts<PoissonLaw>,
                          sample_counts<NegativeBinomialLaw>,
                          sample_counts<ZeroInflatedLaw>,
                          sample_zigamma,
                          fill_uniform,
                          fill_normal};

}  // namespace vaexprs::VAEXPRS_ISA
