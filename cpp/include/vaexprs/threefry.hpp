// Threefry4x32 with 20 rounds: four random words as a pure function of a counter and a key.
//
// J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011. Rotations and the parity constant are those of that paper; its published known
// answers are in the tests.
//
// `Word` is std::uint32_t, or a vector of them: then each lane computes a block of its own.

#pragma once

#include <cstdint>

#include "vaexprs/inline.hpp"

namespace vaexprs {

template <class Word>
struct Words {
    Word w0, w1, w2, w3;
};

struct ThreefryKey {
    std::uint32_t k0, k1, k2, k3;
};

template <int kBits, class Word>
VAEXPRS_INLINE Word rotate_left(Word x) {
    return (x << kBits) | (x >> (32 - kBits));
}

template <int kFirst, int kSecond, class Word>
VAEXPRS_INLINE void threefry_mix(Word& a, Word& b, Word& c, Word& d) {
    a += b;
    b = rotate_left<kFirst>(b) ^ a;
    c += d;
    d = rotate_left<kSecond>(d) ^ c;
}

template <class Word>
VAEXPRS_INLINE Words<Word> threefry4x32(Word c0, Word c1, Word c2, Word c3, ThreefryKey key) {
    const std::uint32_t k0 = key.k0, k1 = key.k1, k2 = key.k2, k3 = key.k3;
    const std::uint32_t k4 = 0x1BD11BDAu ^ k0 ^ k1 ^ k2 ^ k3;
    Word x0 = c0 + k0, x1 = c1 + k1, x2 = c2 + k2, x3 = c3 + k3;

    // Four rounds with one half of the rotation table, then a key injection.
    const auto even_rounds = [&]() {
        threefry_mix<10, 26>(x0, x1, x2, x3);
        threefry_mix<11, 21>(x0, x3, x2, x1);
        threefry_mix<13, 27>(x0, x1, x2, x3);
        threefry_mix<23, 5>(x0, x3, x2, x1);
    };
    const auto odd_rounds = [&]() {
        threefry_mix<6, 20>(x0, x1, x2, x3);
        threefry_mix<17, 11>(x0, x3, x2, x1);
        threefry_mix<25, 10>(x0, x1, x2, x3);
        threefry_mix<18, 20>(x0, x3, x2, x1);
    };
    even_rounds();
    x0 += k1, x1 += k2, x2 += k3, x3 += k4 + 1u;
    odd_rounds();
    x0 += k2, x1 += k3, x2 += k4, x3 += k0 + 2u;
    even_rounds();
    x0 += k3, x1 += k4, x2 += k0, x3 += k1 + 3u;
    odd_rounds();
    x0 += k4, x1 += k0, x2 += k1, x3 += k2 + 4u;
    even_rounds();
    x0 += k0, x1 += k1, x2 += k2, x3 += k3 + 5u;
    return {x0, x1, x2, x3};
}

}  // namespace vaexprs
