// From random words to uniforms. Every conversion says which values can occur.

#pragma once

#include <cstdint>

#include "vaexprs/inline.hpp"
#include "vaexprs/streams.hpp"

namespace vaexprs {

/// float64 in the open interval: the 2^52 odd multiples of 2^-53, from 2^-53 to 1 - 2^-53.
VAEXPRS_INLINE double uniform_double(std::uint32_t high, std::uint32_t low) {
    const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 12;
    return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

/// The uniform that decides an observation, in (0, 1]: small means a large value.
///
/// One byte is shared out by tile, so that a filter can look at 256 genes at a time; the next 64
/// bits belong to the gene alone. 72 bits together, rounded to float64: tails keep their relative
/// precision down to 2^-73.
VAEXPRS_INLINE double observation_uniform(Site site) {
    const std::uint32_t byte = tiled_byte(site, Purpose::observation);
    const Words<std::uint32_t> words = random_words(site, Purpose::refinement);
    return static_cast<double>(byte) * 0x1p-8 + static_cast<double>(words.w0) * 0x1p-40 +
           (static_cast<double>(words.w1) + 0.5) * 0x1p-72;
}

}  // namespace vaexprs
