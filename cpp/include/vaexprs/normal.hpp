// Standard normals by the transformation of G. E. P. Box and M. E. Muller, "A note on the
// generation of random normal deviates", Annals of Mathematical Statistics 29 (1958) 610-611.

#pragma once

#include <cmath>
#include <cstdint>

#include "vaexprs/float_math.hpp"
#include "vaexprs/inline.hpp"
#include "vaexprs/streams.hpp"
#include "vaexprs/uniform.hpp"

namespace vaexprs {

template <class Float>
struct NormalPair {
    Float first, second;
};

/// Two independent float32 normals from two words; |z| <= 6.66, beyond which lies 3e-11.
template <class Float>
VAEXPRS_INLINE NormalPair<Float> box_muller(Unsigned<Float> radius_bits,
                                            Unsigned<Float> circle_bits) {
    using Traits = FloatTraits<Float>;
    // u is in (0, 1]: 31 bits, of which float32 keeps 24 that matter, most of them near 0, where
    // the tail of the normal comes from. The shift makes room for the sign of the conversion.
    const auto bits = __builtin_bit_cast(Signed<Float>, radius_bits >> 1);
    const Float log_u = log_float<-31>(Traits::convert(bits) + 0.5f);
    const Float radius = Traits::square_root(log_u * -2.0f);
    const Point<Float> point = circle_point<Float>(circle_bits);
    return {radius * point.x, radius * point.y};
}

/// Normal `site.index` of the row of tiled normals of a cell: words 0 and 1 of a block make the
/// normals at its positions 0 and 1, words 2 and 3 those at 2 and 3.
VAEXPRS_INLINE float tiled_normal(Site site, Purpose purpose) {
    const Site block{site.cell, tiled_block(site.index)};
    const Words<std::uint32_t> words = random_words(block, purpose);
    const std::uint32_t position = tiled_position(site.index);
    const NormalPair<float> pair = position < 2 ? box_muller<float>(words.w0, words.w1)
                                                : box_muller<float>(words.w2, words.w3);
    return position % 2 == 0 ? pair.first : pair.second;
}

}  // namespace vaexprs
