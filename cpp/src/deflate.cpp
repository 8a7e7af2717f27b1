#include "vaexprs/deflate.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "vaexprs/huffman.hpp"

namespace vaexprs {

namespace {

// The alphabet: 256 bytes, the end of the block, and 29 groups of lengths of a copy. A run is its
// first byte and copies of what is one byte back.
constexpr std::size_t kEnd = 256, kFirstGroup = 257, kSymbols = 286;
constexpr std::size_t kShortestCopy = 3, kLongestCopy = 258;
/// Four codes of so many bits, and the bits of a byte begun, fit in 64.
constexpr unsigned kLongestCode = 14;
constexpr std::size_t kLargestStored = 0xFFFF;

static_assert(std::endian::native == std::endian::little, "words hold the first byte lowest");

struct CopyLength {
    std::uint16_t symbol;
    std::uint8_t extra_bits, extra;
};

/// Length -> symbol and what follows it (RFC 1951, section 3.2.5).
constexpr std::array<CopyLength, kLongestCopy + 1> make_copy_lengths() {
    std::array<CopyLength, kLongestCopy + 1> table{};
    std::size_t length = kShortestCopy;
    std::uint16_t symbol = kFirstGroup;
    for (; length < kLongestCopy; ++symbol) {
        // Eight groups of one length each, then four of 2, four of 4, and so on.
        const unsigned group = symbol - static_cast<unsigned>(kFirstGroup);
        const unsigned bits = group < 8 ? 0 : (group - 4) / 4;
        for (unsigned extra = 0; extra < 1u << bits && length < kLongestCopy; ++extra, ++length) {
            table[length] = {symbol, static_cast<std::uint8_t>(bits),
                             static_cast<std::uint8_t>(extra)};
        }
    }
    table[kLongestCopy] = {static_cast<std::uint16_t>(kSymbols - 1), 0, 0};
    return table;
}

constexpr std::array<CopyLength, kLongestCopy + 1> kCopyLengths = make_copy_lengths();

template <class Word>
Word load(const std::uint8_t* from) {
    Word word;
    std::memcpy(&word, from, sizeof word);
    return word;
}

/// Where bytes cease to be like those of `word`, all of whose bytes are equal: at `end` or before.
template <class Word>
const std::uint8_t* end_of_run(const std::uint8_t* at, const std::uint8_t* end, Word word) {
    constexpr std::ptrdiff_t kSize = sizeof(Word);
    const auto differ = [&](std::ptrdiff_t i) { return load<Word>(at + i * kSize) ^ word; };
    while (end - at >= 4 * kSize && (differ(0) | differ(1) | differ(2) | differ(3)) == 0)
        at += 4 * kSize;
    for (; end - at >= kSize; at += kSize) {
        if (differ(0) != 0) return at + std::countr_zero(static_cast<Word>(differ(0))) / 8;
    }
    while (at < end && *at == static_cast<std::uint8_t>(word))
        ++at;
    return at;
}

/// Where a run that goes on at `at` began: at `begin` or behind it.
template <class Word>
const std::uint8_t* begin_of_run(const std::uint8_t* at, const std::uint8_t* begin, Word word) {
    constexpr std::ptrdiff_t kSize = sizeof(Word);
    if (at - begin >= kSize) {
        // It is less than a word back, or that word would have been found.
        const auto different = static_cast<Word>(load<Word>(at - kSize) ^ word);
        return at - std::countl_zero(different) / 8;
    }
    while (at > begin && at[-1] == static_cast<std::uint8_t>(word))
        --at;
    return at;
}

/// Calls literals(first, last) for bytes to be told one by one, and copies(n) for n more of the
/// byte before, in order.
///
/// A run is found by words of equal bytes: eight bytes are looked at in as many instructions as
/// one. Runs shorter than two words may be missed, and are literals.
template <class Word, class Literals, class Copies>
void tell_pieces(std::span<const std::uint8_t> bytes, const Literals& literals,
                 const Copies& copies) {
    constexpr std::ptrdiff_t kSize = sizeof(Word);
    const std::uint8_t* const end = bytes.data() + bytes.size();
    const std::uint8_t *untold = bytes.data(), *at = untold;
    while (end - at >= kSize) {
        const auto word = load<Word>(at);
        if (word != std::rotl(word, 8)) {
            at += kSize;
            continue;
        }
        const std::uint8_t* const first = begin_of_run(at, untold, word);
        at = end_of_run(at + kSize, end, word);
        literals(untold, first + 1);
        copies(static_cast<std::size_t>(at - first) - 1);
        untold = at;
    }
    literals(untold, end);
}

/// Calls copy(length) for the pieces of a run that one code each can tell.
template <class Copy>
void cut_run(std::size_t n, const Copy& copy) {
    while (n > 0) {
        std::size_t length = std::min(n, kLongestCopy);
        // What is left is nothing or long enough to be told.
        if (n > length && n - length < kShortestCopy) length -= kShortestCopy;
        copy(length);
        n -= length;
    }
}

/// The code of one plane, and how long it comes out.
struct Plan {
    std::array<std::uint8_t, kSymbols> length{};
    std::size_t n_bits = 0, n_literals = 0, literal_bits = 0;
};

template <class Word>
Plan make_plan(std::span<const std::uint8_t> bytes) {
    // Eight counters of each byte: one would wait for itself where a byte comes twice.
    constexpr std::size_t kCounters = 8;
    std::array<std::array<std::uint32_t, 256>, kCounters> count{};
    std::array<std::uint32_t, kSymbols> frequency{};
    std::size_t extra_bits = 0;
    tell_pieces<Word>(
        bytes,
        [&](const std::uint8_t* at, const std::uint8_t* last) {
            for (; last - at >= std::ptrdiff_t{kCounters}; at += kCounters) {
                for (std::size_t k = 0; k < kCounters; ++k)
                    ++count[k][at[k]];
            }
            for (; at < last; ++at)
                ++count[0][*at];
        },
        [&](std::size_t n) {
            cut_run(n, [&](std::size_t length) {
                ++frequency[kCopyLengths[length].symbol];
                extra_bits += kCopyLengths[length].extra_bits + 1u;  // and one for the distance
            });
        });
    for (const auto& counter : count) {
        for (std::size_t byte = 0; byte < 256; ++byte)
            frequency[byte] += counter[byte];
    }
    frequency[kEnd] = 1;

    Plan plan;
    huffman_lengths(frequency, kLongestCode, plan.length);
    plan.n_bits = extra_bits;
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
        plan.n_bits += std::size_t{frequency[symbol]} * plan.length[symbol];
        if (symbol == kEnd - 1) plan.literal_bits = plan.n_bits - extra_bits;
        if (symbol < kEnd) plan.n_literals += frequency[symbol];
    }
    return plan;
}

/// Bits, first ones lowest, into memory that has room for them and eight bytes more.
class BitWriter {
  public:
    explicit BitWriter(std::uint8_t* to) : to_(to) {}

    void put(std::uint64_t bits, unsigned n) {
        bits_ |= bits << n_;
        n_ += n;
    }
    /// Moves whole bytes to memory, so that 57 bits can be put.
    void flush() {
        std::memcpy(to_, &bits_, sizeof bits_);
        to_ += n_ / 8;
        bits_ >>= n_ & ~7u;
        n_ &= 7u;
    }
    /// Fills up the byte begun and returns where the next one goes.
    std::uint8_t* finish() {
        n_ = (n_ + 7u) & ~7u;
        flush();
        return to_;
    }

  private:
    std::uint8_t* to_;
    std::uint64_t bits_ = 0;
    unsigned n_ = 0;
};

/// For each symbol its code word, above the length of it in eight bits.
class CodeTable {
  public:
    explicit CodeTable(const Plan& plan) {
        std::array<std::uint16_t, kSymbols> word;
        huffman_words(plan.length, word);
        for (std::size_t symbol = 0; symbol < kSymbols; ++symbol)
            entry_[symbol] = std::uint32_t{word[symbol]} << 8 | plan.length[symbol];
    }
    void put(BitWriter& out, std::size_t symbol) const {
        out.put(entry_[symbol] >> 8, entry_[symbol] & 0xFFu);
    }
    /// Puts four bytes: joined by twos beside what the writer is at, which then has one step to
    /// take for four. (Measured: half the time for values of counts.)
    void put_four(BitWriter& out, const std::uint8_t* at) const {
        const std::uint64_t a = entry_[at[0]], b = entry_[at[1]];
        const std::uint64_t c = entry_[at[2]], d = entry_[at[3]];
        const std::uint64_t ab = a >> 8 | b >> 8 << (a & 63), cd = c >> 8 | d >> 8 << (c & 63);
        out.put(ab | cd << ((a + b) & 63), (a + b + c + d) & 63);
    }

  private:
    std::array<std::uint32_t, kSymbols> entry_;
};

constexpr std::size_t kHeaderBits = 3 + 14 + 19 * 3 + 4 * (kSymbols + 2);
constexpr std::size_t kEmptyStored = 5;

/// The header of a block with codes of its own (RFC 1951, section 3.2.7).
///
/// The lengths of the codes go out in four bits each. They could be packed, from 150 bytes to some
/// 30; a plane has a hundred thousand.
void put_header(BitWriter& out, const Plan& plan) {
    constexpr std::uint8_t kOrder[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                         11, 4,  12, 3, 13, 2, 14, 1, 15};
    out.put(0b100, 3);  // not the last; codes follow
    out.put(kSymbols - 257, 5);
    out.put(2 - 1, 5);  // two distances, of which the first is used
    out.put(19 - 4, 4);
    out.flush();
    for (const std::uint8_t which : kOrder) {
        out.put(which < 16 ? 4 : 0, 3);
        out.flush();
    }
    // Sixteen codes of four bits are the numbers from 0 to 15, first bit highest.
    const auto put_length = [&](unsigned length) {
        out.put((length & 1) << 3 | (length & 2) << 1 | (length & 4) >> 1 | length >> 3, 4);
        out.flush();
    };
    for (const std::uint8_t length : plan.length)
        put_length(length);
    put_length(1);
    put_length(1);
}

template <class Word>
std::uint8_t* put_coded(std::span<const std::uint8_t> bytes, const Plan& plan, std::uint8_t* to) {
    BitWriter out(to);
    put_header(out, plan);
    const CodeTable code(plan);
    tell_pieces<Word>(
        bytes,
        [&](const std::uint8_t* at, const std::uint8_t* last) {
            // A copy, so that what is written is not feared to change the writer itself.
            BitWriter own = out;
            for (; last - at >= 4; at += 4) {
                code.put_four(own, at);
                own.flush();
            }
            for (; at < last; ++at) {
                code.put(own, *at);
                own.flush();
            }
            out = own;
        },
        [&](std::size_t n) {
            cut_run(n, [&](std::size_t length) {
                const CopyLength copy = kCopyLengths[length];
                code.put(out, copy.symbol);
                out.put(copy.extra, copy.extra_bits + 1u);  // and the distance, which is 0
                out.flush();
            });
        });
    code.put(out, kEnd);
    out.put(0, 3);  // a stored block, of nothing, which begins on a whole byte
    to = out.finish();
    constexpr std::uint8_t kNothing[] = {0x00, 0x00, 0xFF, 0xFF};
    return std::copy(std::begin(kNothing), std::end(kNothing), to);
}

std::size_t stored_size(std::size_t n) {
    return n + 5 * ((n + kLargestStored - 1) / kLargestStored);
}

void put_stored(std::span<const std::uint8_t> bytes, std::uint8_t* to) {
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), kLargestStored))) {
        const std::size_t length = std::min(bytes.size(), kLargestStored);
        // Not the last and not coded; the length, and again with all bits turned.
        const std::size_t header[] = {0, length, length >> 8, ~length, ~length >> 8};
        for (const std::size_t byte : header)
            *to++ = static_cast<std::uint8_t>(byte);
        to = std::copy_n(bytes.data(), length, to);
    }
}

}  // namespace

std::string deflate_plane(std::span<const std::uint8_t> bytes) {
    // Runs that are found by eights are always worth telling as runs. Shorter ones are where bytes
    // cost many bits (those of indices of few non-zeros, say).
    constexpr std::size_t kManyBits = 3;
    Plan plan = make_plan<std::uint64_t>(bytes);
    bool short_runs = false;
    if (plan.literal_bits > kManyBits * plan.n_literals && plan.n_literals > bytes.size() / 8) {
        const Plan other = make_plan<std::uint32_t>(bytes);
        short_runs = other.n_bits < plan.n_bits;
        if (short_runs) plan = other;
    }
    const std::size_t coded = (kHeaderBits + plan.n_bits + 7) / 8 + kEmptyStored;
    const std::size_t stored = stored_size(bytes.size());
    std::string out;
    if (stored <= coded) {
        out.resize(stored);
        put_stored(bytes, reinterpret_cast<std::uint8_t*>(out.data()));
        return out;
    }
    out.resize(coded + sizeof(std::uint64_t));
    auto* begin = reinterpret_cast<std::uint8_t*>(out.data());
    const std::uint8_t* end = short_runs ? put_coded<std::uint32_t>(bytes, plan, begin)
                                         : put_coded<std::uint64_t>(bytes, plan, begin);
    out.resize(static_cast<std::size_t>(end - begin));
    return out;
}

void split_into_planes(std::span<const std::uint32_t> words, std::uint8_t* planes,
                       std::size_t stride) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        for (std::size_t k = 0; k < sizeof(std::uint32_t); ++k)
            planes[k * stride + i] = static_cast<std::uint8_t>(words[i] >> 8 * k);
    }
}

}  // namespace vaexprs
