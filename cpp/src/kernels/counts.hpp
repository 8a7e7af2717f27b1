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

#include "vaexprs/reference.hpp"

#include "filter.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// The candidates of a row, as arrays.
///
/// Some are decided by their first byte. Those that are not are pending: their state moves to the
/// front of the arrays marked so, and again as more of them are decided.
struct CountArrays {
    std::uint32_t* candidate;          ///< gene and first byte, see filter.hpp
    float* count;                      ///< the result
    float* mean;                       ///< pending move to the front
    float* p;                          ///< so do these: weight times p(k), for the current k,
    float* tail;                       ///< weight times P(X > k),
    float* first;                      ///< p(k) = p(k - 1) (first + slope (k - 1)) / k,
    float* slope;                      ///< as in variates.hpp
    float* v;                          ///< of the pending: the uniform,
    std::uint32_t* pending;            ///< where they stand among the candidates,
    std::uint32_t* pending_candidate;  ///< and the candidate itself
    std::uint32_t* recheck;            ///< where those stand that the reference must decide
    std::uint32_t* done;               ///< where those stand that were pending and are decided,
    float* done_count;                 ///< and their counts
};

VAEXPRS_INLINE CountArrays lay_out(std::uint32_t* scratch, std::size_t n_genes) {
    const auto words = [&](std::size_t i) { return scratch + i * (n_genes + kPadding); };
    const auto floats = [&](std::size_t i) { return reinterpret_cast<float*>(words(i)); };
    static_assert(kScratchArrays == 13);
    return {words(0),  floats(1), floats(2), floats(3), floats(4), floats(5), floats(6),
            floats(7), words(8),  words(9),  words(10), words(11), floats(12)};
}

/// How many are in the lists of CountArrays.
struct Progress {
    std::size_t n_pending = 0, n_recheck = 0, n_done = 0;
};

/// Bound of the error of tails in float32.
///
/// With eps = 2^-24: p(0) carries a relative error of up to 8 t eps, where t = -log p(0) <= mean,
/// and each step of the recurrence adds 4 eps to that of p(k). Summed over k this is at most
/// (8 + 4 + 1) mean eps, since the mean is the sum of k p(k), and of the tails as well. log, exp,
/// weight and v add less than 10 eps. 2e-6 is 33 eps; a test looks for the largest error.
VAEXPRS_INLINE F32 tolerance_of(F32 mean) {
    return (mean + 1.0f) * 2e-6f;
}

/// The inversion of one vector of entries.
struct Inversion {
    F32 p, tail, first, slope;
    F32 v, tolerance;
    F32 count;           ///< tails found above v, added to what it starts with
    F32 above{};         ///< v less the last tail
    I32 clear = ~I32{};  ///< where no tail was too close to tell

    VAEXPRS_INLINE_MEMBER Inversion(const CountArrays& s, std::size_t i, F32 from_v, F32 within,
                                    float from_count)
        : p(load<F32>(s.p + i)),
          tail(load<F32>(s.tail + i)),
          first(load<F32>(s.first + i)),
          slope(load<F32>(s.slope + i)),
          v(from_v),
          tolerance(within),
          count(broadcast(from_count)) {}

    /// Compares v with the tail at k, then moves on to k + 1.
    VAEXPRS_INLINE_MEMBER void step(float k) {
        above = v - tail;
        clear &= absolute(above) > tolerance;
        count += above < 0.0f ? broadcast(1.0f) : F32{};
        p *= (first + slope * k) * (1.0f / (k + 1.0f));
        tail -= p;
    }
};

/// Appends lanes to the list of those that the reference must decide.
VAEXPRS_INLINE void recheck(const CountArrays& s, Progress& progress, std::uint32_t lanes,
                            U32 which) {
    if (lanes == 0) [[likely]]
        return;
    const Compaction compaction(lanes);
    compaction.store(s.recheck + progress.n_recheck, which);
    progress.n_recheck += compaction.count();
}

/// Appends lanes to those that are pending. This never writes ahead of what was read.
VAEXPRS_INLINE void keep(const CountArrays& s, Progress& progress, std::uint32_t lanes, U32 which,
                         U32 candidate, F32 mean, const Inversion& inversion) {
    const Compaction compaction(lanes);
    const std::size_t n = progress.n_pending;
    compaction.store(s.pending + n, which);
    compaction.store(s.pending_candidate + n, candidate);
    compaction.store(s.mean + n, mean);
    compaction.store(s.p + n, inversion.p);
    compaction.store(s.tail + n, inversion.tail);
    compaction.store(s.first + n, inversion.first);
    compaction.store(s.slope + n, inversion.slope);
    compaction.store(s.v + n, inversion.v);
    progress.n_pending += compaction.count();
}

/// Decides what can be told from the first byte of v alone. (Measured: four candidates in five, and
/// a fifth of the time for a row, since the others alone need random words of their own.)
static inline Progress invert_bytes(const CountArrays& s, std::size_t n) {
    constexpr int kSteps = 3;
    constexpr float kHalfByte = 0x1p-9f;
    Progress progress;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const U32 which = lane_numbers() + static_cast<std::uint32_t>(i);
        const U32 candidate = load<U32>(s.candidate + i);
        const F32 mean = load<F32>(s.mean + i);
        // The middle of the values that begin with the byte.
        const F32 v = to_float(__builtin_bit_cast(I32, candidate & 0xFFu)) * 0x1p-8f + kHalfByte;
        const Inversion start(s, i, v, tolerance_of(mean) + kHalfByte, 0.0f);
        Inversion inversion = start;
        for (int step = 0; step < kSteps; ++step)
            inversion.step(static_cast<float>(step));
        store(s.count + i, inversion.count);
        const std::uint32_t here = bits_of(which < static_cast<std::uint32_t>(n));
        const std::uint32_t large = here & bits_of(mean > reference::kLargeMean);
        const std::uint32_t decided = bits_of(inversion.clear & (inversion.above > 0.0f));
        recheck(s, progress, large, which);
        keep(s, progress, here & ~large & ~decided, which, candidate, mean, start);
    }
    return progress;
}

/// Sets v of the pending to its first 31 bits: after the byte, bits that are keyed by the gene.
static inline void refine(const ObservationRow& row, const CountArrays& s, std::size_t n_pending) {
    const RowStream stream = row_stream(row.cell, Purpose::refinement);
    // Lanes behind the last look at gene 0.
    store(s.pending_candidate + n_pending, U32{});
    store(s.pending_candidate + n_pending + kLanes, U32{});
    for (std::size_t i = 0; i < n_pending; i += kPairedLanes) {
        const auto a = load<U32>(s.pending_candidate + i);
        const auto b = load<U32>(s.pending_candidate + i + kLanes);
        const Words<Paired> words = random_words(stream, {candidate_gene(a), candidate_gene(b)});
        const auto join = [](U32 candidate, U32 word) {
            const U32 bits = (candidate << 23 & 0x7F800000u) | word >> 9;
            return to_float(__builtin_bit_cast(I32, bits)) * 0x1p-31f;
        };
        store(s.v + i, join(a, words.w0.a));
        store(s.v + i + kLanes, join(b, words.w0.b));
    }
}

/// Takes kSteps steps from k with what is pending; what is then decided drops out.
template <int kSteps>
VAEXPRS_INLINE void invert_steps(const CountArrays& s, float k, Progress& progress) {
    const std::size_t n = progress.n_pending;
    progress.n_pending = 0;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const U32 which = load<U32>(s.pending + i);
        const U32 candidate = load<U32>(s.pending_candidate + i);
        const F32 mean = load<F32>(s.mean + i);
        Inversion inversion(s, i, load<F32>(s.v + i), tolerance_of(mean), k);
        for (int step = 0; step < kSteps; ++step)
            inversion.step(k + static_cast<float>(step));
        const U32 number = lane_numbers() + static_cast<std::uint32_t>(i);
        const std::uint32_t here = bits_of(number < static_cast<std::uint32_t>(n));
        const std::uint32_t clear = bits_of(inversion.clear);
        const std::uint32_t going_on = here & clear & bits_of(inversion.above < 0.0f);
        const Compaction done(here & ~going_on);
        done.store(s.done + progress.n_done, which);
        done.store(s.done_count + progress.n_done, inversion.count);
        progress.n_done += done.count();
        recheck(s, progress, here & ~clear, which);
        keep(s, progress, going_on, which, candidate, mean, inversion);
    }
}

/// Inverts what is pending, until nothing is but what the reference must decide.
VAEXPRS_INLINE void invert(const CountArrays& s, Progress& progress) {
    constexpr int kFirstSteps = 3, kSteps = 8;
    // Beyond some thousand the reference goes on: a ratio of probabilities that rounds to 1 would
    // keep the tail from ever reaching v.
    constexpr float kLast = 1024.0f;
    invert_steps<kFirstSteps>(s, 0.0f, progress);
    for (float k = kFirstSteps; progress.n_pending > 0 && k < kLast; k += kSteps) {
        invert_steps<kSteps>(s, k, progress);
    }
    for (std::size_t i = 0; i < progress.n_pending; ++i) {
        s.recheck[progress.n_recheck++] = s.pending[i];
    }
    for (std::size_t i = 0; i < progress.n_done; ++i)
        s.count[s.done[i]] = s.done_count[i];
}

/// The candidates that turned out not to be zero, as a sparse row.
static inline std::size_t compact(const CountArrays& s, std::size_t n, SparseRow out) {
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
///   prepare(arrays, n)  which sets p, tail, first and slope of the candidates for k = 0, and
///   exact(gene)         the reference.
template <class Law>
static std::size_t draw_counts(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    constexpr float kMaxMean = 0x1p63f;
    const CountArrays s = lay_out(scratch, row.n_genes);
    const std::size_t n = filter_candidates(row, kMaxMean, s.candidate, s.mean);
    if (n == kBadMean) return kBadMean;
    // Lanes behind the last candidate look at gene 0, with mean 0.
    store(s.candidate + n, U32{});
    store(s.mean + n, F32{});

    const Law law{row};
    law.prepare(s, n);
    Progress progress = invert_bytes(s, n);
    refine(row, s, progress.n_pending);
    invert(s, progress);
    for (std::size_t i = 0; i < progress.n_recheck; ++i) {
        const std::uint32_t which = s.recheck[i];
        s.count[which] = law.exact(s.candidate[which] >> 8);
    }
    return compact(s, n, out);
}

}  // namespace vaexprs::VAEXPRS_ISA
