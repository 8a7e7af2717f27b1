#pragma once

#include <cstddef>
#include <span>

#include "vaexprs/streams.hpp"

namespace vaexprs {

/// A category with probability proportional to its weight, by inversion of one uniform; a category
/// of weight 0 is never drawn. The last entry of `cumulative` must be positive.
std::size_t draw_category(Site site, Purpose purpose, std::span<const double> cumulative);

}  // namespace vaexprs
