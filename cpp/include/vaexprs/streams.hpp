// Where a draw happens, and the random words that belong there.
//
// A draw is a pure function of (seed, stream; cell, index, purpose, attempt): seed, purpose and
// stream are the key of Threefry, the rest is its counter. No state is carried, so that nothing
// depends on the order, the threads, or the blocks in which cells are made.

#pragma once

#include <cstdint>

#include "vaexprs/inline.hpp"
#include "vaexprs/threefry.hpp"

namespace vaexprs {

/// Streams that never share a word. The numbers are part of the contract: a change changes cells.
enum class Purpose : std::uint32_t {
    latent = 1,         ///< noise of the latent variables
    component = 2,      ///< which component of a mixture
    library = 3,        ///< noise of the library size
    observation = 4,    ///< first bits of an observation, or its normal noise
    refinement = 5,     ///< further bits of an observation
    gamma = 6,          ///< attempts at a gamma variate
    poisson = 7,        ///< attempts at a Poisson variate
    condition = 8,      ///< where the sequence of conditions starts
    normalisation = 9,  ///< noise of the sum that a cell is scaled to
};

/// Stream of cells without conditions, and of what belongs to no cell: "vaex".
inline constexpr std::uint32_t kPlainStream = 0x76616578u;

/// A cell: global index, and the stream of its combination of categories.
struct Cell {
    std::uint64_t seed;
    std::uint64_t index;
    std::uint32_t stream = kPlainStream;
};

/// A place in the data: a cell, and a gene, a latent variable or 0.
struct Site {
    Cell cell;
    std::uint32_t index;
};

VAEXPRS_INLINE ThreefryKey stream_key(const Cell& cell, Purpose purpose) {
    return {static_cast<std::uint32_t>(cell.seed), static_cast<std::uint32_t>(cell.seed >> 32),
            static_cast<std::uint32_t>(purpose), cell.stream};
}

VAEXPRS_INLINE Words<std::uint32_t> random_words(Site site, Purpose purpose,
                                                 std::uint32_t attempt = 0) {
    return threefry4x32(static_cast<std::uint32_t>(site.cell.index),
                        static_cast<std::uint32_t>(site.cell.index >> 32), site.index, attempt,
                        stream_key(site.cell, purpose));
}

// Consecutive entries of a row share Threefry blocks, laid out so that sixteen blocks computed
// side by side can be stored as they are. Tile t is made of the blocks 16 t ... 16 t + 15; its
// first words come first, then its second words, and so on:
//
//     words  0 ... 15    word 0 of blocks 16 t ... 16 t + 15
//     words 16 ... 31    word 1 of the same blocks ...
//
// and the bytes of a tile are the bytes of these 64 words, little end first. The layout does not
// depend on the width of the vectors that compute it.
inline constexpr std::uint32_t kTileBlocks = 16;
inline constexpr std::uint32_t kTileWords = 64;
inline constexpr std::uint32_t kTileBytes = 256;

VAEXPRS_INLINE std::uint32_t word_of(const Words<std::uint32_t>& words, std::uint32_t which) {
    return which == 0 ? words.w0 : which == 1 ? words.w1 : which == 2 ? words.w2 : words.w3;
}

/// The block that holds word `index` of a row of tiled words.
VAEXPRS_INLINE std::uint32_t tiled_block(std::uint32_t index) {
    return index / kTileWords * kTileBlocks + index % kTileBlocks;
}

/// Which of the four words of that block it is.
VAEXPRS_INLINE std::uint32_t tiled_position(std::uint32_t index) {
    return index % kTileWords / kTileBlocks;
}

/// Word `site.index` of the row of tiled words of a cell.
VAEXPRS_INLINE std::uint32_t tiled_word(Site site, Purpose purpose) {
    const Site block{site.cell, tiled_block(site.index)};
    return word_of(random_words(block, purpose), tiled_position(site.index));
}

/// Byte `site.index` of the row of tiled bytes of a cell.
VAEXPRS_INLINE std::uint32_t tiled_byte(Site site, Purpose purpose) {
    const Site word{site.cell, site.index / 4};
    return (tiled_word(word, purpose) >> (8 * (site.index % 4))) & 0xFFu;
}

}  // namespace vaexprs
