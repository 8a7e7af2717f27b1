// Which group of a plan each cell belongs to.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaexprs {

/// Cells whose groups are shuffled among themselves.
inline constexpr std::uint32_t kShuffled = 256;

/// Runs of groups: of an endless plan, shares of the unit interval; of a layout, runs of cells.
///
/// An endless plan is stratified. The points frac(offset + i phi), phi being the golden ratio, fill
/// the interval evenly (Weyl 1916), and each takes the group in whose share it falls. Within each
/// window of kShuffled cells the points are dealt out at random, so that a cell's group says
/// nothing of the groups of cells a fixed distance away. So any range of cells holds each group in
/// proportion to its share, but for chance in the two windows at its ends.
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
