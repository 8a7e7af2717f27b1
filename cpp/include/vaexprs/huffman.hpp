// Prefix codes of a bounded length.

#pragma once

#include <cstdint>
#include <span>

namespace vaexprs {

/// Lengths in bits of a prefix code for symbols of those frequencies: 0 for symbols that do not
/// occur, at most `longest` for the others, of which 2^longest or fewer may occur.
///
/// The code is Huffman's; where that is too deep the frequencies are made more equal, by halves,
/// until it fits, which costs a fraction of a per cent. A lone symbol gets one bit.
void huffman_lengths(std::span<const std::uint32_t> frequency, unsigned longest,
                     std::span<std::uint8_t> length);

/// The canonical code of those lengths, each code word with its first bit lowest, as deflate sends
/// them (RFC 1951, section 3.2.2).
void huffman_words(std::span<const std::uint8_t> length, std::span<std::uint16_t> word);

}  // namespace vaexprs
