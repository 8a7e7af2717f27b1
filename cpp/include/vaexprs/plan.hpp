// Which group of a plan each cell belongs to.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaexprs {

/// Runs of groups: of an endless plan, shares of the unit interval; of a layout, runs of cells.
///
/// Cell i of an endless plan takes the group in whose share the point frac(offset + i phi) falls,
/// phi being the golden ratio: an additive recurrence (Weyl 1916) that fills the interval evenly,
/// so that any range of cells holds each group in proportion to its share.
struct Plan {
    bool endless;
    std::span<const std::uint64_t> bounds;  ///< upper, of shares times 2^64 or of runs; rising
    std::span<const std::int32_t> groups;   ///< of each run
};

/// Writes the groups of cells first_cell ... first_cell + n - 1. Past the end of a layout the last
/// run goes on.
void fill_groups(const Plan& plan, std::uint64_t seed, std::uint64_t first_cell, std::size_t n,
                 std::int32_t* out);

}  // namespace vaexprs
