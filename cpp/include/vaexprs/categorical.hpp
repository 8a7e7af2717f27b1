#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vaexprs/streams.hpp"

namespace vaexprs {

/// Running sums of weights within each group offsets[g] ... offsets[g + 1] - 1.
std::vector<double> cumulative_weights(std::span<const double> weights,
                                       std::span<const std::int64_t> offsets);

/// A category with probability proportional to its weight, by inversion of one uniform; a category
/// of weight 0 is never drawn. The last entry of `cumulative` must be positive.
std::size_t draw_category(Site site, Purpose purpose, std::span<const double> cumulative);

}  // namespace vaexprs
