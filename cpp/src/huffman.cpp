#include "vaexprs/huffman.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace vaexprs {

namespace {

constexpr unsigned kLongest = 15;  // of any code of deflate

/// Depths of the leaves of Huffman's tree, for two frequencies or more, none smaller than the one
/// before it.
///
/// Nodes are made in the order of their frequencies, so that the two smallest wait at the head of
/// one of two queues: the leaves, and the nodes made so far (J. van Leeuwen, "On the construction
/// of Huffman trees", ICALP 1976, 382-410).
std::vector<unsigned> leaf_depths(const std::vector<std::uint64_t>& frequency) {
    const std::size_t n = frequency.size();
    std::vector<std::uint64_t> weight(frequency);
    std::vector<std::size_t> parent(2 * n - 1);
    std::size_t leaf = 0, inner = n;
    const auto take = [&] {
        const bool is_leaf = leaf < n && (inner == weight.size() || weight[leaf] <= weight[inner]);
        return is_leaf ? leaf++ : inner++;
    };
    while (weight.size() < 2 * n - 1) {
        const std::size_t a = take(), b = take();
        parent[a] = parent[b] = weight.size();
        weight.push_back(weight[a] + weight[b]);
    }
    std::vector<unsigned> depth(2 * n - 1, 0);
    for (std::size_t node = 2 * n - 2; node-- > 0;)
        depth[node] = depth[parent[node]] + 1;
    depth.resize(n);
    return depth;
}

}  // namespace

void huffman_lengths(std::span<const std::uint32_t> frequency, unsigned longest,
                     std::span<std::uint8_t> length) {
    std::fill(length.begin(), length.end(), std::uint8_t{0});
    std::vector<std::size_t> symbols;
    for (std::size_t symbol = 0; symbol < frequency.size(); ++symbol) {
        if (frequency[symbol] > 0) symbols.push_back(symbol);
    }
    if (symbols.size() < 2) {
        for (const std::size_t symbol : symbols)
            length[symbol] = 1;
        return;
    }
    std::stable_sort(symbols.begin(), symbols.end(),
                     [&](std::size_t a, std::size_t b) { return frequency[a] < frequency[b]; });
    std::vector<std::uint64_t> sorted;
    for (const std::size_t symbol : symbols)
        sorted.push_back(frequency[symbol]);
    std::vector<unsigned> depth = leaf_depths(sorted);
    while (*std::max_element(depth.begin(), depth.end()) > longest) {
        // Rounded up: all end at 1, where the tree is as flat as can be.
        for (std::uint64_t& count : sorted)
            count = (count + 1) / 2;
        depth = leaf_depths(sorted);
    }
    for (std::size_t i = 0; i < symbols.size(); ++i)
        length[symbols[i]] = static_cast<std::uint8_t>(depth[i]);
}

void huffman_words(std::span<const std::uint8_t> length, std::span<std::uint16_t> word) {
    std::array<unsigned, kLongest + 1> count{}, next{};
    for (const std::uint8_t bits : length)
        ++count[bits];
    count[0] = 0;
    for (unsigned bits = 1; bits <= kLongest; ++bits)
        next[bits] = (next[bits - 1] + count[bits - 1]) << 1;
    for (std::size_t symbol = 0; symbol < length.size(); ++symbol) {
        unsigned forward = length[symbol] == 0 ? 0 : next[length[symbol]]++, backward = 0;
        for (unsigned bit = 0; bit < length[symbol]; ++bit, forward >>= 1)
            backward = backward << 1 | (forward & 1u);
        word[symbol] = static_cast<std::uint16_t>(backward);
    }
}

}  // namespace vaexprs
