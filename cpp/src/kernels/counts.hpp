// Rows of counts: filter, refine, invert, compact, each over whole vectors of entries.
//
// The count of an entry is the number of k = 0, 1, 2 ... with v < P(X > k), where v is its uniform.
// Tails are computed in float32, with a bound on their error. Where v is closer to a tail than the
// bound the float64 reference decides. So float32 only ever decides what it can tell for sure, and
// the result is that of the reference, draw by draw, on every instruction set.
//
// The work is cut into phases that go through arrays in first-level cache, each with a body short
// enough for the core to overlap its iterations.

#pragma once

#include "filter.hpp"
#include "vaexprs/reference.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// Candidates of a row and the state of their inversion, as arrays.
struct CountState {
    std::uint32_t* candidate;  ///< see filter.hpp
    float* mean;
    float* v;                  ///< the uniform
    float* tolerance;          ///< bound of the error of `tail`
    float* p;                  ///< weight times p(k), for the current k
    float* tail;               ///< weight times P(X > k)
    float* first;              ///< p(k) = p(k - 1) (first + slope (k - 1)) / k, as in count_law.hpp
    float* slope;
    float* count;
    std::uint32_t* pending;    ///< candidates whose inversion goes on
    std::uint32_t* recheck;    ///< candidates that the reference must decide
    std::uint32_t* done;       ///< candidates whose inversion ended late,
    float* done_count;         ///< and their counts
};

VAEXPRS_INLINE CountState lay_out(std::uint32_t* scratch, std::size_t n_genes) {
    const auto words = [&](std::size_t i) { return scratch + i * (n_genes + kPadding); };
    const auto floats = [&](std::size_t i) { return reinterpret_cast<float*>(words(i)); };
    static_assert(kScratchArrays == 13);
    return {words(0),  floats(1), floats(2), floats(3), floats(4),  floats(5), floats(6),
            floats(7), floats(8), words(9),  words(10), words(11), floats(12)};
}

/// Bound of the error of tails in float32.
///
/// With eps = 2^-24: p(0) carries a relative error of up to 8 t eps, where t = -log p(0) <= mean,
/// and each step of the recurrence adds 4 eps to that of p(k). Summed over k this is at most
/// (8 + 4 + 1) mean eps, since the mean is the sum of k p(k), and of the tails as well. log, exp,
/// weight and v add less than 10 eps. 2e-6 is 33 eps; a test looks for the largest error.
VAEXPRS_INLINE F32 tolerance_of(F32 mean) {
    return (mean + 1.0f) * 2e-6f;
}

/// The first 31 bits of v: a byte from the filter, the others keyed by the gene.
static inline void refine(const ObservationRow& row, const CountState& s, std::size_t n) {
    const RowStream stream = row_stream(row.seed, Purpose::refinement, row.cell);
    for (std::size_t i = 0; i < n; i += kPairedLanes) {
        const auto a = load<U32>(s.candidate + i), b = load<U32>(s.candidate + i + kLanes);
        const Words<Paired> words = random_words(stream, {candidate_gene(a), candidate_gene(b)});
        const auto join = [](U32 candidate, U32 word) {
            const U32 bits = (candidate << 23 & 0x7F800000u) | word >> 9;
            return to_float(__builtin_bit_cast(I32, bits)) * 0x1p-31f;
        };
        store(s.v + i, join(a, words.w0.a));
        store(s.v + i + kLanes, join(b, words.w0.b));
    }
}

/// Sets the tolerances; means too large for inversion go to the reference. Returns how many.
static inline std::size_t set_tolerance(const CountState& s, std::size_t n) {
    std::size_t n_large = 0;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const F32 mean = load<F32>(s.mean + i);
        store(s.tolerance + i, tolerance_of(mean));
        const I32 large = mean > reference::kLargeMean;
        if (const std::uint32_t bits = bits_of(large); bits != 0) [[unlikely]] {
            // v = 2 is above every tail: the inversion has nothing to do with it.
            store(s.v + i, large ? broadcast(2.0f) : load<F32>(s.v + i));
            const Compaction compaction(bits);
            compaction.store(s.recheck + n_large, lane_numbers() + static_cast<std::uint32_t>(i));
            n_large += compaction.count();
        }
    }
    return n_large;
}

/// Compares v with the tails at k, k + 1, ... k + kSteps - 1 and moves on to k + kSteps.
///
/// `n` entries are pending; returns how many still are. At the first call all candidates are, and
/// the k are 0 ... kSteps.
template <bool kStart, int kSteps>
VAEXPRS_INLINE std::size_t advance(const CountState& s, std::size_t n, float k,
                                   std::size_t& n_recheck, std::size_t& n_done) {
    std::size_t n_pending = 0;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const U32 number = lane_numbers() + static_cast<std::uint32_t>(i);
        const U32 which = kStart ? number : load<U32>(s.pending + i);
        const F32 v = load<F32>(s.v + i);
        const F32 tolerance = load<F32>(s.tolerance + i);
        const F32 first = load<F32>(s.first + i);
        const F32 slope = load<F32>(s.slope + i);
        F32 p = load<F32>(s.p + i);
        F32 tail = load<F32>(s.tail + i);
        F32 count = broadcast(kStart ? k : k + 1.0f);
        F32 above{};
        I32 clear = ~I32{};
        const auto compare = [&] {
            above = v - tail;
            clear &= absolute(above) > tolerance;
            count += above < 0.0f ? broadcast(1.0f) : F32{};
        };
        if constexpr (kStart) compare();
        for (int step = 0; step < kSteps; ++step) {
            const float at = k + static_cast<float>(step);
            p *= (first + slope * at) * (1.0f / (at + 1.0f));
            tail -= p;
            compare();
        }
        const std::uint32_t here = bits_of(number < static_cast<std::uint32_t>(n));
        const std::uint32_t unclear = here & ~bits_of(clear);
        const std::uint32_t going_on = here & ~unclear & bits_of(above < 0.0f);
        if constexpr (kStart) {
            store(s.count + i, count);
        } else {
            const Compaction done(here & ~going_on);
            done.store(s.done + n_done, which);
            done.store(s.done_count + n_done, count);
            n_done += done.count();
        }
        if (unclear != 0) [[unlikely]] {
            const Compaction compaction(unclear);
            compaction.store(s.recheck + n_recheck, which);
            n_recheck += compaction.count();
        }
        // Never ahead of what is read: the kept lanes move towards the front.
        const Compaction compaction(going_on);
        compaction.store(s.pending + n_pending, which);
        compaction.store(s.v + n_pending, v);
        compaction.store(s.tolerance + n_pending, tolerance);
        compaction.store(s.p + n_pending, p);
        compaction.store(s.tail + n_pending, tail);
        compaction.store(s.first + n_pending, first);
        compaction.store(s.slope + n_pending, slope);
        n_pending += compaction.count();
    }
    return n_pending;
}

/// The candidates that turned out not to be zero, as a sparse row.
static inline std::size_t compact(const CountState& s, std::size_t n, SparseRow out) {
    std::size_t n_non_zeros = 0;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const F32 count = load<F32>(s.count + i);
        const I32 here = lane_numbers() < static_cast<std::uint32_t>(n - i);
        const Compaction compaction(bits_of((count != 0.0f) & here));
        compaction.store(out.columns + n_non_zeros, candidate_gene(load<U32>(s.candidate + i)));
        compaction.store(out.values + n_non_zeros, count);
        n_non_zeros += compaction.count();
    }
    return n_non_zeros;
}

/// Draws a row of counts. A Law has
///   prepare(state, n)  which sets p, tail, first and slope of the candidates for k = 0, and
///   exact(gene)        the reference.
template <class Law>
std::size_t sample_counts(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    constexpr float kMaxMean = 0x1p63f;
    const CountState s = lay_out(scratch, row.n_genes);
    const std::size_t n = filter_candidates(row, kMaxMean, s.candidate, s.mean);
    if (n == kBadMean) return kBadMean;
    // Lanes behind the last candidate look at gene 0, with mean 0.
    store(s.candidate + n, U32{});
    store(s.candidate + n + kLanes, U32{});
    store(s.mean + n, F32{});

    refine(row, s, n);
    const Law law{row};
    law.prepare(s, n);
    std::size_t n_recheck = set_tolerance(s, n), n_done = 0;
    constexpr int kFirstSteps = 4, kSteps = 8;
    std::size_t n_pending = advance<true, kFirstSteps>(s, n, 0.0f, n_recheck, n_done);
    for (float k = kFirstSteps; n_pending > 0; k += kSteps) {
        n_pending = advance<false, kSteps>(s, n_pending, k, n_recheck, n_done);
    }
    for (std::size_t i = 0; i < n_done; ++i) s.count[s.done[i]] = s.done_count[i];
    for (std::size_t i = 0; i < n_recheck; ++i) {
        s.count[s.recheck[i]] = law.exact(s.candidate[s.recheck[i]] >> 8);
    }
    return compact(s, n, out);
}

}  // namespace vaexprs::VAEXPRS_ISA
