// Rows of uniforms and of gamma variates: the distributions by themselves.

#pragma once

#include <cstddef>
#include <cstdint>

#include "vaexprs/run.hpp"
#include "vaexprs/streams.hpp"

namespace vaexprs {

/// float32 uniforms in the open interval, n_cells x n; support as uniform_float says.
void fill_uniform(float* out, std::size_t n_cells, std::uint32_t n, Purpose purpose,
                  const Run& run);

/// float64 uniforms in the open interval, n_cells x n; support as uniform_double says.
void fill_uniform(double* out, std::size_t n_cells, std::uint32_t n, Purpose purpose,
                  const Run& run);

/// Gamma variates of the given shapes and scale 1, n_cells x n.
void fill_gamma(const double* shape, double* out, std::size_t n_cells, std::uint32_t n,
                const Run& run);

}  // namespace vaexprs
