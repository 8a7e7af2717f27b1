// From counts to the values of data that were scaled to a common sum per cell and logged.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vaexprs/run.hpp"

namespace vaexprs {

/// A value k of a cell whose values sum to n becomes s = k exp(t) / n, and then
/// log(s + pseudocount) / log(log_base) where there is a base. The log sum t is
/// log_sum + slope (log n - centre) + deviation e, with one standard normal e for a cell.
struct Normalisation {
    float log_base = 0.0f;  ///< 0: no logarithm
    float pseudocount = 0.0f;
    float log_sum = 0.0f;
    float slope = 0.0f;
    float deviation = 0.0f;
    float centre = 0.0f;
};

/// Maps the values of each row, data[indptr[i] ... indptr[i + 1]), in place; zeros stay zeros.
void normalise(std::span<float> data, std::span<const std::int64_t> indptr,
               const Normalisation& normalisation, const Run& run);

}  // namespace vaexprs
