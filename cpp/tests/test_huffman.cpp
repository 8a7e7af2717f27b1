// Prefix codes: complete, bounded, and as short as they can be.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vaexprs/huffman.hpp"

#include "check.hpp"

namespace vaexprs::tests {

namespace {

std::vector<std::uint8_t> lengths_of(const std::vector<std::uint32_t>& frequency,
                                     unsigned longest) {
    std::vector<std::uint8_t> length(frequency.size());
    huffman_lengths(frequency, longest, length);
    return length;
}

/// What the code words leave of all words of 15 bits: 0 for a complete code.
int left_over(const std::vector<std::uint8_t>& length) {
    int left = 1 << 15;
    for (const std::uint8_t bits : length)
        left -= bits > 0 ? 1 << (15 - bits) : 0;
    return left;
}

void huffmans_own_example() {
    // D. A. Huffman, "A method for the construction of minimum-redundancy codes", Proc. IRE 40
    // (1952) 1098-1101, table I; frequencies in hundredths, 3.42 bits on average.
    const std::vector<std::uint32_t> frequency{20, 18, 10, 10, 10, 6, 6, 4, 4, 4, 4, 3, 1};
    const std::vector<std::uint8_t> length = lengths_of(frequency, 15);
    std::uint32_t total = 0;
    for (std::size_t i = 0; i < frequency.size(); ++i)
        total += frequency[i] * length[i];
    CHECK(total == 342);
    CHECK(left_over(length) == 0);
}

void few_symbols() {
    CHECK(lengths_of({0, 0, 0}, 14) == std::vector<std::uint8_t>({0, 0, 0}));
    CHECK(lengths_of({0, 9, 0}, 14) == std::vector<std::uint8_t>({0, 1, 0}));
    CHECK(lengths_of({5, 0, 9000}, 14) == std::vector<std::uint8_t>({1, 0, 1}));
}

void no_code_is_too_long() {
    std::vector<std::uint32_t> fibonacci{1, 1};
    while (fibonacci.size() < 40)
        fibonacci.push_back(fibonacci.back() + fibonacci[fibonacci.size() - 2]);
    for (unsigned longest = 6; longest <= 15; ++longest) {
        const std::vector<std::uint8_t> length = lengths_of(fibonacci, longest);
        CHECK(left_over(length) == 0);
        for (const std::uint8_t bits : length)
            CHECK(bits >= 1 && bits <= longest);
    }
    const std::vector<std::uint32_t> all(1 << 6, 0xFFFFFFFFu);
    CHECK(lengths_of(all, 6) == std::vector<std::uint8_t>(1 << 6, 6));
    // As many as fit, of frequencies that Huffman's tree tells apart by a level.
    std::vector<std::uint32_t> ones_and_twos(1 << 6, 1);
    std::fill(ones_and_twos.begin() + 32, ones_and_twos.end(), 2);
    CHECK(lengths_of(ones_and_twos, 6) == std::vector<std::uint8_t>(1 << 6, 6));
}

void words_of_the_standards_example() {
    // RFC 1951, section 3.2.2, with the bits in the order in which they are sent.
    const std::array<std::uint8_t, 8> length{3, 3, 3, 3, 3, 2, 4, 4};
    const std::array<std::uint16_t, 8> expected{0b010, 0b110, 0b001,  0b101,
                                                0b011, 0b00,  0b0111, 0b1111};
    std::array<std::uint16_t, 8> word;
    huffman_words(length, word);
    CHECK(word == expected);
}

}  // namespace

}  // namespace vaexprs::tests

int main() {
    using namespace vaexprs::tests;
    return run_all({{"Huffman's own example", huffmans_own_example},
                    {"few symbols", few_symbols},
                    {"no code is too long", no_code_is_too_long},
                    {"words of the standard's example", words_of_the_standards_example}});
}
