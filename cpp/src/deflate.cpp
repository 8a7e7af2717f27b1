#include "vaexprs/deflate.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "vaexprs/huffman.hpp"

namespace vaexprs {

namespace {

// The alphabet: 256 bytes, the end of the block, and 29 groups of lengths of a copy. A run is its
// first byte and copies of what is one byte back.
constexpr std::size_t kEnd = 256, kFirstGroup = 257, kSymbols = 286;
constexpr std::size_t kShortestCopy = 3, kLongestCopy = 258;
/// Four codes of so many bits, and the bits of a byte begun, fit in 64; two of them, and how long
/// they are together, in 32.
constexpr unsigned kLongestCode = 13;
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

/// Bytes to be told one by one, and then so many more of the last of them.
struct Piece {
    std::uint32_t n_literals, n_copies;
};
using Pieces = std::vector<Piece>;

/// Finds the runs by words of equal bytes: eight bytes are looked at in as many instructions as
/// one. Runs shorter than two words may be missed, and are literals.
template <class Word>
Pieces find_runs(std::span<const std::uint8_t> bytes) {
    constexpr std::ptrdiff_t kSize = sizeof(Word);
    Pieces pieces;
    const std::uint8_t* const end = bytes.data() + bytes.size();
    const std::uint8_t *untold = bytes.data(), *at = untold;
    const auto tell = [&](const std::uint8_t* literals_end, const std::uint8_t* copies_end) {
        pieces.push_back({static_cast<std::uint32_t>(literals_end - untold),
                          static_cast<std::uint32_t>(copies_end - literals_end)});
        untold = copies_end;
    };
    while (end - at >= kSize) {
        const auto word = load<Word>(at);
        if (word != std::rotl(word, 8)) {
            at += kSize;
            continue;
        }
        const std::uint8_t* const first = begin_of_run(at, untold, word);
        at = end_of_run(at + kSize, end, word);
        tell(first + 1, at);
    }
    tell(end, end);
    return pieces;
}

/// About how many words there are of equal bytes, from one word in four.
std::size_t count_equal_words(std::span<const std::uint8_t> bytes) {
    constexpr std::size_t kSize = sizeof(std::uint64_t), kOneIn = 4;
    std::size_t n = 0;
    for (std::size_t i = 0; i + kSize <= bytes.size(); i += kOneIn * kSize) {
        const auto word = load<std::uint64_t>(bytes.data() + i);
        n += word == std::rotl(word, 8);
    }
    return kOneIn * n;
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

/// What one plane is told by, and how long it comes out.
struct Plan {
    Pieces pieces;
    std::array<std::uint8_t, kSymbols> length{};
    std::size_t n_bits = 0, n_literals = 0, literal_bits = 0;
};

/// Counts single bytes.
class ByteCounter {
  public:
    void add(const std::uint8_t* at, const std::uint8_t* last) {
        for (; last - at >= std::ptrdiff_t{kCounters}; at += kCounters) {
            for (std::size_t k = 0; k < kCounters; ++k)
                ++count_[k][at[k]];
        }
        for (; at < last; ++at)
            ++count_[0][*at];
    }
    std::uint32_t of(std::size_t byte) const {
        std::uint32_t n = 0;
        for (const auto& counter : count_)
            n += counter[byte];
        return n;
    }

  private:
    // Eight counters of each byte: one would wait for itself where a byte comes twice.
    static constexpr std::size_t kCounters = 8;
    std::array<std::array<std::uint32_t, 256>, kCounters> count_{};
};

Plan make_plan(std::span<const std::uint8_t> bytes, Pieces pieces) {
    ByteCounter literals;
    std::array<std::uint32_t, kSymbols> frequency{};
    std::size_t extra_bits = 0;
    const std::uint8_t* at = bytes.data();
    for (const Piece& piece : pieces) {
        literals.add(at, at + piece.n_literals);
        at += piece.n_literals + piece.n_copies;
        cut_run(piece.n_copies, [&](std::size_t length) {
            ++frequency[kCopyLengths[length].symbol];
            extra_bits += kCopyLengths[length].extra_bits + 1u;  // and one for the distance
        });
    }
    for (std::size_t byte = 0; byte < kEnd; ++byte)
        frequency[byte] = literals.of(byte);
    frequency[kEnd] = 1;

    Plan plan{std::move(pieces)};
    huffman_lengths(frequency, kLongestCode, plan.length);
    plan.n_bits = extra_bits;
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
        plan.n_bits += std::size_t{frequency[symbol]} * plan.length[symbol];
        if (symbol == kEnd - 1) plan.literal_bits = plan.n_bits - extra_bits;
        if (symbol < kEnd) plan.n_literals += frequency[symbol];
    }
    return plan;
}

/// Finds what a plane is best told by.
Plan find_plan(std::span<const std::uint8_t> bytes) {
    // A word of equal bytes saves what its bytes cost, less what a copy costs, which is some ten
    // bits. Where words save a fiftieth together, or less, it is not worth the time: bytes in no
    // order begin and end runs where the processor does not expect it. (Measured on the two upper
    // bytes of counts: two thirds of the time without the runs, and the size within 0.5 %.)
    constexpr std::size_t kCopyBits = 10, kWorth = 50;
    const std::size_t n_equal = count_equal_words(bytes), n = bytes.size();
    Plan plan;
    bool has_runs = n_equal * sizeof(std::uint64_t) > n / 2;
    if (!has_runs) {
        plan = make_plan(bytes, {{static_cast<std::uint32_t>(n), 0}});
        const std::size_t word_bits =
            sizeof(std::uint64_t) * plan.n_bits / std::max(n, std::size_t{1});
        has_runs =
            word_bits > kCopyBits && n_equal * (word_bits - kCopyBits) > plan.n_bits / kWorth;
    }
    if (has_runs) plan = make_plan(bytes, find_runs<std::uint64_t>(bytes));
    // Shorter runs are worth it where bytes cost many bits (those of indices of few non-zeros,
    // say).
    constexpr std::size_t kManyBits = 3;
    if (plan.literal_bits > kManyBits * plan.n_literals && plan.n_literals > n / 8) {
        Plan other = make_plan(bytes, find_runs<std::uint32_t>(bytes));
        if (other.n_bits < plan.n_bits) return other;
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

/// For each symbol its code word, above the length of it in five bits; and so for two bytes.
class CodeTable {
  public:
    explicit CodeTable(const Plan& plan) {
        std::array<std::uint16_t, kSymbols> word;
        huffman_words(plan.length, word);
        for (std::size_t symbol = 0; symbol < kSymbols; ++symbol)
            entry_[symbol] = std::uint32_t{word[symbol]} << kLengthBits | plan.length[symbol];
        make_pairs(plan);
    }
    void put(BitWriter& out, std::size_t symbol) const { put_entry(out, entry_[symbol]); }

    /// Puts bytes: four in one step of the writer, looked up by twos. (Measured for counts: 0.45 ns
    /// a byte; looked up one by one and joined, 0.73.)
    void put(BitWriter& out, const std::uint8_t* at, const std::uint8_t* last) const {
        // A copy, so that what is written is not feared to change the writer itself.
        BitWriter own = out;
        for (; pairs_ != nullptr && last - at >= 4; at += 4) {
            const std::uint64_t a = pairs_[load<std::uint16_t>(at)];
            const std::uint64_t b = pairs_[load<std::uint16_t>(at + 2)];
            const std::uint64_t bits = a >> kLengthBits | b >> kLengthBits << length_of(a);
            own.put(bits, length_of(a) + length_of(b));
            own.flush();
        }
        for (; at < last; ++at) {
            put(own, *at);
            own.flush();
        }
        out = own;
    }

  private:
    static constexpr unsigned kLengthBits = 5;
    static_assert(2 * kLongestCode < 1u << kLengthBits && 2 * kLongestCode + kLengthBits <= 32);

    template <class Entry>
    static unsigned length_of(Entry entry) {
        return static_cast<unsigned>(entry) & ((1u << kLengthBits) - 1);
    }
    static void put_entry(BitWriter& out, std::uint32_t entry) {
        out.put(entry >> kLengthBits, length_of(entry));
    }
    /// Makes the entries of two bytes, unless it would take longer than it saves.
    void make_pairs(const Plan& plan) {
        std::array<std::uint8_t, 256> bytes;
        std::size_t n = 0;
        for (std::size_t byte = 0; byte < kEnd; ++byte) {
            if (plan.length[byte] > 0) bytes[n++] = static_cast<std::uint8_t>(byte);
        }
        if (n * n > plan.n_literals / 4) return;
        // Kept by the thread, and never cleared: no other entries are looked at.
        thread_local std::vector<std::uint32_t> pairs(std::size_t{1} << 16);
        for (std::size_t i = 0; i < n; ++i) {
            const std::uint32_t second = entry_[bytes[i]];
            for (std::size_t k = 0; k < n; ++k) {
                const std::uint32_t first = entry_[bytes[k]];
                const std::uint32_t words =
                    first >> kLengthBits | second >> kLengthBits << length_of(first);
                pairs[std::size_t{bytes[i]} << 8 | bytes[k]] =
                    words << kLengthBits | (length_of(first) + length_of(second));
            }
        }
        pairs_ = pairs.data();
    }

    std::array<std::uint32_t, kSymbols> entry_;
    const std::uint32_t* pairs_ = nullptr;
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

std::uint8_t* put_coded(std::span<const std::uint8_t> bytes, const Plan& plan, std::uint8_t* to) {
    BitWriter out(to);
    put_header(out, plan);
    const CodeTable code(plan);
    const std::uint8_t* at = bytes.data();
    for (const Piece& piece : plan.pieces) {
        code.put(out, at, at + piece.n_literals);
        at += piece.n_literals + piece.n_copies;
        cut_run(piece.n_copies, [&](std::size_t length) {
            const CopyLength copy = kCopyLengths[length];
            code.put(out, copy.symbol);
            out.put(copy.extra, copy.extra_bits + 1u);  // and the distance, which is 0
            out.flush();
        });
    }
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
    const Plan plan = find_plan(bytes);
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
    const std::uint8_t* end = put_coded(bytes, plan, begin);
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
